"""The service itself: does it evaluate, in time, without failures, and do its messages leave?"""

from grafana_foundation_sdk.builders import stat, timeseries
from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

from dashboards.building import (
    BYTES,
    COUNT,
    GREEN,
    INDEX,
    PER_SECOND,
    RED,
    SECONDS,
    Prom,
    Size,
    dashboard,
    datasources,
    labels,
    panel,
    steps,
    values,
)

_OURS = 'job="$job", instance=~"$instance"'
_TILE = Size(width=6, height=4)
_THIRD = Size(width=8)


def make() -> Dashboard:
    """The dashboard *Drift service*."""
    return dashboard(
        "drift-service",
        "Drift service",
        "The health of the drift-monitor processes: evaluations, scheduler, notifications, store, metrics, process.",
        [
            *datasources(with_store=False),
            labels("instance", "Instance", 'drift_build_info{job="$job"}', several=True).all_value(".+"),
        ],
        [
            ("State", _state()),
            ("Evaluations", _evaluations()),
            ("Scheduler", _scheduler()),
            ("Notifications", _notifications()),
            ("Exposition and process", _process()),
        ],
    )


def _lines(
    title: str, description: str, unit: str, *queries: Prom, size: Size = _THIRD, panel_: timeseries.Panel | None = None
) -> Panel:
    return panel(
        panel_ or timeseries.Panel().min(0), *queries, title=title, description=description, unit=unit, size=size
    )


def _flag(title: str, description: str, name: str, legend: str = "{{instance}}") -> Panel:
    return panel(
        stat.Panel().mappings(values(v0=("no", RED), v1=("yes", GREEN))).thresholds(steps((None, RED), (1, GREEN))),
        Prom(f"{name}{{{_OURS}}}", legend),
        title=title,
        description=description,
        unit=INDEX,
        size=_TILE,
    )


def _state() -> list[Panel]:
    return [
        _flag("Scraped", "Whether Prometheus could scrape the instance.", "up"),
        _flag("Store", "Whether the last write to the store worked.", "drift_store_up"),
        _flag("Sources", "Whether the last attempt to use each source worked.", "drift_source_up", "{{source}}"),
        _flag(
            "Configuration",
            "Whether the last attempt to load the configuration worked.",
            "drift_config_last_reload_successful",
        ),
    ]


def _rate(name: str, by: str) -> str:
    return f"sum by ({by}) (rate({name}{{{_OURS}}}[$__rate_interval]))"


def _evaluations() -> list[Panel]:
    duration = _rate("drift_monitor_duration_seconds_bucket", "le")
    return [
        _lines(
            "Evaluations",
            "Evaluations begun, by monitor.",
            PER_SECOND,
            Prom(_rate("drift_monitor_runs_total", "monitor"), "{{monitor}}"),
        ),
        _lines(
            "Failures",
            "Evaluations that failed and windows that were skipped for good, by reason.",
            PER_SECOND,
            Prom(_rate("drift_monitor_failures_total", "reason"), "{{reason}}"),
            Prom(_rate("drift_monitor_missed_runs_total", "reason"), "skipped: {{reason}}"),
        ),
        _lines(
            "Rows read",
            "Rows counted in the sources, by monitor.",
            "suffix: rows/s",
            Prom(_rate("drift_rows_read_total", "monitor"), "{{monitor}}"),
        ),
        _lines(
            "Last duration",
            "How long the last evaluation of each monitor took.",
            SECONDS,
            Prom(
                f"max without (instance, pod) (drift_monitor_last_duration_seconds{{{_OURS}}})",
                "{{monitor}}",
            ),
            size=Size(),
        ),
        _lines(
            "Duration, quantiles",
            "Median and 99th percentile of evaluations, from claim to commit. Empty while nothing is evaluated.",
            SECONDS,
            Prom(f"histogram_quantile(0.5, {duration})", "median"),
            Prom(f"histogram_quantile(0.99, {duration})", "99 %"),
            size=Size(),
        ),
    ]


def _scheduler() -> list[Panel]:
    return [
        _lines(
            "Since the last tick",
            "The scheduler's loop turns every second; a dead one grows here.",
            SECONDS,
            Prom(f"time() - drift_scheduler_last_tick_timestamp_seconds{{{_OURS}}}", "{{instance}}"),
        ),
        _lines(
            "Lag",
            "How long the oldest due evaluation has been waiting to begin.",
            SECONDS,
            Prom(f"drift_scheduler_lag_seconds{{{_OURS}}}", "{{instance}}"),
        ),
        _lines(
            "Workers",
            "Evaluations that run, of those that may run at once; and evaluations given up to another replica.",
            COUNT,
            Prom(f"drift_workers_busy{{{_OURS}}}", "busy {{instance}}"),
            Prom(f"drift_workers{{{_OURS}}}", "limit {{instance}}"),
            Prom(f"increase(drift_lease_lost_total{{{_OURS}}}[$__rate_interval])", "leases lost {{instance}}"),
        ),
    ]


def _notifications() -> list[Panel]:
    oldest = f"drift_notifications_queue_oldest_timestamp_seconds{{{_OURS}}}"
    return [
        _lines(
            "Waiting",
            "Messages not delivered yet, by receiver.",
            COUNT,
            Prom(f"max without (instance, pod) (drift_notifications_queue_length{{{_OURS}}})", "{{receiver}}"),
        ),
        _lines(
            "Age of the oldest",
            "How long the oldest undelivered message has been waiting. Empty when none waits.",
            SECONDS,
            Prom(f"time() - min without (instance, pod) ({oldest})", "{{receiver}}"),
        ),
        _lines(
            "Deliveries",
            "Attempts to send, attempts that failed by reason, and messages given up.",
            PER_SECOND,
            Prom(_rate("drift_notifications_total", "receiver"), "{{receiver}}"),
            Prom(_rate("drift_notifications_failed_total", "receiver, reason"), "{{receiver}} {{reason}}"),
            Prom(_rate("drift_notifications_dropped_total", "receiver"), "{{receiver}} given up"),
        ),
    ]


def _process() -> list[Panel]:
    return [
        _lines(
            "Series",
            "Series of results in a scrape, and those that --web.max-series left out.",
            COUNT,
            Prom(f"drift_exposition_series{{{_OURS}}}", "shown {{instance}}"),
            Prom(
                f"increase(drift_exposition_series_dropped_total{{{_OURS}}}[$__rate_interval])", "left out {{instance}}"
            ),
        ),
        _lines(
            "Memory",
            "Resident memory of the process.",
            BYTES,
            Prom(f"process_resident_memory_bytes{{{_OURS}}}", "{{instance}}"),
        ),
        _lines(
            "CPU",
            "Processors in use by the process.",
            COUNT,
            Prom(f"rate(process_cpu_seconds_total{{{_OURS}}}[$__rate_interval])", "{{instance}}"),
        ),
    ]
