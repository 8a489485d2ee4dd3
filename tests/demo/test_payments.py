"""The demo's payments: the same rows for the same seed, one column changed by an incident, every kind of feature."""

import sqlite3
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drift_monitor.demo.database import History, Row, instant_text
from drift_monitor.demo.incidents import Incident
from drift_monitor.demo.payments import FEATURES, REFERENCE, PaymentsData, draw_hour
from drift_monitor.errors import InputError

UNTIL = datetime(2026, 11, 21, 4, 37, 5, tzinfo=UTC)
END = datetime(2026, 11, 21, 4, tzinfo=UTC)
PAYMENTS = PaymentsData()
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def read(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def columns(rows: list[Row]) -> dict[str, list[Any]]:
    return dict(zip(("paid_at", *FEATURES), map(list, zip(*rows, strict=True)), strict=True))


def write(directory: Path, *, seed: int, until: datetime) -> History:
    PAYMENTS.begin(directory, seed=seed, until=until)
    PAYMENTS.append(directory, until=until)
    return PAYMENTS.history(directory)


def incidents_in(path: Path) -> tuple[Incident, ...]:
    return PAYMENTS.incidents(PAYMENTS.history(path.parent))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("demo")
    write(directory, seed=11, until=UNTIL)
    return directory / "payments.db"


@pytest.fixture(scope="module")
def month() -> dict[str, list[Any]]:
    """Four weeks without an incident."""
    return columns([row for n in range(28 * 24) for row in draw_hour(11, END - n * HOUR, ())])


def test_the_history_has_sixty_days_up_to_the_last_full_hour(written: Path) -> None:
    ((first, last),) = read(written, "SELECT min(paid_at), max(paid_at) FROM payments")
    assert instant_text(END - 60 * DAY) <= first < instant_text(END - 60 * DAY + HOUR)
    assert instant_text(END - HOUR) <= last < instant_text(END)


def test_rows_are_in_the_order_of_time(written: Path) -> None:
    times = [at for (at,) in read(written, "SELECT paid_at FROM payments ORDER BY id")]
    assert times == sorted(times)


def test_every_day_holds_enough_rows_to_measure_it(written: Path) -> None:
    days = read(written, "SELECT count(*) FROM payments GROUP BY substr(datetime(paid_at, '-4 hours'), 1, 10)")
    assert len(days) == 60
    assert min(days)[0] > 1_700
    assert 100_000 < sum(rows for (rows,) in days) < 160_000


def test_volume_follows_day_and_week(month: dict[str, list[Any]]) -> None:
    times = [datetime.fromisoformat(at) for at in month["paid_at"]]
    hours = Counter(at.hour for at in times)
    weekdays = Counter(at.weekday() for at in times)
    assert hours[14] > 3 * hours[2]
    assert max(weekdays[5], weekdays[6]) < min(weekdays[day] for day in range(5))


def test_the_same_seed_draws_the_same_rows_and_another_seed_others() -> None:
    assert draw_hour(1, END, ()) == draw_hour(1, END, ())
    assert draw_hour(1, END, ()) != draw_hour(2, END, ())
    assert draw_hour(1, END, ()) != draw_hour(1, END + HOUR, ())


def test_an_incident_changes_its_own_column_and_no_other(written: Path) -> None:
    for incident in incidents_in(written):
        hour = incident.start + 12 * HOUR
        before, after = (columns(draw_hour(11, hour, plan)) for plan in ((), (incident,)))
        assert [name for name in before if before[name] != after[name]] == [incident.feature]


def test_an_incident_changes_no_row_before_its_start_and_none_from_its_end_on(written: Path) -> None:
    for incident in incidents_in(written):
        for hour in (incident.start - HOUR, incident.end):
            assert draw_hour(11, hour, (incident,)) == draw_hour(11, hour, ())
        for hour in (incident.start, incident.end - HOUR):
            assert draw_hour(11, hour, (incident,)) != draw_hour(11, hour, ())


def test_the_reference_holds_no_incident(written: Path) -> None:
    start = PAYMENTS.history(written.parent).start
    assert min(incident.start for incident in incidents_in(written)) >= start + REFERENCE


@pytest.mark.slow
def test_a_history_appended_in_steps_equals_one_written_at_once(tmp_path: Path) -> None:
    incidents = PAYMENTS.incidents(write(tmp_path, seed=5, until=UNTIL))
    for until in (UNTIL, UNTIL + HOUR, UNTIL + HOUR, UNTIL + 20 * HOUR):
        PAYMENTS.append(tmp_path, until=until)
    hours = (END + n * HOUR for n in range(20))
    expected = [row for hour in hours for row in draw_hour(5, hour, incidents)]
    appended = read(
        tmp_path / "payments.db", f"SELECT * FROM payments WHERE paid_at >= '{instant_text(END)}' ORDER BY id"
    )
    assert [row[1:] for row in appended] == expected


@pytest.mark.slow
def test_beginning_again_goes_on_with_the_seed_and_the_plan_of_the_file(tmp_path: Path) -> None:
    first = write(tmp_path, seed=5, until=UNTIL)
    again = write(tmp_path, seed=6, until=UNTIL + 30 * HOUR)
    assert again.seed == 5
    assert again.written_until == END + 30 * HOUR
    assert PAYMENTS.incidents(again) == PAYMENTS.incidents(first)


def test_a_history_begins_without_rows_sixty_days_before_the_last_full_hour(tmp_path: Path) -> None:
    begun = PAYMENTS.begin(tmp_path, seed=5, until=UNTIL)
    assert begun == History(seed=5, start=END - 60 * DAY, planned_until=END, written_until=END - 60 * DAY)
    assert read(tmp_path / "payments.db", "SELECT count(*) FROM payments") == [(0,)]


def test_moved_dates_move_rhythm_and_incidents(tmp_path: Path) -> None:
    summer = datetime(2024, 7, 3, 23, 59, tzinfo=UTC)
    incidents = PAYMENTS.incidents(PAYMENTS.begin(tmp_path, seed=11, until=summer))
    assert incidents[-1].is_active(summer)
    assert all(later.start - earlier.start > DAY for earlier, later in pairwise(incidents))


def test_appending_needs_a_history(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="write its history first"):
        PAYMENTS.append(tmp_path, until=UNTIL)


def test_features_are_of_every_kind(month: dict[str, list[Any]]) -> None:
    amount, items, tip = (np.array([v for v in month[f] if v is not None]) for f in ("amount", "items", "tip"))
    assert amount.mean() > 1.3 * np.median(amount)  # skewed
    assert 0.4 < np.mean(tip == 0) < 0.9  # zero-inflated
    assert items.dtype.kind == "i"
    assert set(month["is_recurring"]) == {True, False, None}
    countries = Counter(month["country"])
    assert sum(rows < 0.005 * len(amount) for rows in countries.values()) > 30  # a long tail


def test_some_features_have_missing_values_and_none_has_many(month: dict[str, list[Any]]) -> None:
    missing = {name: values.count(None) / len(values) for name, values in month.items()}
    assert sum(share > 0 for share in missing.values()) >= 5
    assert max(missing.values()) < 0.06


def test_columns_hold_values_of_their_declared_types(written: Path) -> None:
    types = "SELECT DISTINCT typeof(amount), typeof(items), typeof(payment_method), typeof(paid_at) FROM payments"
    assert read(written, types) == [("real", "integer", "text", "text")]
    assert set(read(written, "SELECT DISTINCT is_recurring FROM payments")) == {(0,), (1,), (None,)}
