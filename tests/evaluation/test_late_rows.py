"""Rows that arrive after their pane was read: within `revise` they correct the past, beyond it they are not seen."""

from pathlib import Path
from typing import Any

import pytest

from drift_monitor.store.runs import Trigger
from tests.evaluation.workbench import Workbench, counted, even, high, hour


@pytest.fixture(params=["sqlite", "postgresql"])
def workbench(request: pytest.FixtureRequest, tmp_path: Path) -> Workbench:
    """A source with an even reference; the store is SQLite or PostgreSQL."""
    on_sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path}/drift.db" if on_sqlite else request.getfixturevalue("migrated_postgresql_url")
    made = Workbench(tmp_path, url)
    made.people.train(even(1000))
    return made


def rule(**more: Any) -> dict[str, Any]:
    return {"rules": [{"metric": "psi", "above": 0.25, **more}]}


def test_late_rows_give_their_pane_a_revision_and_every_window_that_used_it(workbench: Workbench) -> None:
    people = workbench.people
    for number in range(8):
        people.arrive(number, even(100))
    with workbench.open(window="3h", revise=2) as bench:
        bench.evaluate(5, 6, 7)
        assert bench.revisions() == {5: 0, 6: 0, 7: 0}
        people.arrive(5, high(60))
        bench.evaluate(8)
        # Hour 5 lies in the windows that end at 6, 7 and 8; the last of them read it with its late rows.
        assert bench.revisions() == {5: 0, 6: 1, 7: 1, 8: 0}
        assert bench.rows_read(8) == 100 + 100 + 160
        assert bench.pane_counts(5) == [counted(even(100)), counted([*even(100), *high(60)])]
        assert bench.pane_counts(6) == [counted(even(100))]
        for window in (6, 7):
            before, after = bench.measured(window), bench.measured(window, revision=1)
            assert before.live_counts == tuple(counted(even(300)))
            assert after.live_counts == tuple(counted([*even(300), *high(60)]))
        assert bench.measured(8).live_counts == tuple(counted([*even(300), *high(60)]))


def test_the_evaluations_of_a_revision_say_so_and_read_nothing_again(workbench: Workbench) -> None:
    for number in range(3):
        workbench.people.arrive(number, even(100))
    with workbench.open(window="2h") as bench:
        bench.evaluate(2)
        workbench.people.arrive(1, high(30))
        bench.evaluate(3)
        (revised,) = (one for one in bench.runs() if one.key.revision)
        assert (revised.key.window_end, revised.trigger, revised.rows_read) == (hour(2), Trigger.REVISION, 0)


def test_panes_before_the_window_are_read_again_too(workbench: Workbench) -> None:
    for number in range(3):
        workbench.people.arrive(number, even(100))
    with workbench.open(window="1h", revise=1) as bench:
        bench.evaluate(2)
        workbench.people.arrive(1, high(30))
        bench.evaluate(3)
        assert bench.revisions() == {2: 1, 3: 0}
        assert bench.measured(3).live_counts == tuple(counted(even(100)))


def test_an_alert_that_late_rows_explain_away_is_resolved_as_revised(workbench: Workbench) -> None:
    people = workbench.people
    for number in (0, 2, 3):
        people.arrive(number, even(200))
    people.arrive(1, high(100))
    with workbench.open(**rule(keep_firing_for=2)) as bench:
        bench.evaluate(1, 2)
        assert [(one.opened_window, one.closed_window) for one in bench.episodes()] == [(hour(2), None)]
        people.arrive(1, [age for age in even(400) if age is not None and age < 30])
        bench.evaluate(3)
        (episode,) = bench.episodes()
        assert (episode.closed_window, episode.close_reason) == (hour(3), "revised")
        assert bench.told() == [(2, 0, "firing"), (2, 1, "resolved")]
        assert (bench.phase_after(2), bench.phase_after(3)) == ("inactive", "inactive")
        bench.evaluate(4)
        assert len(bench.episodes()) == 1
        assert len(bench.told()) == 2


def test_an_alert_that_late_rows_bring_about_opens(workbench: Workbench) -> None:
    people = workbench.people
    for number in (0, 1):
        people.arrive(number, even(100))
    for number in (2, 3):
        people.arrive(number, high(200))
    with workbench.open(**rule(**{"for": 2})) as bench:
        bench.evaluate(1, 2)
        people.arrive(1, high(1000))
        bench.evaluate(3)
        # With window 2 breached after all, window 3 is the second breach.
        (episode,) = bench.episodes()
        assert (episode.opened_window, episode.opened_revision, episode.closed_window) == (hour(3), 1, None)
        assert bench.told() == [(2, 1, "firing")]
        assert (bench.phase_after(2), bench.phase_after(3)) == ("pending", "firing")
        bench.evaluate(4)
        assert [one.id for one in bench.episodes()] == [episode.id]
        assert len(bench.told()) == 1


def test_a_breach_of_the_past_that_is_over_by_now_pages_nobody(workbench: Workbench) -> None:
    people = workbench.people
    for number in range(3):
        people.arrive(number, even(100))
    with workbench.open(**rule()) as bench:
        bench.evaluate(1, 2)
        people.arrive(1, high(1000))
        bench.evaluate(3)
        assert bench.revisions() == {1: 0, 2: 1, 3: 0}
        assert (bench.phase_after(2), bench.phase_after(3)) == ("firing", "inactive")
        assert bench.episodes() == []
        assert bench.told() == []


def test_rows_that_arrive_later_than_revise_are_not_seen(workbench: Workbench) -> None:
    people = workbench.people
    for number in range(4):
        people.arrive(number, even(100))
    with workbench.open(window="2h", revise=1) as bench:
        bench.evaluate(2, 3)
        people.arrive(1, high(1000))
        bench.evaluate(4)
        assert bench.revisions() == {2: 0, 3: 0, 4: 0}
        assert bench.rows_read(4) == 100 + 100
        assert bench.pane_counts(1) == [counted(even(100))]


def test_without_revise_no_pane_is_read_twice(workbench: Workbench) -> None:
    for number in range(3):
        workbench.people.arrive(number, even(100))
    with workbench.open(window="2h", revise=0) as bench:
        bench.evaluate(2)
        workbench.people.arrive(1, high(30))
        bench.evaluate(3)
        assert bench.revisions() == {2: 0, 3: 0}
        assert bench.rows_read(3) == 100
