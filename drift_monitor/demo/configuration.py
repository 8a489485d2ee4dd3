"""The demo's configuration files, as a user would write them for these tables.

The thresholds are the ones the incidents were sized for: a window of 24 hours without an incident stays below a tenth
of them over days and weekends, and each incident crosses one within 24 hours of its start.
"""

import json
from datetime import timedelta
from pathlib import Path

from drift_monitor.demo.database import History, instant_text
from drift_monitor.demo.incidents import LIVE_WINDOW

STORE_FILE = "drift.db"
PAYMENTS_FILE = "payments.db"
FLIGHTS_FILE = "flights.db"

_HEAD = """\
# Written by `drift-monitor demo`. {about}
store:
  url: {store}

sources:
  - name: demo
    url: {source}
    time_zone: UTC
"""

_PAYMENTS = """
monitors:
  - name: payments
    source: demo
    table: payments
    time_column: paid_at
    every: 1h
    pane: 1h
    window: {window_hours}h
    settle: 1m
    reference: {{from: {reference_from}, to: {reference_to}}}   # four quiet weeks
    features:
      - amount
      - fee
      - balance
      - risk_score
      - items
      - tip
      - session_seconds
      - {{name: is_recurring, kind: boolean}}
      - country
      - payment_method
      - device
      - merchant_category
    min_rows: 200
    rules:
      - {{metric: kl_live_reference, above: 0.05, severity: warning}}   # mass somewhere new
      - {{metric: kl_reference_live, above: 0.05, severity: warning}}   # mass that has gone
      - {{metric: psi, above: 0.25, severity: critical, for: 2, keep_firing_for: 1}}
      - {{metric: missing_ratio, above: 0.15, severity: warning}}
      - {{metric: unseen_ratio, above: 0.02, severity: warning}}
      - {{metric: rows, below: 500, severity: warning}}
    labels: {{team: payments}}
"""

_FLIGHTS = """
monitors:
  - name: flights
    source: demo
    table: flights
    time_column: scheduled_at
    every: 6h
    pane: 6h
    window: 24h
    settle: 1m
    reference: {trailing: 28d, gap: 1d}   # flight plans follow the seasons: compare with the four weeks before
    features:
      - dep_delay
      - arr_delay
      - air_time
      - distance
      - {name: cancelled, kind: boolean}
      - carrier
      - origin
      - dest
      - seats
      - dep_hour
    min_rows: 200
    rules:
      - {metric: psi, above: 0.25, severity: warning, keep_firing_for: 2}
      - {metric: psi, above: 0.5, severity: critical, keep_firing_for: 2}
      - {metric: missing_ratio, above: 0.3, severity: warning}
    labels: {team: operations}
"""

_RECEIVERS = """
receivers:
  - name: log
    log: {}
"""

_WEBHOOK = """\
  - name: webhook
    webhook: {{url: {url}}}
"""


def payments_yaml(directory: Path, history: History, *, reference: timedelta, webhook_url: str | None = None) -> str:
    """The configuration for the payments in `directory`; `reference` is the length of the quiet start."""
    head = _head(directory, PAYMENTS_FILE, "Rows with a daily and a weekly rhythm, and seven incidents to find.")
    monitor = _PAYMENTS.format(
        window_hours=LIVE_WINDOW // timedelta(hours=1),
        reference_from=_text(instant_text(history.start)),
        reference_to=_text(instant_text(history.start + reference)),
    )
    return head + monitor + _receivers(webhook_url)


def flights_yaml(directory: Path, *, webhook_url: str | None = None) -> str:
    """The configuration for the flights in `directory`."""
    head = _head(directory, FLIGHTS_FILE, "Flights from New York in 2013, replayed so that the last day is today.")
    return head + _FLIGHTS + _receivers(webhook_url)


def _head(directory: Path, source_file: str, about: str) -> str:
    place = directory.resolve()
    return _HEAD.format(
        about=about, store=_text(f"sqlite:///{place / STORE_FILE}"), source=_text(f"sqlite:///{place / source_file}")
    )


def _receivers(webhook_url: str | None) -> str:
    return _RECEIVERS if webhook_url is None else _RECEIVERS + _WEBHOOK.format(url=_text(webhook_url))


def _text(value: str) -> str:
    """A value as a double-quoted YAML text, in which `$` starts no variable."""
    return json.dumps(value.replace("$", "$$"), ensure_ascii=False)
