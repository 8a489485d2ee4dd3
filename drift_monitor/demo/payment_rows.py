"""One hour of the demo's payments: the columns, how their values are spread, and the rhythms of day and week."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drift_monitor.demo.database import Row, Table, instant_text
from drift_monitor.demo.incidents import DemoColumn, Incident, apply_incident

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

ROWS_AN_HOUR = 100
"""On average over a weekday; 60 days are about 138,000 rows, a window of 24 hours holds 2,000 or more."""
BALANCE_MEAN = 2_400.0
PAYMENT_METHODS = ("card", "wallet", "bank_transfer", "direct_debit", "gift_card", "cash")
DEVICES = ("ios", "android", "web", "terminal")
CATEGORIES = (
    "grocery", "restaurants", "transport", "clothing", "electronics", "travel", "health", "utilities", "books",
    "furniture", "games", "sports", "garden", "pets", "toys", "jewellery", "music", "art", "tools", "charity",
)  # fmt: skip
COUNTRIES = (
    "US", "GB", "DE", "FR", "CA", "ES", "IT", "NL", "AU", "BR", "PL", "SE", "MX", "JP", "IN", "IE", "CH", "BE",
    "AT", "DK", "NO", "FI", "PT", "CZ", "GR", "RO", "HU", "NZ", "SG", "ZA", "AR", "CL", "CO", "KR", "TW", "TH",
    "MY", "ID", "PH", "VN", "TR", "IL", "AE", "SA", "EG", "MA", "NG", "KE", "GH", "TZ", "UA", "SK", "SI", "HR",
    "BG", "LT", "LV", "EE", "LU", "MT", "CY", "IS", "PE", "EC", "UY", "BO", "PY", "CR", "PA", "DO", "GT", "HN",
    "SV", "NI", "JM", "TT", "PK", "BD", "LK", "NP", "KZ", "UZ", "GE", "AM", "AZ", "MD", "RS", "BA",
)  # fmt: skip

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


@dataclass(frozen=True, kw_only=True)
class Moment:
    """Where an hour lies in the rhythms: `daily` is a sine with its peak at 14:00 UTC, `weekend` is 0 or 1."""

    daily: float
    weekend: float


def draw_hour(seed: int, hour: datetime, incidents: Sequence[Incident]) -> list[Row]:
    """The rows of the hour that starts at `hour`, in the order of the table's columns, by time."""
    rng = np.random.default_rng([seed, _hour_number(hour)])
    moment = _moment(hour)
    rows = int(rng.poisson(ROWS_AN_HOUR * (1 + 0.6 * moment.daily) * (1 - 0.15 * moment.weekend)))
    seconds = np.sort(rng.integers(0, 3600, rows))
    columns = _draw_columns(rng, rows, moment)
    for number, incident in enumerate(incidents):
        if incident.is_active(hour):
            own_rng = np.random.default_rng([seed, _hour_number(hour), 1 + number])
            columns[incident.feature] = apply_incident(incident, columns[incident.feature], own_rng)
    paid_at = [instant_text(hour + timedelta(seconds=int(second))) for second in seconds]
    return list(zip(paid_at, *(_to_sql(columns[feature], feature) for feature in FEATURES), strict=True))


def _draw_columns(rng: np.random.Generator, rows: int, moment: Moment) -> dict[str, DemoColumn]:
    amount = np.round(rng.lognormal(3.3 + 0.03 * moment.daily + 0.08 * moment.weekend, 0.9, rows), 2)
    tipped = rng.random(rows) < 0.34 + 0.05 * moment.weekend
    mobile = 0.06 * moment.weekend
    drawn: dict[str, tuple[NDArray[Any], float]] = {
        "amount": (amount, 0.0),
        "fee": (np.round(0.3 + amount * rng.normal(0.029, 0.002, rows), 2), 0.0),
        "balance": (np.round(rng.normal(BALANCE_MEAN, 800, rows), 2), 0.03),
        "risk_score": (np.round(rng.beta(2.0, 5.0 - 0.1 * moment.daily, rows), 3), 0.01),
        "items": (1 + rng.poisson(1.7 + 0.15 * moment.weekend, rows), 0.0),
        "tip": (np.where(tipped, np.round(0.5 + rng.gamma(2.0, 1.6, rows), 2), 0.0), 0.02),
        "session_seconds": (np.round(rng.gamma(2.5, 44 - 2 * moment.daily, rows), 1), 0.02),
        "is_recurring": (rng.random(rows) < 0.24 - 0.03 * moment.daily - 0.04 * moment.weekend, 0.02),
        "country": (rng.choice(COUNTRIES, rows, p=_long_tail(len(COUNTRIES), 1.3)), 0.01),
        "payment_method": (rng.choice(PAYMENT_METHODS, rows, p=(0.44, 0.22, 0.17, 0.09, 0.05, 0.03)), 0.0),
        "device": (rng.choice(DEVICES, rows, p=(0.36 + mobile, 0.31, 0.25 - mobile, 0.08)), 0.04),
        "merchant_category": (rng.choice(CATEGORIES, rows, p=_long_tail(len(CATEGORIES), 0.8)), 0.01),
    }
    return {name: DemoColumn(values, rng.random(rows) < missing) for name, (values, missing) in drawn.items()}


def _to_sql(column: DemoColumn, feature: str) -> list[Any]:
    values = np.round(column.values, _DECIMALS[feature]) if feature in _DECIMALS else column.values
    return [None if missing else value for value, missing in zip(values.tolist(), column.missing.tolist(), strict=True)]


def _moment(hour: datetime) -> Moment:
    daily = float(np.sin((hour.hour - 8) / 24 * 2 * np.pi))
    return Moment(daily=daily, weekend=float(hour.weekday() >= 5))


def _long_tail(labels: int, exponent: float) -> NDArray[np.float64]:
    weights = np.arange(1, labels + 1, dtype=np.float64) ** -exponent
    shares: NDArray[np.float64] = weights / weights.sum()
    return shares


def _hour_number(hour: datetime) -> int:
    return int(hour.timestamp()) // 3600
