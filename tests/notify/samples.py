"""Stored notifications as the outbox holds them, made by the code that fills it; and receivers as a file has them."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from drift_monitor.config.loading import parse
from drift_monitor.notify.message import Alert, AlertStatus, BinShare, document, fingerprint

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
ID = "0b6b2a1e-55a8-5a52-9b0b-7f0c5a1f5d9e"
BINS = (
    BinShare(label="[40, +inf)", reference_share=0.12, live_share=0.38, contribution=0.3),
    BinShare(label="missing", reference_share=0.0, live_share=0.05, contribution=0.2),
    BinShare(label="[0, 10)", reference_share=0.5, live_share=0.25, contribution=0.17),
)
# What whoever may write into a watched table can choose as the name of a value.
HOSTILE = "<!channel> & <@U123|you> `x` *b* <script>alert(1)</script>\r\nBcc: all@example.org"


def an_alert(
    feature: str = "income",
    status: AlertStatus = AlertStatus.FIRING,
    *,
    severity: str = "critical",
    bins: tuple[BinShare, ...] = BINS,
    **annotations: str,
) -> Alert:
    said = {
        "summary": f"{feature} of credit_inputs drifted: psi 0.31 above 0.25",
        "description": "above its threshold for 1 window. Live values appear where the reference had hardly any.",
        "dashboard_url": "http://127.0.0.1:8765/monitors/credit_inputs",
        "value": "0.31",
        "threshold": "0.25",
        **annotations,
    }
    return Alert(
        status=status,
        labels={
            "alertname": "DataDrift",
            "monitor": "credit_inputs",
            "feature": feature,
            "metric": "psi",
            "severity": severity,
        },
        annotations=said,
        starts_at=NOON,
        ends_at=None if status is AlertStatus.FIRING else NOON + timedelta(hours=3),
        fingerprint=fingerprint(monitor="credit_inputs", feature=feature, segment="", rule="psi:critical"),
        generator_url="http://127.0.0.1:8765/monitors/credit_inputs",
        bins=bins if status is AlertStatus.FIRING else (),
    )


def stored(*alerts: Alert, receiver: str = "team") -> Mapping[str, Any]:
    return document(alerts or [an_alert()], monitor="credit_inputs", receiver=receiver, external_url="")


def hostile() -> Mapping[str, Any]:
    moved = (BinShare(label=HOSTILE, reference_share=0.1, live_share=0.9, contribution=1.0),)
    return stored(
        an_alert(HOSTILE, bins=moved, summary=HOSTILE, description=HOSTILE, runbook_url=f"https://x/{HOSTILE}")
    )


def configured(kind: str, timeout: timedelta | None = None, **keys: Any) -> Any:
    """A receiver of this kind, with the keys that a configuration file would give it.

    The timeout may be shorter than the whole seconds of a file: a test waits for it.
    """
    document = {
        "store": {"url": "sqlite://"},
        "sources": [],
        "monitors": [],
        "receivers": [{"name": "team", kind: keys}],
    }
    config = parse(json.dumps(document), environ={}).receiver("team").kind
    return config if timeout is None else config.model_copy(update={"timeout": timeout})
