"""The notification log knows which message told an alert last, whether one was accepted, and how often it was refused."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

INSTANT = sa.Text().with_variant(sa.TIMESTAMP(timezone=True), "postgresql")


def upgrade() -> None:
    op.add_column("notification_log", sa.Column("notification", sa.Text(), nullable=True))
    op.add_column("notification_log", sa.Column("delivered_at", INSTANT, nullable=True))
    op.add_column("notification_log", sa.Column("refusals", sa.Integer(), nullable=False, server_default="0"))
    # What was sent by an earlier version counts as accepted: its end is owed, as it was then.
    op.execute("UPDATE notification_log SET delivered_at = at WHERE state = 'sent'")
