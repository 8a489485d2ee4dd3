"""The metric families of results: name, help, labels. One list, in the order of the exposition."""

from dataclasses import dataclass

from drift_monitor.core.divergence import DIVERGENCES as divergence_entries

_LAST_GOOD = "from the last good evaluation"
_FEATURE = ("monitor", "feature", "segment")


@dataclass(frozen=True, kw_only=True)
class Family:
    """A gauge of the exposition."""

    name: str
    text: str
    labels: tuple[str, ...]


def _gauge(name: str, text: str, labels: tuple[str, ...]) -> Family:
    return Family(name=name, text=text, labels=labels)


# The family of each divergence that has one, and the direction where the family shows two.
DIVERGENCES = {
    metric: (
        _gauge(gauge.family, gauge.text, (*_FEATURE, "direction") if gauge.direction else _FEATURE),
        gauge.direction,
    )
    for metric, divergence in divergence_entries.items()
    if (gauge := divergence.gauge) is not None
}
DIRECTIONS = {metric: direction for metric, (_, direction) in DIVERGENCES.items() if direction}
NOISE_FLOOR = _gauge(
    "drift_kl_divergence_noise_floor_nats",
    f"Divergence in nats expected from sampling alone at these row counts, {_LAST_GOOD}.",
    (*_FEATURE, "direction"),
)
THRESHOLD = _gauge(
    "drift_threshold", "Threshold of a rule, in the unit of its metric.", (*_FEATURE, "metric", "severity")
)
LIVE_MISSING = _gauge(
    "drift_live_missing_ratio", f"Share of missing values in the live window, {_LAST_GOOD}.", _FEATURE
)
REFERENCE_MISSING = _gauge(
    "drift_reference_missing_ratio", f"Share of missing values in the reference, {_LAST_GOOD}.", _FEATURE
)
LIVE_UNSEEN = _gauge(
    "drift_live_unseen_ratio", f"Share of live values the reference never had, {_LAST_GOOD}.", _FEATURE
)
SURPRISE = _gauge(
    "drift_surprise", f"How unusual the feature's last hours are for it, a score, {_LAST_GOOD}.", _FEATURE
)
SURPRISE_LEVEL = _gauge("drift_surprise_level", "Surprise above which a feature alarms.", _FEATURE)
LIVE_ROWS = _gauge("drift_live_rows", f"Rows in the live window, {_LAST_GOOD}.", ("monitor", "segment"))
REFERENCE_ROWS = _gauge("drift_reference_rows", f"Rows in the reference, {_LAST_GOOD}.", ("monitor", "segment"))
UNMEASURED = _gauge(
    "drift_feature_unmeasured",
    "1 while the latest evaluation gave no value for the feature; the reason says why.",
    (*_FEATURE, "reason"),
)
ALERT_ACTIVE = _gauge(
    "drift_alert_active",
    "1 while the alert of a rule fires, 0 while it is configured and quiet.",
    (*_FEATURE, "metric", "severity"),
)
_MONITOR = ("monitor",)
NEWEST_RECORD = _gauge(
    "drift_live_newest_record_timestamp_seconds", "Event time of the newest row that was read.", _MONITOR
)
WINDOW_END = _gauge("drift_live_window_end_timestamp_seconds", "End of the last evaluated window.", _MONITOR)
REFERENCE_BUILT = _gauge("drift_reference_built_timestamp_seconds", "When the reference was built.", _MONITOR)
CALIBRATION_STATE = _gauge(
    "drift_calibration_state",
    "1 for the state of a monitor with a budget of false alarms: calibrated, or learning, when it can't alarm yet.",
    ("monitor", "state"),
)
INFO = _gauge(
    "drift_monitor_info",
    "Always 1; the labels say what the monitor watches.",
    ("monitor", "source", "table", "reference"),
)
INTERVAL = _gauge(
    "drift_monitor_interval_seconds", "Nominal time between evaluations (with cron: the usual gap).", _MONITOR
)
LAST_RUN_OK = _gauge("drift_monitor_last_run_successful", "1 if the last evaluation succeeded.", _MONITOR)
LAST_RUN = _gauge("drift_monitor_last_run_timestamp_seconds", "When the last evaluation started.", _MONITOR)
LAST_SUCCESS = _gauge("drift_monitor_last_success_timestamp_seconds", "When an evaluation last succeeded.", _MONITOR)
NEXT_RUN = _gauge("drift_monitor_next_run_timestamp_seconds", "When the next evaluation is due.", _MONITOR)
LAST_DURATION = _gauge("drift_monitor_last_duration_seconds", "Duration of the last evaluation.", _MONITOR)
_RECEIVER = ("receiver", "integration")
QUEUE_LENGTH = _gauge("drift_notifications_queue_length", "Notifications not delivered yet.", _RECEIVER)
QUEUE_OLDEST = _gauge(
    "drift_notifications_queue_oldest_timestamp_seconds",
    "When the oldest undelivered notification was written; absent if there is none.",
    _RECEIVER,
)
RECEIVER_FAILING = _gauge(
    "drift_receiver_failing", "1 if the receiver accepts nothing any more, whatever it is sent.", _RECEIVER
)

_KL, *_OTHERS = dict.fromkeys(family for family, _ in DIVERGENCES.values())  # both KL share one, and its noise floor
FAMILIES = (
    _KL,
    NOISE_FLOOR,
    *_OTHERS,
    THRESHOLD,
    LIVE_MISSING,
    REFERENCE_MISSING,
    LIVE_UNSEEN,
    SURPRISE,
    SURPRISE_LEVEL,
    LIVE_ROWS,
    REFERENCE_ROWS,
    UNMEASURED,
    ALERT_ACTIVE,
    NEWEST_RECORD,
    WINDOW_END,
    REFERENCE_BUILT,
    CALIBRATION_STATE,
    INFO,
    INTERVAL,
    LAST_RUN_OK,
    LAST_RUN,
    LAST_SUCCESS,
    NEXT_RUN,
    LAST_DURATION,
    QUEUE_LENGTH,
    QUEUE_OLDEST,
    RECEIVER_FAILING,
)
