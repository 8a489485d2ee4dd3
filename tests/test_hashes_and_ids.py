"""Hashes and ids that users' stores and receivers hold: byte for byte those of commit 7e1daeb.

A definition that hashed otherwise would make every reference anew, in silence; an id that changed would be another
alert to a receiver. The values in `hashes_and_ids_of_7e1daeb.json` were printed by that commit itself, with
`python -m tests.test_hashes_and_ids` as this file was when it was added. They are never to be replaced by newer ones:
where one has to change, a migration rewrites what stores hold.
"""

import json
import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from drift_monitor.config.loading import parse
from drift_monitor.config.outbound import ANYWHERE
from drift_monitor.config.schema import Config
from drift_monitor.core.binning import BooleanProfile, CategoricalProfile, NumericProfile, Uniform, make_spec
from drift_monitor.core.bins import BooleanBins, CategoricalBins, Kind, NumericBins, ValueType
from drift_monitor.core.schedule import Span, jitter
from drift_monitor.evaluation.reference import (
    REFERENCE_KINDS,
    configured_features,
    dataset_definition,
    feature_definition,
    reference_definition,
)
from drift_monitor.notify.alertmanager import AlertmanagerSender
from drift_monitor.notify.message import (
    Alert,
    AlertStatus,
    BinShare,
    NotificationKey,
    fingerprint,
    messages,
    notification_id,
)
from drift_monitor.notify.webhook import WebhookSender
from drift_monitor.sources.dialects.base import ColumnInfo
from drift_monitor.store.columns import episode_id, run_id
from drift_monitor.store.references import StoredReference
from tests.notify.receivers import Receiver, receiver
from tests.notify.samples import configured

THEN = json.loads(Path(__file__).with_name("hashes_and_ids_of_7e1daeb.json").read_text("utf-8"))
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
STRANGE = 'Größe "größer" – 注文\\'

CONFIG = """
store:
  url: sqlite:///drift.db
  retention: {panes: 100d, measurements: 1y}
sources:
  - {name: shop, url: "sqlite:///shop.db", max_connections: 3, statement_timeout: 1m30s, time_zone: Europe/Berlin}
  - {name: lake, url: "sqlite:///lake.db"}
grafana_url: https://grafana.example.com
rules:
  - {metric: psi, above: 0.1}
receivers:
  - {name: hook, webhook: {url: "http://127.0.0.1/hook", secret: "s", max_alerts: 7, timeout: 5s}}
  - {name: hook-2, repeat_interval: 4h, webhook: {url: "http://127.0.0.1/hook", send_resolved: false}}
  - {name: manager, alertmanager: {urls: ["http://127.0.0.1:9093", "http://127.0.0.1:9094"]}}
  - {name: chat, slack: {webhook_url: "https://hooks.slack.com/services/T/B/X"}}
  - name: mail
    email: {smarthost: "mail.example.org:587", from: a@example.org, to: [b@example.org, c@example.org],
            auth_username: a, auth_password: p}
  - {name: phone, pagerduty: {routing_key: "0123456789abcdef0123456789abcdef"}}
  - {name: others, apprise: {urls: ["json://127.0.0.1/hook"], timeout: 15s}}
  - {name: log, log: {}}
monitors:
  - name: table
    source: shop
    table: orders
    where: "country <> 'Größe'"
    time_column: created_at
    every: 30m
    pane: 30m
    window: 6h
    settle: 90s
    revise: 2
    catch_up: 5
    min_rows: 50
    smoothing: {method: additive, pseudocount: 1}
    reference: {table: training, where: "split = 'train'", source: lake}
    features:
      - amount
      - {name: quantiles, bins: {quantiles: 20}}
      - {name: uniform, kind: numeric, bins: {uniform: 12}}
      - {name: edges, bins: {edges: [0, 0.2, 0.5, 1, 1.0e+3, 1.0e+22, 100000000000000000000000]}}
      - {name: edges of one, bins: {edges: [-1, -0.25]}}
      - {name: top, kind: categorical, bins: {top: 50}}
      - {name: boolean, kind: boolean}
      - {name: expression, expression: "price * 'ä'", kind: numeric, bins: {edges: [0, 1]}}
    rules:
      - {metric: kl_live_reference, above: 0.1, severity: info}
      - {metric: kl_reference_live, above: 0.2, on: corrected}
      - {name: page, metric: psi, above: 0.25, severity: critical, for: 2, keep_firing_for: 1}
      - {metric: js, below: 0.05, on: value}
      - {metric: hellinger, above: 0.5}
      - {metric: missing_ratio, above: 0.05}
      - {metric: unseen_ratio, above: 0.01}
      - {metric: rows, below: 1000}
      - {metric: freshness, above: 6h}
    receivers: [hook, manager]
    labels: {team: risk, country: ä}
    annotations: {runbook_url: "https://example.com/ä"}
  - name: query
    source: shop
    query: SELECT * FROM sessions
    time_column: at
    cron: 5 6 * * mon-fri
    time_zone: Europe/Berlin
    pane: 1h
    reference: {query: SELECT * FROM old_sessions}
    features: [seconds]
  - name: range
    source: lake
    table: predictions
    time_column: at
    time_zone: Europe/Berlin
    reference: {from: 2026-03-01, to: 2026-04-01T06:00:00}
    features: all
    exclude: [id]
    receivers: []
  - {name: trailing, source: lake, table: p, time_column: at, reference: {trailing: 28d, gap: 1d}, features: [a]}
  - name: periods
    source: lake
    table: p
    time_column: at
    reference: {same_period: {every: 7d, count: 4}}
    features: [{name: a, bins: {top: 3}}, {name: b, bins: {uniform: 3}}]
"""
OUTBOUND = """
store: {url: "sqlite:///drift.db"}
sources: [{name: shop, url: "sqlite:///shop.db"}]
outbound: {allow: [127.0.0.1, 10.20.0.0/16]}
receivers: [{name: hook, webhook: {url: "http://127.0.0.1/hook"}}]
monitors: [{name: m, source: shop, table: t, time_column: at, reference: {trailing: 1d}, features: [a]}]
"""
COLUMNS = {
    name: ColumnInfo(name=name, sql_type="real", native="float8", kind=Kind.NUMERIC, value_type=ValueType.FLOAT)
    for name in ("at", "id", "score")
}
SPECS = {
    "floats": NumericBins((0.0, 0.1, 1e22, 1e300), ValueType.FLOAT),
    "integers": NumericBins((-5, 0, 10**20), ValueType.INTEGER),
    "decimals": NumericBins((Decimal("0.10"), Decimal("1E+3"), Decimal("1234567890.123456789")), ValueType.DECIMAL),
    "labels": CategoricalBins(("a", STRANGE, ""), ("rare", "\ud800"), rare_complete=False),
    "booleans": BooleanBins(),
    # As numbers were given bins then: what is stored keeps its edges and its id, whatever is made of them today.
    "made of numbers": NumericBins(
        tuple(edge for n in range(1, 10) for edge in (n / 2, math.nextafter(n / 2, math.inf))), ValueType.FLOAT
    ),
    "made uniform": make_spec(
        NumericProfile(value_type=ValueType.INTEGER, rows=9, minimum=1, maximum=9, sample=list(range(1, 10))),
        Uniform(3),
    ),
    "made of labels": make_spec(CategoricalProfile(rows=3001, labels=[("b", 2000), ("a", 1000), (STRANGE, 1)])),
    "made of booleans": make_spec(BooleanProfile(rows=3)),
}


def configuration(text: str = CONFIG) -> Config:
    return parse(text, file=Path("drift.yaml"), environ={})


def hashes() -> dict[str, str]:
    """Configurations, and what is counted."""
    config = configuration()
    found = {"configuration": config.hash, "configuration, outbound": configuration(OUTBOUND).hash}
    for monitor in config.monitors:
        found[f"{monitor.name}: configuration"] = monitor.hash
        found[f"{monitor.name}: rows"] = dataset_definition(config, monitor)
        found[f"{monitor.name}: kind of reference"] = REFERENCE_KINDS[type(monitor.reference)]
        found[f"{monitor.name}: jitter"] = str(jitter(monitor.name, monitor.schedule))
        for feature in configured_features(monitor, COLUMNS):
            found[f"{monitor.name}, {feature.name}: counts"] = feature_definition(config, monitor, feature)
            found[f"{monitor.name}, {feature.name}: reference"] = reference_definition(config, monitor, feature)
    return found


def ids() -> dict[str, str]:
    """Bin specs, references, evaluations, episodes, alerts and notifications."""
    key = NotificationKey(monitor=STRANGE, window_end=NOON, revision=2, receiver="hook")
    again = NotificationKey(
        monitor="m", window_end=NOON, revision=0, receiver="hook", repeated_at=NOON + timedelta(microseconds=5)
    )
    return {
        **{f"bins, {name}": spec.id for name, spec in SPECS.items()},
        "reference, counted": _reference(counts=(0, 1, 2, 0, 0, 10**12)).id,
        "reference, of a range": _reference(counts=(1,), span=Span(NOON - timedelta(days=1), NOON)).id,
        "reference, sliding": _reference(counts=None, span=Span(NOON - timedelta(days=1), NOON)).id,
        "evaluation": run_id(STRANGE, NOON, 1),
        "episode": episode_id("m", STRANGE, "", "psi:critical", opened=NOON, revision=0),
        "alert": fingerprint(monitor="m", feature=STRANGE, segment="", rule="psi:critical"),
        "notification": notification_id(key, 3),
        "notification, repeated": notification_id(again, 0),
    }


def posts() -> dict[str, str]:
    """What is posted of two alerts, to a webhook and to an Alertmanager: headers that say which it is, and bytes."""
    key = NotificationKey(monitor="m", window_end=NOON, revision=0, receiver="hook")
    (message,) = messages(
        key,
        [_alert(AlertStatus.RESOLVED), _alert(AlertStatus.FIRING)],
        max_alerts=0,
        external_url="https://d.example",
        send_resolved=True,
    )
    with receiver() as webhook, receiver() as alertmanager:
        WebhookSender(configured("webhook", url=webhook.url, secret="whsec_c2VjcmV0"), ANYWHERE).send(
            message.id, message.body, NOON
        )
        AlertmanagerSender(configured("alertmanager", urls=[alertmanager.url]), ANYWHERE).send(
            message.id, message.body, NOON
        )
    return {
        "webhook": _received(webhook),
        "webhook, id": _header(webhook, "webhook-id"),
        "webhook, signature": _header(webhook, "webhook-signature"),
        "alertmanager": _received(alertmanager),
    }


def _reference(**changes: Any) -> StoredReference:
    values = {
        "monitor": "m",
        "feature": STRANGE,
        "definition": "0123456789abcdef0123456789abcdef",
        "kind": "FixedTable",
        "spec": SPECS["integers"],
        "built_at": NOON,
        "segment": "",
        **changes,
    }
    return StoredReference(**values)


def _alert(status: AlertStatus) -> Alert:
    return Alert(
        status=status,
        labels={"severity": "critical", "alertname": "DataDrift", "monitor": "m", "feature": STRANGE, "empty": ""},
        annotations={"summary": f"{STRANGE} drifted: PSI 0.31 above 0.25", "value": "0.31"},
        starts_at=NOON - timedelta(hours=1, microseconds=1),
        ends_at=None if status is AlertStatus.FIRING else NOON,
        fingerprint=fingerprint(monitor="m", feature=STRANGE, segment="", rule="psi:critical"),
        generator_url="https://d.example/monitors/m",
        bins=(BinShare(label="[0, 1)", live_share=0.1, reference_share=1 / 3, contribution=-0.0),),
    )


def _received(by: Receiver) -> str:
    (post,) = by.received
    return post.body.decode()


def _header(by: Receiver, name: str) -> str:
    (post,) = by.received
    return {key.lower(): value for key, value in post.headers.items()}[name]


def test_hashes_are_those_of_7e1daeb() -> None:
    assert hashes() == THEN["hashes"]


def test_ids_are_those_of_7e1daeb() -> None:
    assert ids() == THEN["ids"]


def test_posts_are_those_of_7e1daeb() -> None:
    assert posts() == THEN["posts"]


if __name__ == "__main__":
    print(json.dumps({"hashes": hashes(), "ids": ids(), "posts": posts()}, indent=2, ensure_ascii=False))
