"""The read-only views that Grafana, notebooks and scripts read: stable names that only grow.

Times are RFC 3339 text on SQLite and timestamptz on PostgreSQL. `drift_histograms` unfolds the count arrays with the
bins stored beside their spec, one row a bin.
"""

from collections.abc import Mapping
from typing import Final

from sqlalchemy import Connection

from drift_monitor.store.schema import ESTIMATE_COLUMNS

_MEASUREMENTS: Final = """
SELECT monitor, feature, segment, window_start, window_end, revision, status, live_rows, reference_rows,
       <divergences>,
       noise_floor, live_missing_ratio, reference_missing_ratio, live_unseen_ratio, direction, bin_spec, error
  FROM measurement
""".replace("<divergences>", ", ".join(name for *names, _ in ESTIMATE_COLUMNS.values() for name in names))

_EPISODES: Final = """
SELECT id, monitor, feature, segment, rule, metric, severity, opened_window, closed_window, close_reason, peak_value
  FROM episode
"""

_EVALUATIONS: Final = """
SELECT id, monitor, window_start, window_end, revision, state, health, attempts, rows_read, started_at, finished_at,
       error
  FROM run
"""

_MONITORS: Final = """
SELECT name AS monitor, source, enabled, next_window_end, config_hash
  FROM monitor
"""

_HISTOGRAMS_SQLITE: Final = """
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

_HISTOGRAMS_POSTGRESQL: Final = """
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

_SAME: Final = {
    "drift_measurements": _MEASUREMENTS,
    "drift_episodes": _EPISODES,
    "drift_evaluations": _EVALUATIONS,
    "drift_monitors": _MONITORS,
}

VIEWS: Final[Mapping[str, Mapping[str, str]]] = {
    "sqlite": {**_SAME, "drift_histograms": _HISTOGRAMS_SQLITE},
    "postgresql": {**_SAME, "drift_histograms": _HISTOGRAMS_POSTGRESQL},
}


def create_views(connection: Connection) -> None:
    """Create all views in an empty schema, as the migrations do."""
    for name, select in VIEWS[connection.dialect.name].items():
        connection.exec_driver_sql(f"CREATE VIEW {name} AS {select}")
