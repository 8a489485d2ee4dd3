"""A sample for trying a receiver out: one alert that fires and the same one resolved, both clearly marked as a test."""

from dataclasses import replace
from datetime import datetime

from drift_monitor.notify.message import Alert, AlertStatus, BinShare, Message, NotificationKey, fingerprint, messages

MONITOR = "test"
_DESCRIPTION = "Somebody ran `drift-monitor notify test`. The numbers and the bins are made up."
_BINS = (
    BinShare(label="[40, +inf)", reference_share=0.12, live_share=0.38, contribution=0.3),
    BinShare(label="missing", reference_share=0.01, live_share=0.06, contribution=0.1),
    BinShare(label="[0, 10)", reference_share=0.5, live_share=0.25, contribution=0.17),
)


def samples(receiver: str, at: datetime) -> tuple[Message, Message]:
    """The firing and the resolved notification, each with an id of its own."""
    firing = Alert(
        status=AlertStatus.FIRING,
        labels={
            "alertname": "DriftMonitorTest",
            "monitor": MONITOR,
            "feature": "sample",
            "metric": "psi",
            "severity": "info",
        },
        annotations={
            "summary": f"TEST of receiver {receiver}: nothing has drifted",
            "description": _DESCRIPTION,
            "verdict": _DESCRIPTION,
            "value": "0.31",
            "interval_low": "0.27",
            "interval_high": "0.34",
            "noise_floor": "0.004",
            "threshold": "0.25",
            "condition": "lower bound above 0.25",
        },
        starts_at=at,
        # Each test is an alert of its own, which nothing but its second half resolves.
        fingerprint=fingerprint(monitor=MONITOR, feature="sample", segment="", rule=at.isoformat()),
        bins=_BINS,
    )
    summary = f"TEST of receiver {receiver}: the sample alert is over"
    resolved = replace(
        firing,
        status=AlertStatus.RESOLVED,
        annotations={**firing.annotations, "summary": summary},
        ends_at=at,
        bins=(),
    )
    key = NotificationKey(monitor=MONITOR, window_end=at, revision=0, receiver=receiver)
    (first,), (second,) = messages(key, [firing]), messages(replace(key, revision=1), [resolved])
    return first, second
