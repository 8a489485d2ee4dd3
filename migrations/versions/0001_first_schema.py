"""The first schema: all tables of the history, and the read-only views over them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None

INSTANT = sa.Text().with_variant(sa.TIMESTAMP(timezone=True), "postgresql")
NUMBER = sa.Float().with_variant(sa.Double(), "postgresql")
DOCUMENT = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")

VIEWS = {
    "drift_measurements": """
SELECT monitor, feature, segment, window_start, window_end, revision, status, live_rows, reference_rows,
       kl_live_reference, kl_live_reference_low, kl_live_reference_high,
       kl_reference_live, kl_reference_live_low, kl_reference_live_high,
       psi, psi_low, psi_high, js, js_low, js_high, hellinger, hellinger_low, hellinger_high,
       noise_floor, live_missing_ratio, reference_missing_ratio, live_unseen_ratio, direction, bin_spec, error
  FROM measurement
""",
    "drift_episodes": """
SELECT id, monitor, feature, segment, rule, metric, severity, opened_window, closed_window, close_reason, peak_value
  FROM episode
""",
    "drift_evaluations": """
SELECT id, monitor, window_start, window_end, revision, state, health, attempts, rows_read, started_at, finished_at,
       error
  FROM run
""",
    "drift_monitors": """
SELECT name AS monitor, source, enabled, next_window_end, config_hash
  FROM monitor
""",
}

HISTOGRAMS_SQLITE = """
SELECT m.monitor, m.feature, m.segment, m.window_end, m.revision,
       CAST(b.key AS INTEGER) AS bin,
       json_extract(b.value, '$.label') AS label,
       CAST(json_extract(b.value, '$.lower') AS REAL) AS lower,
       CAST(json_extract(b.value, '$.upper') AS REAL) AS upper,
       json_extract(m.live_counts, '$[' || b.key || ']') AS live_count,
       json_extract(m.reference_counts, '$[' || b.key || ']') AS reference_count,
       json_extract(m.contribution_live_reference, '$[' || b.key || ']') AS contribution_live_reference,
       json_extract(m.contribution_reference_live, '$[' || b.key || ']') AS contribution_reference_live
  FROM measurement m
  JOIN bin_spec s ON s.id = m.bin_spec
  JOIN json_each(s.bins) b
 WHERE m.live_counts IS NOT NULL
"""

HISTOGRAMS_POSTGRESQL = """
SELECT m.monitor, m.feature, m.segment, m.window_end, m.revision,
       (b.position - 1)::integer AS bin,
       b.value ->> 'label' AS label,
       (b.value ->> 'lower')::double precision AS lower,
       (b.value ->> 'upper')::double precision AS upper,
       (m.live_counts ->> (b.position - 1)::integer)::bigint AS live_count,
       (m.reference_counts ->> (b.position - 1)::integer)::bigint AS reference_count,
       (m.contribution_live_reference ->> (b.position - 1)::integer)::double precision AS contribution_live_reference,
       (m.contribution_reference_live ->> (b.position - 1)::integer)::double precision AS contribution_reference_live
  FROM measurement m
  JOIN bin_spec s ON s.id = m.bin_spec
 CROSS JOIN LATERAL jsonb_array_elements(s.bins) WITH ORDINALITY AS b(value, position)
 WHERE m.live_counts IS NOT NULL
"""


def upgrade() -> None:
    op.create_table('bin_spec',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('document', sa.Text(), nullable=False),
    sa.Column('bins', DOCUMENT, nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_bin_spec'))
    )
    op.create_table('configuration',
    sa.Column('hash', sa.Text(), nullable=False),
    sa.Column('document', DOCUMENT, nullable=False),
    sa.Column('first_seen', INSTANT, nullable=False),
    sa.PrimaryKeyConstraint('hash', name=op.f('pk_configuration'))
    )
    op.create_table('monitor',
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('source', sa.Text(), nullable=False),
    sa.Column('enabled', sa.Boolean(), nullable=False),
    sa.Column('config_hash', sa.Text(), nullable=False),
    sa.Column('next_window_end', INSTANT, nullable=True),
    sa.Column('enabled_at', INSTANT, nullable=False),
    sa.Column('updated_at', INSTANT, nullable=False),
    sa.ForeignKeyConstraint(['config_hash'], ['configuration.hash'], name=op.f('fk_monitor_config_hash')),
    sa.PrimaryKeyConstraint('name', name=op.f('pk_monitor'))
    )
    op.create_table('episode',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('monitor', sa.Text(), nullable=False),
    sa.Column('feature', sa.Text(), nullable=False),
    sa.Column('segment', sa.Text(), nullable=False),
    sa.Column('rule', sa.Text(), nullable=False),
    sa.Column('metric', sa.Text(), nullable=False),
    sa.Column('severity', sa.Text(), nullable=False),
    sa.Column('opened_window', INSTANT, nullable=False),
    sa.Column('opened_revision', sa.Integer(), nullable=False),
    sa.Column('closed_window', INSTANT, nullable=True),
    sa.Column('closed_at', INSTANT, nullable=True),
    sa.Column('close_reason', sa.Text(), nullable=True),
    sa.Column('peak_value', NUMBER, nullable=True),
    sa.ForeignKeyConstraint(['monitor'], ['monitor.name'], name=op.f('fk_episode_monitor')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_episode'))
    )
    op.create_index('ix_episode_closed_at', 'episode', ['closed_at'], unique=False)
    op.create_index('ix_episode_opened_window', 'episode', ['opened_window'], unique=False)
    op.create_index('uq_episode_open', 'episode', ['monitor', 'feature', 'segment', 'rule'], unique=True, sqlite_where=sa.text('closed_window IS NULL'), postgresql_where=sa.text('closed_window IS NULL'))
    op.create_table('telling',
    sa.Column('episode_id', sa.Text(), nullable=False),
    sa.Column('receiver', sa.Text(), nullable=False),
    sa.Column('state', sa.Text(), nullable=False),
    sa.Column('at', INSTANT, nullable=False),
    sa.Column('alert', DOCUMENT, nullable=False),
    sa.ForeignKeyConstraint(['episode_id'], ['episode.id'], name=op.f('fk_telling_episode_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('episode_id', 'receiver', name=op.f('pk_telling'))
    )
    op.create_index('ix_telling_at', 'telling', ['at'], unique=False)
    op.create_table('acknowledgement',
    sa.Column('episode_id', sa.Text(), nullable=False),
    sa.Column('at', INSTANT, nullable=False),
    sa.Column('author', sa.Text(), nullable=False),
    sa.Column('comment', sa.Text(), nullable=False),
    sa.ForeignKeyConstraint(['episode_id'], ['episode.id'], name=op.f('fk_acknowledgement_episode_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('episode_id', name=op.f('pk_acknowledgement'))
    )
    op.create_table('silence',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('matchers', DOCUMENT, nullable=False),
    sa.Column('starts_at', INSTANT, nullable=False),
    sa.Column('ends_at', INSTANT, nullable=False),
    sa.Column('author', sa.Text(), nullable=False),
    sa.Column('comment', sa.Text(), nullable=False),
    sa.Column('created_at', INSTANT, nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_silence'))
    )
    op.create_index('ix_silence_ends_at', 'silence', ['ends_at'], unique=False)
    op.create_table('outbox',
    sa.Column('seq', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=True, nullable=False),
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('monitor', sa.Text(), nullable=False),
    sa.Column('receiver', sa.Text(), nullable=False),
    sa.Column('integration', sa.Text(), nullable=False),
    sa.Column('window_end', INSTANT, nullable=False),
    sa.Column('revision', sa.Integer(), nullable=False),
    sa.Column('part', sa.Integer(), nullable=False),
    sa.Column('body', DOCUMENT, nullable=False),
    sa.Column('state', sa.Text(), nullable=False),
    sa.Column('attempts', sa.Integer(), nullable=False),
    sa.Column('owner', sa.Text(), nullable=True),
    sa.Column('token', sa.Integer(), nullable=False),
    sa.Column('lease_until', INSTANT, nullable=True),
    sa.Column('next_at', INSTANT, nullable=False),
    sa.Column('created_at', INSTANT, nullable=False),
    sa.Column('sent_at', INSTANT, nullable=True),
    sa.Column('last_error', sa.Text(), nullable=True),
    sa.Column('reason', sa.Text(), nullable=True),
    sa.ForeignKeyConstraint(['monitor'], ['monitor.name'], name=op.f('fk_outbox_monitor')),
    sa.PrimaryKeyConstraint('seq', name=op.f('pk_outbox')),
    sa.UniqueConstraint('id', name=op.f('uq_outbox_id')),
    sqlite_autoincrement=True
    )
    op.create_index('ix_outbox_queue', 'outbox', ['state', 'monitor', 'receiver', 'seq'], unique=False)
    op.create_table('pane_rows',
    sa.Column('monitor', sa.Text(), nullable=False),
    sa.Column('segment', sa.Text(), nullable=False),
    sa.Column('definition', sa.Text(), nullable=False),
    sa.Column('pane_start', INSTANT, nullable=False),
    sa.Column('pane_end', INSTANT, nullable=False),
    sa.Column('revision', sa.Integer(), nullable=False),
    sa.Column('rows', sa.BigInteger(), nullable=False),
    sa.Column('newest', INSTANT, nullable=True),
    sa.Column('read_at', INSTANT, nullable=False),
    sa.ForeignKeyConstraint(['monitor'], ['monitor.name'], name=op.f('fk_pane_rows_monitor')),
    sa.PrimaryKeyConstraint('monitor', 'segment', 'definition', 'pane_start', 'pane_end', 'revision', name=op.f('pk_pane_rows'))
    )
    op.create_index('ix_pane_rows_pane_end', 'pane_rows', ['pane_end'], unique=False)
    op.create_table('pane_series',
    sa.Column('id', sa.Integer(), autoincrement=True, nullable=False),
    sa.Column('monitor', sa.Text(), nullable=False),
    sa.Column('feature', sa.Text(), nullable=False),
    sa.Column('segment', sa.Text(), nullable=False),
    sa.Column('definition', sa.Text(), nullable=False),
    sa.Column('bin_spec', sa.Text(), nullable=False),
    sa.ForeignKeyConstraint(['bin_spec'], ['bin_spec.id'], name=op.f('fk_pane_series_bin_spec')),
    sa.ForeignKeyConstraint(['monitor'], ['monitor.name'], name=op.f('fk_pane_series_monitor')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_pane_series')),
    sa.UniqueConstraint('monitor', 'feature', 'segment', 'definition', 'bin_spec', name=op.f('uq_pane_series_monitor')),
    sqlite_autoincrement=True
    )
    op.create_table('reference',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('monitor', sa.Text(), nullable=False),
    sa.Column('feature', sa.Text(), nullable=False),
    sa.Column('segment', sa.Text(), nullable=False),
    sa.Column('definition', sa.Text(), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('span_start', INSTANT, nullable=True),
    sa.Column('span_end', INSTANT, nullable=True),
    sa.Column('bin_spec', sa.Text(), nullable=False),
    sa.Column('counts', sa.JSON(), nullable=True),
    sa.Column('built_at', INSTANT, nullable=False),
    sa.ForeignKeyConstraint(['bin_spec'], ['bin_spec.id'], name=op.f('fk_reference_bin_spec')),
    sa.ForeignKeyConstraint(['monitor'], ['monitor.name'], name=op.f('fk_reference_monitor')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_reference'))
    )
    op.create_index('ix_reference_current', 'reference', ['monitor', 'feature', 'segment', 'built_at'], unique=False)
    op.create_table('run',
    sa.Column('monitor', sa.Text(), nullable=False),
    sa.Column('window_end', INSTANT, nullable=False),
    sa.Column('revision', sa.Integer(), nullable=False),
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('window_start', INSTANT, nullable=False),
    sa.Column('state', sa.Text(), nullable=False),
    sa.Column('health', sa.Text(), nullable=False),
    sa.Column('trigger', sa.Text(), nullable=False),
    sa.Column('config_hash', sa.Text(), nullable=False),
    sa.Column('attempts', sa.Integer(), nullable=False),
    sa.Column('postponed', sa.Integer(), nullable=False),
    sa.Column('owner', sa.Text(), nullable=True),
    sa.Column('token', sa.Integer(), nullable=False),
    sa.Column('lease_until', INSTANT, nullable=True),
    sa.Column('next_at', INSTANT, nullable=False),
    sa.Column('planned_at', INSTANT, nullable=False),
    sa.Column('started_at', INSTANT, nullable=True),
    sa.Column('finished_at', INSTANT, nullable=True),
    sa.Column('rows_read', sa.BigInteger(), nullable=True),
    sa.Column('newest', INSTANT, nullable=True),
    sa.Column('error_code', sa.Text(), nullable=True),
    sa.Column('error', sa.Text(), nullable=True),
    sa.Column('reason', sa.Text(), nullable=True),
    sa.Column('result', DOCUMENT, nullable=True),
    sa.Column('alert_states', DOCUMENT, nullable=True),
    sa.ForeignKeyConstraint(['monitor'], ['monitor.name'], name=op.f('fk_run_monitor')),
    sa.PrimaryKeyConstraint('monitor', 'window_end', 'revision', name=op.f('pk_run')),
    sa.UniqueConstraint('id', name=op.f('uq_run_id'))
    )
    op.create_index('ix_run_next_at', 'run', ['state', 'next_at'], unique=False)
    op.create_index('ix_run_unfinished', 'run', ['monitor', 'window_end', 'revision'], unique=False, sqlite_where=sa.text("state IN ('due', 'running')"), postgresql_where=sa.text("state IN ('due', 'running')"))
    op.create_index('ix_run_window_end', 'run', ['window_end'], unique=False)
    op.create_table('alert',
    sa.Column('monitor', sa.Text(), nullable=False),
    sa.Column('feature', sa.Text(), nullable=False),
    sa.Column('segment', sa.Text(), nullable=False),
    sa.Column('rule', sa.Text(), nullable=False),
    sa.Column('metric', sa.Text(), nullable=False),
    sa.Column('severity', sa.Text(), nullable=False),
    sa.Column('threshold', NUMBER, nullable=False),
    sa.Column('memory', DOCUMENT, nullable=False),
    sa.Column('state', sa.Text(), nullable=False),
    sa.Column('since_window', INSTANT, nullable=True),
    sa.Column('fired_at', INSTANT, nullable=True),
    sa.Column('value', NUMBER, nullable=True),
    sa.Column('peak', NUMBER, nullable=True),
    sa.Column('reason', sa.Text(), nullable=True),
    sa.Column('episode_id', sa.Text(), nullable=True),
    sa.Column('last_window', INSTANT, nullable=False),
    sa.Column('last_revision', sa.Integer(), nullable=False),
    sa.ForeignKeyConstraint(['episode_id'], ['episode.id'], name=op.f('fk_alert_episode_id')),
    sa.ForeignKeyConstraint(['monitor'], ['monitor.name'], name=op.f('fk_alert_monitor')),
    sa.PrimaryKeyConstraint('monitor', 'feature', 'segment', 'rule', name=op.f('pk_alert'))
    )
    op.create_table('delivery',
    sa.Column('outbox_id', sa.Text(), nullable=False),
    sa.Column('attempt', sa.Integer(), nullable=False),
    sa.Column('at', INSTANT, nullable=False),
    sa.Column('outcome', sa.Text(), nullable=False),
    sa.Column('status_code', sa.Integer(), nullable=True),
    sa.Column('error', sa.Text(), nullable=True),
    sa.ForeignKeyConstraint(['outbox_id'], ['outbox.id'], name=op.f('fk_delivery_outbox_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('outbox_id', 'attempt', name=op.f('pk_delivery'))
    )
    op.create_table('measurement',
    sa.Column('monitor', sa.Text(), nullable=False),
    sa.Column('feature', sa.Text(), nullable=False),
    sa.Column('segment', sa.Text(), nullable=False),
    sa.Column('window_end', INSTANT, nullable=False),
    sa.Column('revision', sa.Integer(), nullable=False),
    sa.Column('window_start', INSTANT, nullable=False),
    sa.Column('status', sa.Text(), nullable=False),
    sa.Column('live_rows', sa.BigInteger(), nullable=True),
    sa.Column('reference_rows', sa.BigInteger(), nullable=True),
    sa.Column('kl_live_reference', NUMBER, nullable=True),
    sa.Column('kl_live_reference_low', NUMBER, nullable=True),
    sa.Column('kl_live_reference_high', NUMBER, nullable=True),
    sa.Column('kl_live_reference_corrected', NUMBER, nullable=True),
    sa.Column('kl_reference_live', NUMBER, nullable=True),
    sa.Column('kl_reference_live_low', NUMBER, nullable=True),
    sa.Column('kl_reference_live_high', NUMBER, nullable=True),
    sa.Column('kl_reference_live_corrected', NUMBER, nullable=True),
    sa.Column('psi', NUMBER, nullable=True),
    sa.Column('psi_low', NUMBER, nullable=True),
    sa.Column('psi_high', NUMBER, nullable=True),
    sa.Column('psi_corrected', NUMBER, nullable=True),
    sa.Column('js', NUMBER, nullable=True),
    sa.Column('js_low', NUMBER, nullable=True),
    sa.Column('js_high', NUMBER, nullable=True),
    sa.Column('js_corrected', NUMBER, nullable=True),
    sa.Column('hellinger', NUMBER, nullable=True),
    sa.Column('hellinger_low', NUMBER, nullable=True),
    sa.Column('hellinger_high', NUMBER, nullable=True),
    sa.Column('hellinger_corrected', NUMBER, nullable=True),
    sa.Column('noise_floor', NUMBER, nullable=True),
    sa.Column('live_missing_ratio', NUMBER, nullable=True),
    sa.Column('reference_missing_ratio', NUMBER, nullable=True),
    sa.Column('live_unseen_ratio', NUMBER, nullable=True),
    sa.Column('direction', sa.Text(), nullable=True),
    sa.Column('bin_spec', sa.Text(), nullable=True),
    sa.Column('failure', sa.Text(), nullable=True),
    sa.Column('error', sa.Text(), nullable=True),
    sa.Column('live_counts', DOCUMENT, nullable=True),
    sa.Column('reference_counts', DOCUMENT, nullable=True),
    sa.Column('contribution_live_reference', DOCUMENT, nullable=True),
    sa.Column('contribution_reference_live', DOCUMENT, nullable=True),
    sa.Column('alert_states', DOCUMENT, nullable=True),
    sa.ForeignKeyConstraint(['bin_spec'], ['bin_spec.id'], name=op.f('fk_measurement_bin_spec')),
    sa.ForeignKeyConstraint(['monitor', 'window_end', 'revision'], ['run.monitor', 'run.window_end', 'run.revision'], name=op.f('fk_measurement_monitor')),
    sa.PrimaryKeyConstraint('monitor', 'feature', 'segment', 'window_end', 'revision', name=op.f('pk_measurement'))
    )
    op.create_index('ix_measurement_window_end', 'measurement', ['monitor', 'window_end', 'revision'], unique=False)
    op.create_table('pane',
    sa.Column('series', sa.Integer(), nullable=False),
    sa.Column('pane_start', INSTANT, nullable=False),
    sa.Column('pane_end', INSTANT, nullable=False),
    sa.Column('revision', sa.Integer(), nullable=False),
    sa.Column('counts', sa.JSON(), nullable=False),
    sa.Column('read_at', INSTANT, nullable=False),
    sa.ForeignKeyConstraint(['series'], ['pane_series.id'], name=op.f('fk_pane_series')),
    sa.PrimaryKeyConstraint('series', 'pane_start', 'pane_end', 'revision', name=op.f('pk_pane')),
    sqlite_with_rowid=False
    )
    op.create_index('ix_pane_pane_end', 'pane', ['pane_end'], unique=False)
    create_views()


def create_views() -> None:
    histograms = HISTOGRAMS_POSTGRESQL if op.get_context().dialect.name == "postgresql" else HISTOGRAMS_SQLITE
    for name, select in {**VIEWS, "drift_histograms": histograms}.items():
        op.get_bind().exec_driver_sql(f"CREATE VIEW {name} AS {select}")
