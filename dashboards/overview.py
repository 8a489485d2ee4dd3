"""The fleet: what fires, which monitors are well, which features are worst."""

from grafana_foundation_sdk.builders import stat, statetimeline, table, timeseries
from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

from dashboards.building import (
    COUNT,
    GREEN,
    GREY,
    INDEX,
    RED,
    YELLOW,
    Prom,
    Size,
    Sql,
    columns,
    dashboard,
    datasources,
    labels,
    link_to_feature,
    panel,
    steps,
    values,
)

_OURS = 'job="$job", monitor=~"$monitor"'
_LEVELS = {"v0": ("quiet", GREEN), "v1": ("warning", YELLOW), "v2": ("critical", RED)}
_TILE = Size(width=4, height=4)


def make() -> Dashboard:
    """The dashboard *Drift overview*."""
    return dashboard(
        "drift-overview",
        "Drift overview",
        "All monitors: what fires, since when, and which features stand out. Values are from the last evaluations.",
        [*datasources(with_store=True), labels("monitor", "Monitor", 'drift_monitor_info{job="$job"}', several=True)],
        [
            ("Now", _now()),
            ("Alerts", [_timeline(), _episodes()]),
            ("Features", [_worst(), _over_noise(), _worst_over_time()]),
        ],
    )


def _tile(title: str, description: str, expr: str, *levels: tuple[float | None, str]) -> Panel:
    # count() of nothing is nothing; 0 is what is meant.
    return panel(
        stat.Panel().thresholds(steps(*levels)),
        Prom(f"{expr} or vector(0)"),
        title=title,
        description=description,
        unit=COUNT,
        size=_TILE,
    )


def _now() -> list[Panel]:
    info = f"max without (instance, pod) (drift_monitor_info{{{_OURS}}})"
    run_ok = f"max without (instance, pod) (drift_monitor_last_run_successful{{{_OURS}}})"
    success = f"max without (instance, pod) (drift_monitor_last_success_timestamp_seconds{{{_OURS}}})"
    interval = f"max without (instance, pod) (drift_monitor_interval_seconds{{{_OURS}}})"
    unmeasured = f"max without (instance, pod) (drift_feature_unmeasured{{{_OURS}}})"
    return [
        _tile("Monitors", "Monitors of the configuration.", f"count({info})", (None, GREY)),
        _tile(
            "Critical", "Alerts that fire, severity critical.", f"sum({_active('critical')})", (None, GREEN), (1, RED)
        ),
        _tile(
            "Warning", "Alerts that fire, severity warning.", f"sum({_active('warning')})", (None, GREEN), (1, YELLOW)
        ),
        _tile("Failing", "Monitors whose last run failed.", f"count({run_ok} == 0)", (None, GREEN), (1, RED)),
        _tile(
            "Stale",
            "Monitors whose last success is older than three of their intervals.",
            f"count(time() - {success} > 3 * {interval})",
            (None, GREEN),
            (1, RED),
        ),
        _tile(
            "Unmeasured",
            "Features without a value from the last evaluation: too few rows, or a column that has changed.",
            f"count({unmeasured})",
            (None, GREEN),
            (1, YELLOW),
        ),
    ]


def _active(severity: str) -> str:
    return f'max without (instance, pod) (drift_alert_active{{{_OURS}, severity="{severity}"}})'


def _firing(severity: str) -> str:
    return f"sum({_active(severity)})"


def _timeline() -> Panel:
    # `severity` stays until the outer maximum: without it, `or` would let a quiet critical rule hide a warning.
    critical, warning = (f"max by (monitor, severity) ({_active(one)})" for one in ("critical", "warning"))
    return panel(
        statetimeline.Panel().mappings(values(**_LEVELS)).thresholds(steps((None, GREEN), (1, YELLOW), (2, RED))),
        Prom(f"max by (monitor) (2 * {critical} or {warning})", "{{monitor}}"),
        title="Alerts by monitor",
        description="The highest severity that fires on any feature of a monitor.",
        unit=INDEX,
    )


def _episodes() -> Panel:
    return panel(
        table.Panel().data_links([link_to_feature("${__data.fields.monitor}", "${__data.fields.feature}")]),
        Sql(
            "SELECT opened_window AS opened, closed_window AS closed, severity, monitor, feature, rule,\n"
            "       peak_value AS peak, close_reason AS reason\n"
            "  FROM drift_episodes\n"
            " WHERE monitor IN (${monitor:sqlstring})\n"
            "   AND opened_window <= $__timeTo() AND coalesce(closed_window, now()) >= $__timeFrom()\n"
            " ORDER BY closed_window IS NULL DESC, opened_window DESC\n"
            " LIMIT 200"
        ),
        title="Episodes",
        description="Alerts that fired in the selected time, open ones first. Needs the store on PostgreSQL.",
        unit=INDEX,
    )


def _worst() -> Panel:
    psi = f"max without (instance, pod) (drift_population_stability_index{{{_OURS}}})"
    return panel(
        table.Panel()
        .with_transformation(columns("Time", "job", "__name__", Value="PSI"))
        .data_links([link_to_feature("${__data.fields.monitor}", "${__data.fields.feature}")]),
        Prom(f"topk(20, {psi})", table=True),
        title="Worst features by PSI",
        description="The 20 features with the highest population stability index, the sum of both divergences, now.",
        unit=INDEX,
    )


def _over_noise() -> Panel:
    divergence = f"max without (instance, pod) (drift_kl_divergence_nats{{{_OURS}}})"
    floor = f"max without (instance, pod) (drift_kl_divergence_noise_floor_nats{{{_OURS}}})"
    return panel(
        table.Panel()
        .with_transformation(columns("Time", "job", "__name__", Value="times the noise"))
        .data_links([link_to_feature("${__data.fields.monitor}", "${__data.fields.feature}")]),
        Prom(f"topk(20, {divergence} / ({floor} > 0))", table=True),
        title="Furthest above their noise",
        description="KL divergence over what sampling alone gives at these row counts. About 1 is no drift.",
        unit="suffix:x",
    )


def _worst_over_time() -> Panel:
    psi = f"drift_population_stability_index{{{_OURS}}}"
    return panel(
        timeseries.Panel().min(0),
        Prom(f"max by (monitor) (max without (instance, pod) ({psi}))", "{{monitor}}"),
        title="Worst feature of each monitor",
        description="The highest population stability index among the features of a monitor. No unit.",
        unit=INDEX,
        size=Size(width=24),
    )
