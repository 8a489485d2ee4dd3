"""Counts are stored once for each pane, and again only where they changed."""

from datetime import timedelta

import numpy as np
import pytest
from sqlalchemy import event

from drift_monitor.core.schedule import Span
from drift_monitor.store import panes
from drift_monitor.store.connection import Store
from drift_monitor.store.panes import PaneRows
from drift_monitor.store.schema import pane as pane_table
from tests.store.making import AGES, COUNTRIES, HOUR, hour, pane, pane_counts, prepared

AGE = {"age": ("d1", AGES.id)}
DAY = Span(hour(-24), hour(24))


@pytest.fixture(autouse=True)
def monitor(store: Store) -> None:
    prepared(store)


def save(store: Store, *counts: panes.PaneCounts, rows: tuple[PaneRows, ...] = ()) -> frozenset[Span]:
    return store.transact(lambda connection: panes.save(connection, "loans", counts, rows))


def stored(store: Store, definitions: panes.Definitions = AGE, span: Span = DAY) -> dict[str, dict[Span, list[int]]]:
    with store.read() as connection:
        found = panes.stored(connection, "loans", definitions, span)
    return {feature: {one: counts.tolist() for one, counts in by_pane.items()} for feature, by_pane in found.items()}


def test_counts_come_back_for_each_pane_of_the_span(store: Store) -> None:
    assert save(store, pane_counts(1, [0, 1, 2, 0, 0, 0]), pane_counts(2, [0, 3, 4, 0, 0, 5])) == frozenset()
    assert stored(store) == {"age": {pane(1): [0, 1, 2, 0, 0, 0], pane(2): [0, 3, 4, 0, 0, 5]}}
    assert stored(store, span=pane(2)) == {"age": {pane(2): [0, 3, 4, 0, 0, 5]}}


def test_counts_past_two_to_the_53_keep_their_last_digit(store: Store) -> None:
    save(store, pane_counts(1, [2**53 + 1, 0, 0, 0, 0, 2**62]))
    assert stored(store) == {"age": {pane(1): [2**53 + 1, 0, 0, 0, 0, 2**62]}}


def test_counts_are_whole_numbers_for_numpy(store: Store) -> None:
    save(store, pane_counts(1, [0, 1, 2, 0, 0, 0]))
    with store.read() as connection:
        counts = panes.stored(connection, "loans", AGE, DAY)["age"][pane(1)]
    assert counts.dtype == np.int64


def test_panes_are_half_inside_a_span_or_not_at_all(store: Store) -> None:
    save(store, pane_counts(1, [0, 1, 2, 0, 0, 0]))
    half = timedelta(minutes=30)
    assert stored(store, span=Span(hour(0) + half, hour(1))) == {}
    assert stored(store, span=Span(hour(0), hour(1) - half)) == {}


def test_reading_the_same_counts_again_writes_nothing(store: Store) -> None:
    save(store, pane_counts(1, [0, 1, 2, 0, 0, 0]))
    assert save(store, pane_counts(1, [0, 1, 2, 0, 0, 0])) == frozenset()
    assert revisions(store) == [0]


def test_changed_counts_are_a_new_revision_and_the_old_one_stays(store: Store) -> None:
    save(store, pane_counts(1, [0, 1, 2, 0, 0, 0]), pane_counts(2, [0, 0, 0, 0, 0, 0]))
    assert save(store, pane_counts(1, [0, 1, 3, 0, 0, 0]), pane_counts(2, [0, 0, 0, 0, 0, 0])) == {pane(1)}
    assert save(store, pane_counts(1, [0, 1, 2, 0, 0, 0])) == {pane(1)}
    assert stored(store)["age"][pane(1)] == [0, 1, 2, 0, 0, 0]
    assert revisions(store) == [0, 0, 1, 2]


def revisions(store: Store) -> list[int]:
    with store.read() as connection:
        return sorted(connection.execute(pane_table.select()).scalars("revision"))


def test_counts_of_another_definition_or_other_bins_never_meet(store: Store) -> None:
    save(store, pane_counts(1, [0, 1, 2, 0, 0, 0]), pane_counts(1, [9, 9, 9, 9, 9, 9], definition="d2"))
    assert stored(store) == {"age": {pane(1): [0, 1, 2, 0, 0, 0]}}
    assert stored(store, {"age": ("d2", AGES.id)}) == {"age": {pane(1): [9, 9, 9, 9, 9, 9]}}
    assert stored(store, {"age": ("d1", COUNTRIES.id)}) == {}
    assert stored(store, {"income": ("d1", AGES.id)}) == {}


def test_nothing_is_asked_where_nothing_is_watched(store: Store) -> None:
    assert stored(store, {}) == {}


def test_row_totals_come_back_oldest_first_and_in_their_latest_revision(store: Store) -> None:
    first = PaneRows(segment="", definition="d", span=pane(1), rows=10, newest=hour(1) - timedelta(microseconds=1))
    second = PaneRows(segment="", definition="d", span=pane(2), rows=0)
    late = PaneRows(segment="", definition="d", span=pane(1), rows=11, newest=first.newest)
    assert save(store, rows=(second, first)) == frozenset()
    assert save(store, rows=(late, second)) == {pane(1)}
    with store.read() as connection:
        assert panes.stored_rows(connection, "loans", "d", DAY) == (late, second)
        assert panes.stored_rows(connection, "loans", "other", DAY) == ()


def test_a_thousand_features_and_a_week_of_panes_are_saved_and_read(store: Store) -> None:
    features = {f"f{number}": ("d1", AGES.id) for number in range(1000)}
    save(store, *(pane_counts(1, [number, 0, 0, 0, 0, 0], f"f{number}") for number in range(1000)))
    week = [pane_counts(number, [0, 1, 0, 0, 0, number]) for number in range(-100, 68)]
    save(store, *week)
    found = stored(store, features, Span(hour(-200), hour(200)))
    assert found == {f"f{number}": {pane(1): [number, 0, 0, 0, 0, 0]} for number in range(1000)}
    assert len(stored(store, span=Span(hour(-101), hour(67)))["age"]) == 168


def test_reading_a_window_costs_two_statements_however_long_it_is(store: Store) -> None:
    save(store, *(pane_counts(number, [0, 1, 0, 0, 0, number]) for number in range(1, 100)))
    statements: list[str] = []

    @event.listens_for(store.engine, "before_cursor_execute")
    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    assert len(stored(store, span=Span(hour(0), hour(99)))["age"]) == 99
    assert len([one for one in statements if "FROM pane" in one]) == 2


def test_a_pane_of_another_length_is_another_pane(store: Store) -> None:
    long = panes.PaneCounts(
        segment="",
        feature="age",
        span=Span(hour(-1), hour(1)),
        definition="d1",
        spec_id=AGES.id,
        counts=np.array([7] * 6),
    )
    save(store, long, pane_counts(1, [0, 1, 2, 0, 0, 0]))
    assert set(stored(store)["age"]) == {Span(hour(1) - 2 * HOUR, hour(1)), pane(1)}
