"""The demo's payments: rows with a daily and a weekly rhythm, and seven incidents that the demo's monitor has to find.

The rows of an hour are a function of the seed, the hour and the incidents, and of nothing else: a demo that is
stopped and started again appends the same rows that it would have appended otherwise.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from drift_monitor.demo.database import History, Row, append_rows, create_history, recorded_history
from drift_monitor.demo.incidents import PLANNED, Candidate, Incident, IncidentKind, plan_incidents
from drift_monitor.demo.payment_rows import BALANCE_MEAN, TABLE, draw_hour
from drift_monitor.errors import InputError

PANE = timedelta(hours=1)
REFERENCE = timedelta(days=28)
"""The first four weeks of the history hold no incident."""

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


def write_history(path: Path, *, seed: int, until: datetime, days: int = 60) -> tuple[Incident, ...]:
    """Write the payments of `days` days before `until` (cut to the hour) into a new file; returns what goes wrong."""
    end = _floor_hour(until)
    start = end - timedelta(days=days)
    if start + REFERENCE > end - PLANNED:
        raise InputError(f"{days} days are too few for {REFERENCE.days} quiet days and {PLANNED.days} with incidents")
    history = History(seed=seed, start=start, planned_until=end, written_until=end)
    create_history(path, TABLE, history, _rows_between(history))
    return planned_incidents(history)


def prepare(path: Path, *, seed: int, until: datetime) -> History:
    """Write a history that ends at `until`, or append to the one that is there, whose own seed wins."""
    if recorded_history(path, TABLE) is None:
        write_history(path, seed=seed, until=until)
    else:
        append(path, until=until)
    return read_history(path)


def append(path: Path, *, until: datetime) -> int:
    """Add the payments of the hours that are over at `until` and not written yet; returns how many rows."""
    return append_rows(path, TABLE, _floor_hour(until), _rows_between(read_history(path)))


def read_history(path: Path) -> History:
    """What the file holds; raises InputError where it holds no payments."""
    history = recorded_history(path, TABLE)
    if history is None:
        raise InputError(f"{path} holds no payments of the demo yet: write its history first")
    return history


def planned_incidents(history: History) -> tuple[Incident, ...]:
    """What goes wrong in this history, and when."""
    return plan_incidents(CANDIDATES, seed=history.seed, until=history.planned_until)


def _rows_between(history: History) -> Callable[[datetime, datetime], Iterator[Row]]:
    incidents = planned_incidents(history)

    def rows(start: datetime, end: datetime) -> Iterator[Row]:
        hour = start
        while hour < end:
            yield from draw_hour(history.seed, hour, incidents)
            hour += PANE

    return rows


def _floor_hour(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
