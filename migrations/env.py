"""Run by Alembic inside a transaction that `drift_monitor.store.migrate` opened; it commits, not we."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    version_table=context.config.attributes["version_table"],
    transactional_ddl=True,
)
context.run_migrations()
