"""The store's tables. The migrations under `migrations/` build the same ones; a test compares them.

Keys are the words of the domain: a monitor's name, a window's end, a revision. `segment` is "" for the whole dataset
and `feature` is "" for what belongs to the monitor itself.

    monitor ─┬─ run ── measurement          one run a (monitor, window_end, revision); its lease and token are columns
             ├─ pane_series ── pane         what is counted, with which bins; its counts in each pane
             ├─ pane_rows                   rows of each pane
             ├─ reference, calibration      frozen references with their bin specs; what surprise is judged by
             ├─ alert ── episode ─┬─ notification_log   the present state of each alert; from firing to resolved;
             │                    └─ acknowledgement    which receivers know of it; who has acknowledged it
             └─ outbox ── delivery          notifications in order; every try to send one
    silence                                 which alerts are not to be told, from when to when
    bin_spec, configuration                 stored once under their content hash
    replica                                 the processes of the service: their last sign of life, their configuration
    audit                                   who changed what by command or HTTP
"""

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    UniqueConstraint,
    text,
)

from drift_monitor.core.divergence import DIVERGENCES
from drift_monitor.store.columns import CountArray, CountDocument, Instant, JsonColumn, Number, Text

WHOLE: Final = ""  # the segment that is the whole dataset
VERSION_TABLE: Final = "schema_version"  # Alembic's
metadata: Final = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)


def _key(name: str, kind: Any) -> Column[Any]:
    return Column(name, kind, primary_key=True, nullable=False)


def _needed(name: str, kind: Any) -> Column[Any]:
    return Column(name, kind, nullable=False)


def _monitor_key() -> Column[Any]:
    return Column("monitor", Text, ForeignKey("monitor.name"), primary_key=True, nullable=False)


def _monitor() -> Column[Any]:
    return Column("monitor", Text, ForeignKey("monitor.name"), nullable=False)


configuration: Final = Table(
    "configuration",
    metadata,
    _key("hash", Text),
    _needed("document", JsonColumn),
    _needed("first_seen", Instant),
)

monitor: Final = Table(
    "monitor",
    metadata,
    _key("name", Text),
    _needed("source", Text),
    _needed("enabled", Boolean),
    Column("config_hash", Text, ForeignKey("configuration.hash"), nullable=False),
    Column("next_window_end", Instant),
    _needed("enabled_at", Instant),
    _needed("updated_at", Instant),
)

bin_spec: Final = Table(
    "bin_spec",
    metadata,
    _key("id", Text),
    # JSON as ASCII text, not a Document: labels must come back exactly, or values would be counted otherwise.
    _needed("document", Text),
    # What views show: [{label, lower, upper}], cleaned.
    _needed("bins", JsonColumn),
)

reference: Final = Table(
    "reference",
    metadata,
    _key("id", Text),
    _monitor(),
    _needed("feature", Text),
    _needed("segment", Text),
    _needed("definition", Text),
    _needed("kind", Text),
    Column("span_start", Instant),
    Column("span_end", Instant),
    Column("bin_spec", Text, ForeignKey("bin_spec.id"), nullable=False),
    Column("counts", CountArray),
    _needed("built_at", Instant),
    Index("ix_reference_current", "monitor", "feature", "segment", "built_at"),
)

# What a row of counts belongs to, written once: a pane would otherwise repeat five texts, in its key too.
pane_series: Final = Table(
    "pane_series",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    _monitor(),
    _needed("feature", Text),
    _needed("segment", Text),
    _needed("definition", Text),
    Column("bin_spec", Text, ForeignKey("bin_spec.id"), nullable=False),
    UniqueConstraint("monitor", "feature", "segment", "definition", "bin_spec"),
    sqlite_autoincrement=True,
)

pane: Final = Table(
    "pane",
    metadata,
    Column("series", Integer, ForeignKey("pane_series.id"), primary_key=True, nullable=False),
    _key("pane_start", Instant),
    _key("pane_end", Instant),
    _key("revision", Integer),
    _needed("counts", CountArray),
    _needed("read_at", Instant),
    sqlite_with_rowid=False,
)

pane_rows: Final = Table(
    "pane_rows",
    metadata,
    _monitor_key(),
    _key("segment", Text),
    _key("definition", Text),
    _key("pane_start", Instant),
    _key("pane_end", Instant),
    _key("revision", Integer),
    _needed("rows", BigInteger),
    Column("newest", Instant),
    _needed("read_at", Instant),
    Index("ix_pane_rows_pane_end", "pane_end"),
)

run: Final = Table(
    "run",
    metadata,
    _monitor_key(),
    _key("window_end", Instant),
    _key("revision", Integer),
    _needed("id", Text),
    _needed("window_start", Instant),
    _needed("state", Text),
    _needed("health", Text),
    _needed("trigger", Text),
    _needed("config_hash", Text),
    _needed("attempts", Integer),
    _needed("postponed", Integer),
    Column("owner", Text),
    _needed("token", Integer),
    Column("lease_until", Instant),
    _needed("next_at", Instant),
    _needed("planned_at", Instant),
    Column("started_at", Instant),
    Column("finished_at", Instant),
    Column("rows_read", BigInteger),
    Column("newest", Instant),
    Column("error_code", Text),
    Column("error", Text),
    Column("reason", Text),
    Column("result", JsonColumn),
    Column("alert_states", JsonColumn),
    UniqueConstraint("id"),
    Index("ix_run_next_at", "state", "next_at"),
    # Planners and `oldest first` look only at what is unfinished; that set stays small.
    Index(
        "ix_run_unfinished",
        "monitor",
        "window_end",
        "revision",
        sqlite_where=text("state IN ('due', 'running')"),
        postgresql_where=text("state IN ('due', 'running')"),
    ),
    Index("ix_run_window_end", "window_end"),
)

# The columns of each divergence, in the order of the parts of an `Estimate`.
ESTIMATE_COLUMNS: Final = {
    metric: (
        *(f"{metric.value}{end}" for end in ("", "_low", "_high", "_corrected")),
        metric.noise_floor,
    )
    for metric in DIVERGENCES
}

measurement: Final = Table(
    "measurement",
    metadata,
    # A window's rows lie together: they are written at once and mostly read so.
    _key("monitor", Text),
    _key("window_end", Instant),
    _key("revision", Integer),
    _key("feature", Text),
    _key("segment", Text),
    _needed("window_start", Instant),
    _needed("status", Text),
    Column("live_rows", BigInteger),
    Column("reference_rows", BigInteger),
    *(Column(name, Number) for columns in ESTIMATE_COLUMNS.values() for name in columns),
    *(Column(name, Number) for name in ("live_missing_ratio", "reference_missing_ratio", "live_unseen_ratio")),
    Column("direction", Text),
    Column("bin_spec", Text, ForeignKey("bin_spec.id")),
    Column("failure", Text),
    Column("error", Text),
    # What contributions are computed from, with the smoothing of the run's configuration.
    Column("live_counts", CountDocument),
    Column("reference_counts", CountDocument),
    # How many bins were compared: K of the formulas. NULL where nothing was.
    Column("compared_bins", Integer),
    Column("uncertain", Boolean),  # a bin has too few reference rows for noise floors and upper ends
    # How unusual the window is for the feature, the level that would be an alarm, and the hours of that window.
    *(Column(name, Number) for name in ("surprise", "level")),
    Column("surprise_window", Integer),
    Column("calibration", Text),
    ForeignKeyConstraint(["monitor", "window_end", "revision"], ["run.monitor", "run.window_end", "run.revision"]),
    Index("ix_measurement_feature", "monitor", "feature", "segment", "window_end"),
    sqlite_with_rowid=False,
)

episode: Final = Table(
    "episode",
    metadata,
    _key("id", Text),
    _monitor(),
    _needed("feature", Text),
    _needed("segment", Text),
    _needed("rule", Text),
    _needed("metric", Text),
    _needed("severity", Text),
    _needed("opened_window", Instant),
    _needed("opened_revision", Integer),
    Column("closed_window", Instant),
    Column("closed_at", Instant),
    Column("close_reason", Text),
    Column("peak_value", Number),
    Index(
        "uq_episode_open",
        "monitor",
        "feature",
        "segment",
        "rule",
        unique=True,
        sqlite_where=text("closed_window IS NULL"),
        postgresql_where=text("closed_window IS NULL"),
    ),
    Index("ix_episode_opened_window", "opened_window"),
    Index("ix_episode_closed_at", "closed_at"),
)

notification_log: Final = Table(
    "notification_log",
    metadata,
    Column("episode_id", Text, ForeignKey("episode.id", ondelete="CASCADE"), primary_key=True, nullable=False),
    _key("receiver", Text),
    _needed("state", Text),
    _needed("at", Instant),
    # The alert as it was written for the receiver: what an end of the episode refers to.
    _needed("alert", JsonColumn),
    # The message that told it last, when one of them was accepted, and how many were refused since.
    Column("notification", Text),
    Column("delivered_at", Instant),
    Column("refusals", Integer, nullable=False, server_default="0"),
    Index("ix_notification_log_at", "at"),
)

acknowledgement: Final = Table(
    "acknowledgement",
    metadata,
    Column("episode_id", Text, ForeignKey("episode.id", ondelete="CASCADE"), primary_key=True, nullable=False),
    _needed("at", Instant),
    _needed("author", Text),
    _needed("comment", Text),
)

silence: Final = Table(
    "silence",
    metadata,
    _key("id", Text),
    _needed("matchers", JsonColumn),
    _needed("starts_at", Instant),
    _needed("ends_at", Instant),
    _needed("author", Text),
    _needed("comment", Text),
    _needed("created_at", Instant),
    Index("ix_silence_ends_at", "ends_at"),
)

alert: Final = Table(
    "alert",
    metadata,
    _monitor_key(),
    _key("feature", Text),
    _key("segment", Text),
    _key("rule", Text),
    _needed("metric", Text),
    _needed("severity", Text),
    _needed("threshold", Number),
    # The state as the state machine wrote it; `state` is its phase, to be asked for.
    _needed("memory", JsonColumn),
    _needed("state", Text),
    Column("reason", Text),
    Column("episode_id", Text, ForeignKey("episode.id")),
    _needed("last_window", Instant),
    _needed("last_revision", Integer),
)

outbox: Final = Table(
    "outbox",
    metadata,
    # The order of writing; an Integer on SQLite, where only INTEGER PRIMARY KEY counts up by itself.
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    _needed("id", Text),
    _monitor(),
    _needed("receiver", Text),
    _needed("integration", Text),
    _needed("window_end", Instant),
    _needed("revision", Integer),
    _needed("part", Integer),
    _needed("body", JsonColumn),
    _needed("state", Text),
    _needed("attempts", Integer),
    Column("owner", Text),
    _needed("token", Integer),
    Column("lease_until", Instant),
    _needed("next_at", Instant),
    _needed("created_at", Instant),
    Column("sent_at", Instant),
    Column("last_error", Text),
    Column("reason", Text),
    UniqueConstraint("id"),
    Index("ix_outbox_queue", "state", "monitor", "receiver", "seq"),
    sqlite_autoincrement=True,
)

delivery: Final = Table(
    "delivery",
    metadata,
    Column("outbox_id", Text, ForeignKey("outbox.id", ondelete="CASCADE"), primary_key=True, nullable=False),
    _key("attempt", Integer),
    _needed("at", Instant),
    _needed("outcome", Text),
    Column("status_code", Integer),
    Column("error", Text),
)

calibration: Final = Table(
    "calibration",
    metadata,
    _key("id", Text),
    _monitor(),
    _needed("definition", Text),
    _needed("state", Text),
    *(_needed(name, Instant) for name in ("made_at", "history_from", "history_to")),
    _needed("document", JsonColumn),
    Column("arrays", LargeBinary),
    Index("ix_calibration_history", "monitor", "history_to"),
)

replica: Final = Table(
    "replica",
    metadata,
    _key("owner", Text),
    _needed("host", Text),
    _needed("version", Text),
    _needed("config_hash", Text),
    _needed("started_at", Instant),
    _needed("seen_at", Instant),
)

audit: Final = Table(
    "audit",
    metadata,
    _key("id", Text),
    _needed("at", Instant),
    _needed("actor", Text),
    _needed("action", Text),
    _needed("subject", Text),
    Index("ix_audit_at", "at"),
)
