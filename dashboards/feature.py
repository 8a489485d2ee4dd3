"""One feature: both divergences with thresholds and noise floor, the bins behind them, missing values, rows."""

from grafana_foundation_sdk.builders import barchart, statetimeline, timeseries
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.common import (
    LineInterpolation,
    StackingMode,
    VisibilityMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import (
    AnnotationQuery,
    Dashboard,
    DynamicConfigValue,
    MatcherConfig,
    Panel,
)

from dashboards.building import (
    COUNT,
    GREEN,
    GREY,
    INDEX,
    NATS,
    PROMETHEUS,
    RATIO,
    RED,
    STORE,
    YELLOW,
    MadeQuery,
    Prom,
    Size,
    Sql,
    dashboard,
    dataquery,
    datasources,
    labels,
    panel,
    steps,
    values,
)

_MONITOR = 'job="$job", monitor="$monitor"'
_FEATURE = f'{_MONITOR}, feature="$feature", segment="$segment"'
_WHERE = "monitor = ${monitor:sqlstring} AND feature = ${feature:sqlstring} AND segment = ${segment:sqlstring}"
_LAST = f"""\
  JOIN (SELECT window_end, revision FROM drift_measurements
         WHERE {_WHERE}
           AND status = 'ok' AND $__timeFilter(window_end)
         ORDER BY window_end DESC, revision DESC LIMIT 1) AS last USING (window_end, revision)
 WHERE {_WHERE}
 ORDER BY bin"""


def make() -> Dashboard:
    """The dashboard *Drift feature*."""
    measured = 'drift_population_stability_index{job="$job", monitor="$monitor"'
    return dashboard(
        "drift-feature",
        "Drift feature",
        "One feature of one monitor: how far live rows are from the reference, in which direction, and in which bins.",
        [
            *datasources(with_store=True),
            labels("monitor", "Monitor", 'drift_monitor_info{job="$job"}'),
            labels("feature", "Feature", f"{measured}}}"),
            # Empty, and "None" in the list, for the whole dataset.
            labels("segment", "Segment", f'{measured}, feature="$feature"}}'),
        ],
        [
            ("Divergence", [*_directions(), _index(), _interval()]),
            ("Bins", [_bins(), _contributions()]),
            ("Data", [_missing(), _rows(), _alerts()]),
        ],
        [_episodes(), _active()],
    )


def _max(name: str, labels_: str = _FEATURE) -> str:
    return f"max without (instance, pod) ({name}{{{labels_}}})"


def _lines() -> timeseries.Panel:
    """Values change at evaluations only: steps, not slopes."""
    return timeseries.Panel().min(0).line_interpolation(LineInterpolation.STEP_AFTER).line_width(2)


def _directions() -> list[Panel]:
    return [
        _direction("live_reference", "KL(live ‖ reference)", "Large when values turn up that the reference lacked."),
        _direction("reference_live", "KL(reference ‖ live)", "Large when values the reference had are gone."),
    ]


def _direction(direction: str, title: str, meaning: str) -> Panel:
    own = f'{_FEATURE}, direction="{direction}"'
    threshold = f'{_FEATURE}, metric="kl_{direction}"'
    return panel(
        _lines()
        .with_override(
            MatcherConfig(id_val="byRegexp", options="/^threshold/"),
            [
                DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [10, 10]}),
                DynamicConfigValue("color", {"mode": "fixed", "fixedColor": RED}),
            ],
        )
        .with_override(
            MatcherConfig(id_val="byName", options="noise floor"),
            [
                DynamicConfigValue("custom.fillOpacity", 20),
                DynamicConfigValue("color", {"mode": "fixed", "fixedColor": GREY}),
            ],
        ),
        Prom(_max("drift_kl_divergence_nats", own), "divergence"),
        Prom(_max("drift_kl_divergence_noise_floor_nats", own), "noise floor"),
        Prom(_max("drift_threshold", threshold), "threshold {{severity}}"),
        title=title,
        description=f"{meaning} In nats, with the noise floor (what sampling alone gives) and the rules' thresholds; "
        "rules compare the lower end of the interval, so a line just above a threshold need not fire.",
        unit=NATS,
    )


def _index() -> Panel:
    return panel(
        _lines(),
        Prom(_max("drift_population_stability_index"), "PSI"),
        Prom(_max("drift_threshold", f'{_FEATURE}, metric="psi"'), "threshold {{severity}}"),
        title="Population stability index",
        description="PSI, the sum of both divergences, and the thresholds of its rules. 0.1 and 0.25 are usual.",
        unit=INDEX,
    )


def _interval() -> Panel:
    return panel(
        _lines().span_nulls(False),
        Sql(
            "SELECT DISTINCT ON (window_end) window_end AS time,\n"
            '       psi_low AS "lower end", psi AS "PSI", psi_high AS "upper end"\n'
            "  FROM drift_measurements\n"
            f" WHERE {_WHERE}\n"
            "   AND $__timeFilter(window_end)\n"
            " ORDER BY window_end, revision DESC",
            time=True,
        ),
        title="PSI with its interval",
        description="95 % interval of PSI after its noise is taken off, by window; PSI itself is as computed. "
        "Needs the store on PostgreSQL.",
        unit=INDEX,
    )


def _bars() -> barchart.Panel:
    return (
        barchart.Panel()
        .orientation(VizOrientation.AUTO)
        .x_field("label")
        .stacking(StackingMode.NONE)
        .show_value(VisibilityMode.NEVER)
        .x_tick_label_rotation(-45)
        .x_tick_label_max_length(24)
        .group_width(0.8)
    )


def _bins() -> Panel:
    return panel(
        _bars(),
        Sql(
            "SELECT label,\n"
            '       reference_count::float8 / nullif(sum(reference_count) OVER (), 0) AS "reference",\n'
            '       live_count::float8 / nullif(sum(live_count) OVER (), 0) AS "live"\n'
            f"  FROM drift_histograms\n{_LAST}"
        ),
        title="Bins: live beside reference",
        description="Share of rows in each bin, in the last window of the selected time. Missing, invalid and never "
        "seen values are bins, too. Needs the store on PostgreSQL.",
        unit=RATIO,
        size=Size(height=10),
    )


def _contributions() -> Panel:
    return panel(
        _bars(),
        Sql(
            "SELECT label,\n"
            '       contribution_live_reference AS "to KL(live ‖ reference)",\n'
            '       contribution_reference_live AS "to KL(reference ‖ live)"\n'
            f"  FROM drift_histograms\n{_LAST}"
        ),
        title="What each bin contributes",
        description="The part of each divergence that comes from a bin, in the last window of the selected time; the "
        "bars of a direction sum to its divergence. Needs the store on PostgreSQL.",
        unit=NATS,
        size=Size(height=10),
    )


def _missing() -> Panel:
    return panel(
        _lines(),
        Prom(_max("drift_live_missing_ratio"), "missing, live"),
        Prom(_max("drift_reference_missing_ratio"), "missing, reference"),
        Prom(_max("drift_live_unseen_ratio"), "unseen, live"),
        title="Missing and never seen values",
        description="Shares of NULL on both sides, and of live values that the reference never had.",
        unit=RATIO,
    )


def _rows() -> Panel:
    own = f'{_MONITOR}, segment="$segment"'
    return panel(
        _lines(),
        Prom(_max("drift_live_rows", own), "live window"),
        Prom(_max("drift_reference_rows", own), "reference"),
        title="Rows",
        description="Rows of the live window and of the reference. Below min_rows nothing is scored.",
        unit=COUNT,
    )


def _alerts() -> Panel:
    return panel(
        statetimeline.Panel()
        .mappings(values(v0=("quiet", GREEN), v1=("fires", RED)))
        .thresholds(steps((None, GREEN), (1, YELLOW))),
        Prom(_max("drift_alert_active"), "{{metric}} {{severity}}"),
        title="Rules",
        description="Each rule of the feature: quiet or firing, with its `for` and `keep_firing_for`.",
        unit=INDEX,
        size=Size(width=24, height=6),
    )


def _episodes() -> Builder[AnnotationQuery]:
    text = (
        "SELECT opened_window AS time, coalesce(closed_window, now()) AS timeend,\n"
        "       rule || coalesce(': ' || close_reason, ': open') AS text, metric || ',' || severity AS tags\n"
        "  FROM drift_episodes\n"
        f" WHERE {_WHERE}\n"
        "   AND opened_window <= $__timeTo() AND coalesce(closed_window, now()) >= $__timeFrom()\n"
        " ORDER BY opened_window"
    )
    return (
        builders.AnnotationQuery()
        .name("Episodes")
        .datasource(STORE)
        .enable(True)
        .icon_color(RED)
        .target(MadeQuery(dataquery(Sql(text), "Episodes")))
    )


def _active() -> Builder[AnnotationQuery]:
    return (
        builders.AnnotationQuery()
        .name("Firing (without PostgreSQL)")
        .datasource(PROMETHEUS)
        .enable(False)
        .icon_color(YELLOW)
        .target(MadeQuery(dataquery(Prom(f"{_max('drift_alert_active')} == 1"), "Firing")))
        .title_format("{{metric}} {{severity}}")
        .tag_keys("metric,severity")
    )
