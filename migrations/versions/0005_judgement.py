"""Each divergence has a noise floor of its own; a measurement says where floors are uncertain, and its surprise."""

from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"

INSTANT: Final = sa.Text().with_variant(sa.TIMESTAMP(timezone=True), "postgresql")
DOCUMENT: Final = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
NUMBER: Final = sa.Float().with_variant(sa.Double(), "postgresql")
# What is stored was the large-sample floor, of which those of the other divergences are multiples.
FLOORS: Final = {
    "noise_floor_kl_reference_live": "noise_floor",
    "noise_floor_psi": "2 * noise_floor",
    "noise_floor_js": "noise_floor / 4",
    "noise_floor_hellinger": "sqrt(noise_floor) / 2",
}
MEASUREMENTS: Final = """
SELECT monitor, feature, segment, window_start, window_end, revision, status, live_rows, reference_rows,
       kl_live_reference, kl_live_reference_low, kl_live_reference_high, kl_reference_live, kl_reference_live_low, kl_reference_live_high, psi, psi_low, psi_high, js, js_low, js_high, hellinger, hellinger_low, hellinger_high,
       noise_floor, noise_floor_kl_reference_live, noise_floor_psi, noise_floor_js, noise_floor_hellinger, live_missing_ratio, reference_missing_ratio, live_unseen_ratio, direction, bin_spec, error,
       uncertain, surprise, level, surprise_window, calibration
  FROM measurement
"""  # noqa: E501 on one line, as the program writes it


def upgrade() -> None:
    op.execute("DROP VIEW drift_measurements")
    for name in FLOORS:
        op.add_column("measurement", sa.Column(name, NUMBER, nullable=True))
    op.add_column("measurement", sa.Column("uncertain", sa.Boolean(), nullable=True))
    op.add_column("measurement", sa.Column("surprise", NUMBER, nullable=True))
    op.add_column("measurement", sa.Column("level", NUMBER, nullable=True))
    op.add_column("measurement", sa.Column("surprise_window", sa.Integer(), nullable=True))
    op.add_column("measurement", sa.Column("calibration", sa.Text(), nullable=True))
    op.create_table(
        "calibration",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("monitor", sa.Text(), nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("made_at", INSTANT, nullable=False),
        sa.Column("history_from", INSTANT, nullable=False),
        sa.Column("history_to", INSTANT, nullable=False),
        sa.Column("document", DOCUMENT, nullable=False),
        sa.Column("arrays", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["monitor"], ["monitor.name"], name=op.f("fk_calibration_monitor_monitor")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calibration")),
    )
    op.create_index("ix_calibration_history", "calibration", ["monitor", "history_to"])
    op.execute(f"UPDATE measurement SET {', '.join(f'{name} = {value}' for name, value in FLOORS.items())}")
    op.get_bind().exec_driver_sql(f"CREATE VIEW drift_measurements AS {MEASUREMENTS}")
