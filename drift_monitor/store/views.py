"""The read-only views that Grafana, notebooks and scripts read: stable names that only grow.

Times are RFC 3339 text on SQLite and timestamptz on PostgreSQL. `drift_histograms` unfolds the count arrays with the
bins stored beside their spec, one row a bin, and computes the contributions.
"""

from collections.abc import Mapping
from typing import Final

from sqlalchemy import Connection

from drift_monitor.store.schema import ESTIMATE_COLUMNS

_MEASUREMENTS: Final = """
SELECT monitor, feature, segment, window_start, window_end, revision, status, live_rows, reference_rows,
       <divergences>,
       <floors>, live_missing_ratio, reference_missing_ratio, live_unseen_ratio, direction, bin_spec, error,
       uncertain, surprise, level, surprise_window, calibration
  FROM measurement
""".replace("<divergences>", ", ".join(name for names in ESTIMATE_COLUMNS.values() for name in names[:3])).replace(
    "<floors>", ", ".join(floor for *_, floor in ESTIMATE_COLUMNS.values())
)

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

# Contributions follow from the counts. With c and b the counts of a bin, n and m their sums, K the bins compared and a
# the pseudocount (0 without smoothing), see `core.distribution`:
#
#     q = (b + a) / (m + a K)      p = (c + a K q) / (n + a K), anchored      p = (c + a) / (n + a K), otherwise
#
# A bin that `anchored` leaves out has p = q = 0 here. What is infinite has no value.
_HISTOGRAMS: Final = """
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

_BINS_SQLITE: Final = """
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

_BINS_POSTGRESQL: Final = """
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

_SAME: Final = {
    "drift_measurements": _MEASUREMENTS,
    "drift_episodes": _EPISODES,
    "drift_evaluations": _EVALUATIONS,
    "drift_monitors": _MONITORS,
}

VIEWS: Final[Mapping[str, Mapping[str, str]]] = {
    "sqlite": {**_SAME, "drift_histograms": _HISTOGRAMS.replace("<bins>", _BINS_SQLITE)},
    "postgresql": {**_SAME, "drift_histograms": _HISTOGRAMS.replace("<bins>", _BINS_POSTGRESQL)},
}


def create_views(connection: Connection) -> None:
    """Create all views in an empty schema, as the migrations do."""
    for name, select in VIEWS[connection.dialect.name].items():
        connection.exec_driver_sql(f"CREATE VIEW {name} AS {select}")
