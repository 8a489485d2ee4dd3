"""What was stored twice is stored once; `telling` becomes `notification_log`.

measurement   loses contributions, which follow from counts and settings, and its copy of the run's alert states; gains
              the number of bins compared. Its rows lie by window.
alert         loses the columns that repeated its state
pane          loses an index: retention goes by series
"""

from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"

INSTANT: Final = sa.Text().with_variant(sa.TIMESTAMP(timezone=True), "postgresql")
NUMBER: Final = sa.Float().with_variant(sa.Double(), "postgresql")
DOCUMENT: Final = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")

DIVERGENCES: Final = ("kl_live_reference", "kl_reference_live", "psi", "js", "hellinger")
KEY: Final = ("monitor", "window_end", "revision", "feature", "segment")
KEPT: Final = (
    *KEY,
    *("window_start", "status", "live_rows", "reference_rows"),
    *(f"{name}{end}" for name in DIVERGENCES for end in ("", "_low", "_high", "_corrected")),
    *("noise_floor", "live_missing_ratio", "reference_missing_ratio", "live_unseen_ratio", "direction", "bin_spec"),
    *("failure", "error", "live_counts", "reference_counts"),
)
DROPPED: Final = ("contribution_live_reference", "contribution_reference_live", "alert_states")

# K of the formulas: with `anchored` smoothing the bins that have rows on either side, else all of them.
COMPARED_SQLITE: Final = """
CASE WHEN m.status <> 'ok' THEN NULL
     WHEN (SELECT json_extract(c.document, '$.smoothing.method') FROM run r JOIN configuration c ON c.hash = r.config_hash
            WHERE (r.monitor, r.window_end, r.revision) = (m.monitor, m.window_end, m.revision)) <> 'anchored'
     THEN json_array_length(m.live_counts)
     ELSE (SELECT count(*) FROM json_each(m.live_counts) l
            WHERE l.value > 0 OR json_extract(m.reference_counts, '$[' || l.key || ']') > 0) END
"""
COMPARED_POSTGRESQL: Final = """
UPDATE measurement m
   SET compared_bins = CASE WHEN c.document #>> '{smoothing,method}' <> 'anchored' THEN jsonb_array_length(m.live_counts)
       ELSE (SELECT count(*) FROM jsonb_array_elements_text(m.live_counts) WITH ORDINALITY l(rows, place)
              WHERE l.rows::bigint > 0 OR (m.reference_counts ->> (l.place - 1)::integer)::bigint > 0) END
  FROM run r LEFT JOIN configuration c ON c.hash = r.config_hash
 WHERE (r.monitor, r.window_end, r.revision) = (m.monitor, m.window_end, m.revision) AND m.status = 'ok'
"""

HISTOGRAMS: Final = """
SELECT monitor, feature, segment, window_end, revision, bin, label, lower, upper, live_count, reference_count,
       CASE WHEN p > 0 AND q > 0 THEN p * ln(p / q) WHEN NOT (p > 0 AND q = 0) THEN 0.0 END
       AS contribution_live_reference,
       CASE WHEN p > 0 AND q > 0 THEN q * ln(q / p) WHEN NOT (q > 0 AND p = 0) THEN 0.0 END
       AS contribution_reference_live
  FROM (SELECT counted.*,
               CASE WHEN method <> 'anchored' THEN (live_count + a) / (live_rows + a * compared_bins)
                    WHEN live_count > 0 OR reference_count > 0
                    THEN (live_count + a * compared_bins * q) / (live_rows + a * compared_bins)
                    ELSE q END AS p
          FROM (SELECT bins.*,
                       CASE WHEN method <> 'anchored' OR live_count > 0 OR reference_count > 0
                            THEN (reference_count + a) / (reference_rows + a * compared_bins)
                            ELSE 0.0 * compared_bins END AS q
                  FROM (<bins>) AS bins) AS counted) AS masses
"""
BINS_SQLITE: Final = """
SELECT m.monitor, m.feature, m.segment, m.window_end, m.revision,
       CAST(b.key AS INTEGER) AS bin,
       json_extract(b.value, '$.label') AS label,
       CAST(json_extract(b.value, '$.lower') AS REAL) AS lower,
       CAST(json_extract(b.value, '$.upper') AS REAL) AS upper,
       json_extract(m.live_counts, '$[' || b.key || ']') AS live_count,
       json_extract(m.reference_counts, '$[' || b.key || ']') AS reference_count,
       CAST(m.live_rows AS REAL) AS live_rows, CAST(m.reference_rows AS REAL) AS reference_rows, m.compared_bins,
       json_extract(c.document, '$.smoothing.method') AS method,
       CASE json_extract(c.document, '$.smoothing.method') WHEN 'none' THEN 0.0
            ELSE CAST(json_extract(c.document, '$.smoothing.pseudocount') AS REAL) END AS a
  FROM measurement m
  JOIN bin_spec s ON s.id = m.bin_spec
  JOIN run r ON r.monitor = m.monitor AND r.window_end = m.window_end AND r.revision = m.revision
  LEFT JOIN configuration c ON c.hash = r.config_hash
  JOIN json_each(s.bins) b
 WHERE m.live_counts IS NOT NULL
"""
BINS_POSTGRESQL: Final = """
SELECT m.monitor, m.feature, m.segment, m.window_end, m.revision,
       (b.position - 1)::integer AS bin,
       b.value ->> 'label' AS label,
       (b.value ->> 'lower')::double precision AS lower,
       (b.value ->> 'upper')::double precision AS upper,
       (m.live_counts ->> (b.position - 1)::integer)::bigint AS live_count,
       (m.reference_counts ->> (b.position - 1)::integer)::bigint AS reference_count,
       m.live_rows::double precision AS live_rows, m.reference_rows::double precision AS reference_rows,
       m.compared_bins::double precision AS compared_bins,
       c.document #>> '{smoothing,method}' AS method,
       CASE c.document #>> '{smoothing,method}' WHEN 'none' THEN 0.0
            ELSE (c.document #>> '{smoothing,pseudocount}')::double precision END AS a
  FROM measurement m
  JOIN bin_spec s ON s.id = m.bin_spec
  JOIN run r ON r.monitor = m.monitor AND r.window_end = m.window_end AND r.revision = m.revision
  LEFT JOIN configuration c ON c.hash = r.config_hash
 CROSS JOIN LATERAL jsonb_array_elements(s.bins) WITH ORDINALITY AS b(value, position)
 WHERE m.live_counts IS NOT NULL
"""


def upgrade() -> None:
    if op.get_context().dialect.name == "postgresql":
        slim_measurements_postgresql()
    else:
        slim_measurements_sqlite()
    op.create_index("ix_measurement_feature", "measurement", ["monitor", "feature", "segment", "window_end"])
    for name in ("since_window", "fired_at", "value", "peak"):
        op.drop_column("alert", name)
    op.drop_index("ix_pane_pane_end", "pane")
    rename_tellings()


def slim_measurements_postgresql() -> None:
    op.add_column("measurement", sa.Column("compared_bins", sa.Integer()))
    op.get_bind().exec_driver_sql(COMPARED_POSTGRESQL)
    # Replaced, not made anew: whoever may read the view goes on to.
    view = HISTOGRAMS.replace("<bins>", BINS_POSTGRESQL)
    op.get_bind().exec_driver_sql(f"CREATE OR REPLACE VIEW drift_histograms AS {view}")
    op.drop_index("ix_measurement_window_end", "measurement")
    op.drop_constraint("pk_measurement", "measurement")
    op.create_primary_key("pk_measurement", "measurement", KEY)
    for name in DROPPED:
        op.drop_column("measurement", name)


def slim_measurements_sqlite() -> None:
    """SQLite can't change a key, and would write the whole table anew for each column that goes."""
    connection = op.get_bind()
    # A view follows a table that is renamed, so views are put aside meanwhile.
    views = dict(connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'view'").fetchall())
    for name in views:
        connection.exec_driver_sql(f"DROP VIEW {name}")
    op.drop_index("ix_measurement_window_end", "measurement")
    op.rename_table("measurement", "measurement_before")
    op.create_table(
        "measurement",
        sa.Column("monitor", sa.Text(), nullable=False),
        sa.Column("window_end", INSTANT, nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("feature", sa.Text(), nullable=False),
        sa.Column("segment", sa.Text(), nullable=False),
        sa.Column("window_start", INSTANT, nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("live_rows", sa.BigInteger(), nullable=True),
        sa.Column("reference_rows", sa.BigInteger(), nullable=True),
        *(sa.Column(f"{name}{end}", NUMBER) for name in DIVERGENCES for end in ("", "_low", "_high", "_corrected")),
        sa.Column("noise_floor", NUMBER, nullable=True),
        sa.Column("live_missing_ratio", NUMBER, nullable=True),
        sa.Column("reference_missing_ratio", NUMBER, nullable=True),
        sa.Column("live_unseen_ratio", NUMBER, nullable=True),
        sa.Column("direction", sa.Text(), nullable=True),
        sa.Column("bin_spec", sa.Text(), nullable=True),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("live_counts", DOCUMENT, nullable=True),
        sa.Column("reference_counts", DOCUMENT, nullable=True),
        sa.Column("compared_bins", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["bin_spec"], ["bin_spec.id"], name=op.f("fk_measurement_bin_spec")),
        sa.ForeignKeyConstraint(
            ["monitor", "window_end", "revision"],
            ["run.monitor", "run.window_end", "run.revision"],
            name=op.f("fk_measurement_monitor"),
        ),
        sa.PrimaryKeyConstraint(*KEY, name=op.f("pk_measurement")),
        sqlite_with_rowid=False,
    )
    columns = ", ".join(KEPT)
    # In the order of the new key, so that the table is written from front to back.
    connection.exec_driver_sql(
        f"INSERT INTO measurement ({columns}, compared_bins) SELECT {columns}, {COMPARED_SQLITE} "
        f"FROM measurement_before m ORDER BY {', '.join(KEY)}"
    )
    op.drop_table("measurement_before")
    views["drift_histograms"] = f"CREATE VIEW drift_histograms AS {HISTOGRAMS.replace('<bins>', BINS_SQLITE)}"
    for definition in views.values():
        connection.exec_driver_sql(definition)


def rename_tellings() -> None:
    op.create_table(
        "notification_log",
        sa.Column("episode_id", sa.Text(), nullable=False),
        sa.Column("receiver", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("alert", DOCUMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["episode_id"], ["episode.id"], name=op.f("fk_notification_log_episode_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("episode_id", "receiver", name=op.f("pk_notification_log")),
    )
    op.get_bind().exec_driver_sql(
        "INSERT INTO notification_log (episode_id, receiver, state, at, alert) "
        "SELECT episode_id, receiver, CASE state WHEN 'told' THEN 'sent' ELSE state END, at, alert FROM telling"
    )
    op.drop_table("telling")
    op.create_index("ix_notification_log_at", "notification_log", ["at"])
