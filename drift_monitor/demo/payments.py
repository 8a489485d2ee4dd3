"""The demo's payments: rows with a daily and a weekly rhythm, and seven incidents that the demo's monitor has to find.

The rows of an hour are a function of the seed, the hour and the incidents, and of nothing else: a demo that is
stopped and started again appends the same rows that it would have appended otherwise.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drift_monitor.demo.data import DemoData, yaml_text
from drift_monitor.demo.database import History, Row, Table, instant_text
from drift_monitor.demo.incidents import (
    LIVE_WINDOW,
    PLANNED,
    Candidate,
    DemoColumn,
    Incident,
    IncidentKind,
    apply_incident,
    plan_incidents,
)

HOUR = timedelta(hours=1)
REFERENCE = timedelta(days=28)  # the first four weeks of the history hold no incident
# On average over a weekday; 60 days are about 138,000 rows, a window of 24 hours holds 2,000 or more.
ROWS_AN_HOUR = 100
BALANCE_MEAN = 2_400.0

TABLE = Table(
    name="payments",
    create=(
        """
        CREATE TABLE payments (
            id INTEGER PRIMARY KEY,
            paid_at TIMESTAMP NOT NULL,
            amount REAL NOT NULL,
            fee REAL NOT NULL,
            balance REAL,
            risk_score REAL,
            items INTEGER NOT NULL,
            tip REAL,
            session_seconds REAL,
            is_recurring BOOLEAN,
            country TEXT,
            payment_method TEXT NOT NULL,
            device TEXT,
            merchant_category TEXT
        )""",
        "CREATE INDEX payments_paid_at ON payments (paid_at)",
    ),
    insert="INSERT INTO payments VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
)

PAYMENT_METHODS = np.array(("card", "wallet", "bank_transfer", "direct_debit", "gift_card", "cash"))
DEVICES = np.array(("ios", "android", "web", "terminal"))
CATEGORIES = np.array((
    "grocery", "restaurants", "transport", "clothing", "electronics", "travel", "health", "utilities", "books",
    "furniture", "games", "sports", "garden", "pets", "toys", "jewellery", "music", "art", "tools", "charity",
))  # fmt: skip
COUNTRIES = np.array((
    "US", "GB", "DE", "FR", "CA", "ES", "IT", "NL", "AU", "BR", "PL", "SE", "MX", "JP", "IN", "IE", "CH", "BE",
    "AT", "DK", "NO", "FI", "PT", "CZ", "GR", "RO", "HU", "NZ", "SG", "ZA", "AR", "CL", "CO", "KR", "TW", "TH",
    "MY", "ID", "PH", "VN", "TR", "IL", "AE", "SA", "EG", "MA", "NG", "KE", "GH", "TZ", "UA", "SK", "SI", "HR",
    "BG", "LT", "LV", "EE", "LU", "MT", "CY", "IS", "PE", "EC", "UY", "BO", "PY", "CR", "PA", "DO", "GT", "HN",
    "SV", "NI", "JM", "TT", "PK", "BD", "LK", "NP", "KZ", "UZ", "GE", "AM", "AZ", "MD", "RS", "BA",
))  # fmt: skip

FEATURES = (
    "amount",
    "fee",
    "balance",
    "risk_score",
    "items",
    "tip",
    "session_seconds",
    "is_recurring",
    "country",
    "payment_method",
    "device",
    "merchant_category",
)

_DECIMALS = {"amount": 2, "fee": 2, "balance": 2, "session_seconds": 1, "items": 0}
"""What an incident may have left with more digits than such a column holds."""

_WITHIN_HOUR = tuple(f":{second // 60:02}:{second % 60:02}Z" for second in range(3600))
"""How each second's text ends after its hour: formatting a time for each row costs more than drawing the row."""


CANDIDATES = (
    Candidate(
        kind=IncidentKind.NEW_CATEGORY,
        feature="payment_method",
        description="{share} of the payments arrive with the new method '{value}'",
        share=(0.12, 0.25),
        value="pay_later",
    ),
    Candidate(
        kind=IncidentKind.NEW_CATEGORY,
        feature="merchant_category",
        description="{share} of the payments arrive with the new category '{value}'",
        share=(0.12, 0.25),
        value="UNKNOWN_V2",
    ),
    Candidate(
        kind=IncidentKind.LOST_SEGMENT,
        feature="device",
        description="no payment arrives from '{value}' any more",
        value="ios",
    ),
    Candidate(
        kind=IncidentKind.LOST_SEGMENT,
        feature="country",
        description="no payment arrives from '{value}' any more",
        value="US",
    ),
    Candidate(
        kind=IncidentKind.SHIFT,
        feature="session_seconds",
        description="every session takes {value} seconds longer",
        value=(90.0, 150.0),
    ),
    Candidate(
        kind=IncidentKind.SHIFT,
        feature="items",
        description="every item count is {value:.0f} too high",
        value=(2.0, 2.0),
    ),
    Candidate(
        kind=IncidentKind.UNIT_CHANGE,
        feature="amount",
        description="{share} of the amounts are in cents instead of dollars",
        share=(0.3, 1.0),
        value=(100.0, 100.0),
    ),
    Candidate(
        kind=IncidentKind.UNIT_CHANGE,
        feature="fee",
        description="{share} of the fees are in cents instead of dollars",
        share=(0.3, 1.0),
        value=(100.0, 100.0),
    ),
    Candidate(
        kind=IncidentKind.MISSING_JUMP,
        feature="is_recurring",
        description="{share} of the flags are missing",
        share=(0.35, 0.6),
    ),
    Candidate(
        kind=IncidentKind.MISSING_JUMP,
        feature="tip",
        description="{share} of the tips are missing",
        share=(0.35, 0.6),
    ),
    Candidate(
        kind=IncidentKind.DEFAULT_SPIKE,
        feature="risk_score",
        description="{share} of the scores are the default {value}",
        share=(0.35, 0.5),
        value=(0.5, 0.5),
    ),
    Candidate(
        kind=IncidentKind.WIDENING,
        feature="balance",
        description="balances scatter {value} times as much around the same mean",
        value=(1.9, 2.4),
        centre=BALANCE_MEAN,
    ),
)

# The thresholds are the ones the incidents were sized for: a window of 24 hours without an incident stays below a tenth
# of them over days and weekends, and each incident crosses one within 24 hours of its start.
_MONITOR = """\
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


class PaymentsData(DemoData):
    """Generated payments with seven labelled incidents."""

    table = TABLE
    title = "What went wrong in these data, and the first alert about it (UTC)"
    about = "Rows with a daily and a weekly rhythm, and seven incidents to find."
    pane = HOUR
    piece = timedelta(days=7)

    def start(self, until: datetime) -> datetime:
        return until - REFERENCE - PLANNED

    def rows(self, history: History, start: datetime, end: datetime) -> Iterator[Row]:
        incidents = self.incidents(history)
        for number in range((end - start) // HOUR):
            yield from draw_hour(history.seed, start + number * HOUR, incidents)

    def monitor_yaml(self, history: History) -> str:
        return _MONITOR.format(
            window_hours=LIVE_WINDOW // HOUR,
            reference_from=yaml_text(instant_text(history.start)),
            reference_to=yaml_text(instant_text(history.start + REFERENCE)),
        )

    def first_window(self, history: History) -> datetime:
        return history.start + REFERENCE + LIVE_WINDOW

    def incidents(self, history: History) -> tuple[Incident, ...]:
        return plan_incidents(CANDIDATES, seed=history.seed, until=history.planned_until)


def draw_hour(seed: int, hour: datetime, incidents: Sequence[Incident]) -> list[Row]:
    """The rows of the hour that starts at `hour` (UTC), in the order of the table's columns, by time."""
    stream = [seed, int(hour.timestamp()) // 3600]
    rng = np.random.default_rng(stream)
    daily = float(np.sin((hour.hour - 8) / 24 * 2 * np.pi))  # the peak is at 14:00
    weekend = hour.weekday() >= 5
    rows = int(rng.poisson(ROWS_AN_HOUR * (1 + 0.6 * daily) * (1 - 0.15 * weekend)))
    seconds = np.sort(rng.integers(0, 3600, rows))
    amount = np.round(rng.lognormal(3.3 + 0.03 * daily + 0.08 * weekend, 0.9, rows), 2)
    tipped = rng.random(rows) < 0.34 + 0.05 * weekend
    mobile = 0.06 * weekend
    drawn: dict[str, tuple[NDArray[Any], float]] = {
        "amount": (amount, 0.0),
        "fee": (np.round(0.3 + amount * rng.normal(0.029, 0.002, rows), 2), 0.0),
        "balance": (np.round(rng.normal(BALANCE_MEAN, 800, rows), 2), 0.03),
        "risk_score": (np.round(rng.beta(2.0, 5.0 - 0.1 * daily, rows), 3), 0.01),
        "items": (1 + rng.poisson(1.7 + 0.15 * weekend, rows), 0.0),
        "tip": (np.where(tipped, np.round(0.5 + rng.gamma(2.0, 1.6, rows), 2), 0.0), 0.02),
        "session_seconds": (np.round(rng.gamma(2.5, 44 - 2 * daily, rows), 1), 0.02),
        "is_recurring": (rng.random(rows) < 0.24 - 0.03 * daily - 0.04 * weekend, 0.02),
        "country": (rng.choice(COUNTRIES, rows, p=_COUNTRY_SHARES), 0.01),
        "payment_method": (rng.choice(PAYMENT_METHODS, rows, p=(0.44, 0.22, 0.17, 0.09, 0.05, 0.03)), 0.0),
        "device": (rng.choice(DEVICES, rows, p=(0.36 + mobile, 0.31, 0.25 - mobile, 0.08)), 0.04),
        "merchant_category": (rng.choice(CATEGORIES, rows, p=_CATEGORY_SHARES), 0.01),
    }
    columns = {name: DemoColumn(values, rng.random(rows) < missing) for name, (values, missing) in drawn.items()}
    for number, incident in enumerate(incidents):
        if incident.is_active(hour):
            # A generator of its own: an incident changes no other column's random numbers.
            own_rng = np.random.default_rng([*stream, 1 + number])
            columns[incident.feature] = apply_incident(incident, columns[incident.feature], own_rng)
    start = f"{hour:%Y-%m-%dT%H}"
    paid_at = [start + _WITHIN_HOUR[second] for second in seconds.tolist()]
    return list(zip(paid_at, *(_to_sql(columns[feature], feature) for feature in FEATURES), strict=True))


def _long_tail(labels: int, exponent: float) -> NDArray[np.float64]:
    weights = np.arange(1, labels + 1, dtype=np.float64) ** -exponent
    shares: NDArray[np.float64] = weights / weights.sum()
    return shares


_COUNTRY_SHARES = _long_tail(len(COUNTRIES), 1.3)
_CATEGORY_SHARES = _long_tail(len(CATEGORIES), 0.8)


def _to_sql(column: DemoColumn, feature: str) -> list[Any]:
    values = np.round(column.values, _DECIMALS[feature]) if feature in _DECIMALS else column.values
    present: list[Any] = values.tolist()
    for position in np.flatnonzero(column.missing).tolist():
        present[position] = None
    return present
