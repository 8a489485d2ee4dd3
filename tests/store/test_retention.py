"""What is old goes in small steps; what open episodes and current references rest on stays."""

from dataclasses import replace

import pytest
from sqlalchemy import func, select

from drift_monitor.core.schedule import Span
from drift_monitor.store import alerts, measurements, outbox, panes, references, runs
from drift_monitor.store.alerts import AlertKey, Episode
from drift_monitor.store.connection import Store
from drift_monitor.store.outbox import NotificationFilter, NotificationState
from drift_monitor.store.panes import PaneRows
from drift_monitor.store.references import StoredReference
from drift_monitor.store.retention import RetentionLimits, purge, purge_batch
from drift_monitor.store.schema import metadata
from tests.store.making import (
    AGES,
    HOUR,
    alert_row,
    finish,
    hour,
    measurement,
    notification,
    pane,
    pane_counts,
    planned,
    prepared,
)

LONG_AFTER = RetentionLimits(panes_before=hour(3), measurements_before=hour(3))
REFERENCE = StoredReference(segment="",
    monitor="loans", feature="age", definition="d1", kind="FixedRange", spec=AGES, counts=None,
    built_at=hour(0), span=Span(hour(0), hour(2)),
)  # fmt: skip
EPISODE = Episode(
    monitor="loans",
    key=AlertKey("age", "", "psi:warning"),
    metric="psi",
    severity="warning",
    opened_window=hour(1),
    opened_revision=0,
)


def rows(store: Store, *names: str) -> dict[str, int]:
    with store.read() as connection:
        return {
            name: connection.execute(select(func.count()).select_from(metadata.tables[name])).scalar_one()
            for name in names
        }


def save_panes(store: Store, *numbers: int) -> None:
    counts = [pane_counts(number, [0, 1, 0, 0, 0, number], feature) for number in numbers for feature in ("age", "b")]
    totals = [PaneRows(segment="", definition="d", span=pane(number), rows=number) for number in numbers]
    store.transact(lambda connection: panes.save(connection, "loans", counts, totals))


def test_old_panes_go_and_newer_ones_stay(store: Store) -> None:
    prepared(store)
    save_panes(store, 1, 2, 3, 4)
    assert purge(store, LONG_AFTER) == 6
    with store.read() as connection:
        found = panes.stored(connection, "loans", {"age": ("d1", AGES.id)}, Span(hour(0), hour(9)))
        totals = panes.stored_rows(connection, "loans", "d", Span(hour(0), hour(9)))
    assert set(found["age"]) == {pane(3), pane(4)}
    assert [one.span for one in totals] == [pane(3), pane(4)]


def test_panes_of_a_drifting_feature_stay_until_its_episode_ends(store: Store) -> None:
    prepared(store)
    save_panes(store, 1)
    store.transact(lambda connection: alerts.open_episode(connection, EPISODE))
    assert purge(store, LONG_AFTER) == 1
    assert rows(store, "pane", "pane_rows") == {"pane": 1, "pane_rows": 1}
    store.transact(lambda c: alerts.close_episode(c, EPISODE.id, window=hour(2), reason="recovered"))
    purge(store, LONG_AFTER)
    assert rows(store, "pane", "pane_rows", "episode") == {"pane": 0, "pane_rows": 0, "episode": 0}


def test_panes_of_a_current_reference_stay_until_it_is_replaced(store: Store) -> None:
    prepared(store)
    save_panes(store, 1, 2)
    store.transact(lambda connection: references.save(connection, [REFERENCE]))
    purge(store, LONG_AFTER)
    assert rows(store, "pane", "pane_rows", "reference") == {"pane": 2, "pane_rows": 2, "reference": 1}
    replaced = replace(REFERENCE, built_at=hour(50), span=Span(hour(40), hour(50)))
    store.transact(lambda connection: references.save(connection, [replaced]))
    purge(store, LONG_AFTER)
    assert rows(store, "pane", "pane_rows", "reference") == {"pane": 0, "pane_rows": 0, "reference": 1}


def test_old_measurements_go_with_their_runs(store: Store) -> None:
    prepared(store, 0, 1, 5)
    store.transact(lambda connection: measurements.save(connection, [measurement(0), measurement(1), measurement(5)]))
    store.transact(lambda connection: runs.skip(connection, [planned(2)], "downtime"))
    assert purge(store, LONG_AFTER) == 5
    assert rows(store, "measurement", "run") == {"measurement": 1, "run": 1}


def test_the_last_done_run_of_a_monitor_stays_however_old(store: Store) -> None:
    prepared(store, 0, 1)
    store.transact(lambda connection: runs.skip(connection, [planned(2)], "downtime"))
    purge(store, LONG_AFTER)
    with store.read() as connection:
        last = runs.last_done(connection, "loans")
        assert last is not None
        assert last.key == planned(1).key
        assert runs.last_planned(connection, "loans") == hour(2)


def test_measurements_since_an_open_episode_began_stay(store: Store) -> None:
    prepared(store, 0, 1, 2, 5)
    store.transact(lambda connection: measurements.save(connection, [measurement(0), measurement(1), measurement(2)]))
    store.transact(lambda connection: alerts.open_episode(connection, EPISODE))
    purge(store, LONG_AFTER)
    with store.read() as connection:
        kept = [
            one.window_end for one in measurements.history(connection, measurements.MeasurementFilter(monitor="loans"))
        ]
    assert kept == [hour(2), hour(1)]


def test_an_episode_that_an_alert_still_points_to_stays(store: Store) -> None:
    prepared(store)
    closed = replace(EPISODE, closed_window=hour(2), close_reason="recovered")
    store.transact(lambda connection: alerts.open_episode(connection, closed))
    store.transact(lambda connection: alerts.save(connection, [replace(alert_row(2), episode_id=closed.id)]))
    purge(store, LONG_AFTER)
    assert rows(store, "episode") == {"episode": 1}


@pytest.mark.parametrize(
    ("state", "left"), [(NotificationState.PENDING, 1), (NotificationState.SUPPRESSED, 0)], ids=str
)
def test_a_notification_that_waits_is_never_deleted(store: Store, state: NotificationState, left: int) -> None:
    prepared(store)
    store.transact(lambda connection: outbox.add(connection, [replace(notification(1), state=state)]))
    with store.read() as connection:
        created = outbox.page(connection, NotificationFilter(), limit=1)[0].created_at
    purge(store, replace(LONG_AFTER, measurements_before=created + HOUR))
    assert rows(store, "outbox") == {"outbox": left}


def test_the_tries_of_a_notification_go_with_it(store: Store) -> None:
    prepared(store)
    store.transact(lambda connection: outbox.add(connection, [notification(1)]))
    claimed = store.transact(lambda connection: outbox.claim(connection, "one", HOUR))
    assert claimed is not None
    sent = outbox.Delivery(outcome=outbox.DeliveryOutcome.SENT)
    store.transact(lambda connection: outbox.settle(connection, claimed, sent))
    purge(store, replace(LONG_AFTER, measurements_before=claimed.created_at + HOUR))
    assert rows(store, "outbox", "delivery") == {"outbox": 0, "delivery": 0}


def test_one_batch_is_bounded_and_many_finish_the_work(store: Store) -> None:
    prepared(store)
    save_panes(store, *range(-20, 0))
    assert store.transact(lambda connection: purge_batch(connection, LONG_AFTER, 5)) == 10
    assert rows(store, "pane") == {"pane": 35}
    stops = iter([True, False])
    assert purge(store, LONG_AFTER, keep_going=lambda: next(stops)) == 50
    assert rows(store, "pane", "pane_rows") == {"pane": 0, "pane_rows": 0}


def test_unfinished_runs_are_never_deleted(store: Store) -> None:
    prepared(store, 5)
    store.transact(lambda connection: runs.plan(connection, [planned(0)]))
    assert purge(store, LONG_AFTER) == 0
    store.transact(lambda connection: finish(connection, 0))
    assert purge(store, LONG_AFTER) == 1
