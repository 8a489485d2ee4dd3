"""An alert is told once, repeated where asked for, kept back by silences, and over for those who knew of it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from drift_monitor.alerting.repeat import repeat_due
from drift_monitor.alerting.silences import acknowledge_alert, add_silence, expire_silence
from drift_monitor.core.matching import parse_matcher
from drift_monitor.evaluation.planning import register_monitors
from drift_monitor.store import acknowledgements, notification_log
from drift_monitor.store.silences import Silence
from tests.clocks import FixedClock
from tests.evaluation.workbench import Bench, Workbench, even, high, hour

LOG = {"name": "log", "log": {}}
HOURLY = {"name": "log", "repeat_interval": "1h", "log": {}}


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'drift.db'}"
    url: str = request.getfixturevalue("migrated_postgresql_url")
    return url


@pytest.fixture
def workbench(tmp_path: Path, store_url: str) -> Workbench:
    """Hours 2, 3 and 5 drift, hours 1, 4 and 6 don't."""
    bench = Workbench(tmp_path, store_url, [LOG])
    bench.people.train(even(400))
    for number, ages in enumerate([even(200), high(200), high(200), even(200), high(200), even(200)]):
        bench.people.arrive(number, ages)
    return bench


@contextmanager
def opened(workbench: Workbench, *receivers: dict[str, Any], **monitor: Any) -> Iterator[Bench]:
    workbench.receivers = receivers
    with workbench.open(**monitor) as bench:
        yield bench


def notifications(bench: Bench) -> list[tuple[str, str, str | None]]:
    """(status, state, reason) of each notification in the outbox, in order."""
    rows = bench.rows("SELECT body, state, reason FROM outbox ORDER BY seq")
    return [(_plain(body)["status"], state, reason) for body, state, reason in rows]


def sent(bench: Bench) -> list[str]:
    return [status for status, state, _ in notifications(bench) if state == "pending"]


def _plain(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def silenced(bench: Bench, *matchers: str) -> Silence:
    asked = [parse_matcher(text) for text in matchers or ("monitor=people",)]
    with bench.services.store.read() as conn:
        now = bench.services.store.now(conn)
    return add_silence(
        bench.services.store, asked, ends_at=now + timedelta(hours=2), author="ops", comment="planned load test"
    )


def pass_time(bench: Bench, interval: timedelta) -> None:
    """Everything that was told was told so much earlier: a PostgreSQL server's clock can't be put forward."""

    def work(conn: Any) -> None:
        (episode,) = [one for one in bench.episodes() if one.closed_window is None]
        known = notification_log.of_episodes(conn, [episode.id])
        earlier = [replace(one, at=one.at - interval) for one in known]
        notification_log.save(conn, earlier)

    bench.services.store.transact(work)
    if isinstance(bench.services.clock, FixedClock):
        bench.services.clock.at += timedelta(seconds=1)


def open_episode_id(bench: Bench) -> str:
    (episode,) = [one for one in bench.episodes() if one.closed_window is None]
    return episode.id


def test_an_alert_is_told_once_where_no_repeats_are_asked_for(workbench: Workbench) -> None:
    with opened(workbench, LOG) as bench:
        bench.evaluate(1, 2)
        pass_time(bench, timedelta(days=30))
        repeat_due(bench.services)
        bench.evaluate(3, 4)
        assert notifications(bench) == [("firing", "pending", None), ("resolved", "pending", None)]


def test_an_alert_that_goes_on_is_repeated_after_its_interval_and_not_before(workbench: Workbench) -> None:
    with opened(workbench, HOURLY) as bench:
        bench.evaluate(1, 2)
        pass_time(bench, timedelta(minutes=59))
        repeat_due(bench.services)
        assert sent(bench) == ["firing"]
        pass_time(bench, timedelta(minutes=2))
        repeat_due(bench.services)
        repeat_due(bench.services)
        assert sent(bench) == ["firing", "firing"]
        pass_time(bench, timedelta(minutes=61))
        repeat_due(bench.services)
        assert sent(bench) == ["firing"] * 3
        assert len({row.id for row in bench.rows("SELECT id FROM outbox")}) == 3
        bench.evaluate(3, 4)
        repeat_due(bench.services)
        assert sent(bench) == ["firing"] * 3 + ["resolved"]


def test_a_repeat_has_the_start_and_the_identity_of_the_first_notification(workbench: Workbench) -> None:
    with opened(workbench, HOURLY) as bench:
        bench.evaluate(1, 2)
        pass_time(bench, timedelta(hours=1))
        repeat_due(bench.services)
        first, again = (_plain(row.body)["alerts"][0] for row in bench.rows("SELECT body FROM outbox ORDER BY seq"))
        assert again["startsAt"] == first["startsAt"]
        assert again["fingerprint"] == first["fingerprint"]
        assert again["labels"] == first["labels"]


def test_an_acknowledged_alert_is_not_repeated_but_told_to_be_over(workbench: Workbench) -> None:
    with opened(workbench, HOURLY) as bench:
        bench.evaluate(1, 2)
        episode = open_episode_id(bench)
        made = acknowledge_alert(bench.services.store, episode, author="ada", comment="looking at it")
        pass_time(bench, timedelta(hours=5))
        repeat_due(bench.services)
        assert sent(bench) == ["firing"]
        with bench.services.store.read() as conn:
            assert acknowledgements.of_episodes(conn, [episode]) == {episode: made}
        bench.evaluate(3, 4)
        assert sent(bench) == ["firing", "resolved"]


def test_an_acknowledgement_is_of_one_episode_only(workbench: Workbench) -> None:
    with opened(workbench, HOURLY) as bench:
        bench.evaluate(1, 2)
        acknowledge_alert(bench.services.store, open_episode_id(bench), author="ada", comment="looking at it")
        bench.evaluate(3, 4, 5)
        pass_time(bench, timedelta(hours=1))
        repeat_due(bench.services)
        assert sent(bench) == ["firing", "resolved", "firing", "firing"]


def test_what_begins_and_ends_in_a_silence_is_kept_and_told_to_nobody(workbench: Workbench) -> None:
    with opened(workbench, LOG) as bench:
        silence = silenced(bench)
        bench.evaluate(1, 2)
        repeat_due(bench.services)
        bench.evaluate(3, 4)
        repeat_due(bench.services)
        assert notifications(bench) == [
            ("firing", "suppressed", f"silence {silence.id}"),
            ("resolved", "suppressed", "its beginning was not told"),
        ]
        assert [one.close_reason for one in bench.episodes()] == ["recovered"]


def test_what_still_fires_when_its_silence_ends_is_told_then(workbench: Workbench) -> None:
    with opened(workbench, LOG) as bench:
        silence = silenced(bench)
        bench.evaluate(1, 2)
        repeat_due(bench.services)
        expire_silence(bench.services.store, silence.id, actor="ada")
        repeat_due(bench.services)
        repeat_due(bench.services)
        bench.evaluate(3, 4)
        assert notifications(bench) == [
            ("firing", "suppressed", f"silence {silence.id}"),
            ("firing", "pending", None),
            ("resolved", "pending", None),
        ]


def test_a_silence_holds_repeats_back_and_lets_the_end_of_what_was_told_through(workbench: Workbench) -> None:
    with opened(workbench, HOURLY) as bench:
        bench.evaluate(1, 2)
        silenced(bench)
        pass_time(bench, timedelta(hours=3))
        repeat_due(bench.services)
        assert sent(bench) == ["firing"]
        bench.evaluate(3, 4)
        assert sent(bench) == ["firing", "resolved"]


@pytest.mark.parametrize(
    ("matchers", "is_silenced"),
    [
        (("feature=age",), True),
        (("feature=~a.*", "severity=warning"), True),
        (("feature=age", "severity=critical"), False),
        (("alertname=DataDrift",), True),
        (("team=risk",), True),
        (("team=other",), False),
        (("feature!=age", "monitor=people"), False),
    ],
    ids=str,
)
def test_silences_mean_alerts_by_their_labels(
    workbench: Workbench, matchers: tuple[str, ...], is_silenced: bool
) -> None:
    with opened(workbench, LOG, labels={"team": "risk"}) as bench:
        silenced(bench, *matchers)
        bench.evaluate(1, 2)
        assert (sent(bench) == []) is is_silenced


def test_a_silenced_alert_does_not_hide_another_one_of_the_same_window(workbench: Workbench) -> None:
    rules = [{"metric": "psi", "above": 0.25}, {"metric": "psi", "above": 0.5, "severity": "critical"}]
    with opened(workbench, LOG, rules=rules) as bench:
        silence = silenced(bench, "severity=warning")
        bench.evaluate(1, 2)
        rows = bench.rows("SELECT body, state, reason, part FROM outbox ORDER BY seq")
        told = [(_plain(b)["alerts"][0]["labels"]["severity"], state, reason, part) for b, state, reason, part in rows]
        assert told == [("critical", "pending", None, 0), ("warning", "suppressed", f"silence {silence.id}", 1)]


def test_a_receiver_that_comes_while_an_alert_fires_is_told(workbench: Workbench) -> None:
    with opened(workbench, LOG) as bench:
        bench.evaluate(1, 2)
    with opened(workbench, LOG, {"name": "second", "log": {}}, receivers=["log", "second"]) as bench:
        repeat_due(bench.services)
        repeat_due(bench.services)
        assert [row.receiver for row in bench.rows("SELECT receiver FROM outbox ORDER BY seq")] == ["log", "second"]
        bench.evaluate(3, 4)
        assert sent(bench) == ["firing", "firing", "resolved", "resolved"]


def test_a_monitor_that_is_removed_ends_its_episodes_and_those_who_knew_are_told_once(workbench: Workbench) -> None:
    with opened(workbench, LOG, labels={"team": "risk"}) as bench:
        bench.evaluate(1, 2)
    with opened(workbench, LOG, name="others") as bench:
        register_monitors(bench.services, whole=True)
        register_monitors(bench.services, whole=True)
        (episode,) = bench.episodes()
        assert episode.close_reason == "removed"
        assert episode.closed_window is not None
        first, last = (_plain(row.body) for row in bench.rows("SELECT body FROM outbox ORDER BY seq"))
        assert last["status"] == "resolved"
        assert last["alerts"][0]["labels"] == first["alerts"][0]["labels"]
        assert last["alerts"][0]["fingerprint"] == first["alerts"][0]["fingerprint"]
        assert last["alerts"][0]["startsAt"] == first["alerts"][0]["startsAt"]
        assert "removed from the configuration" in last["alerts"][0]["annotations"]["summary"]
        assert bench.rows("SELECT * FROM alert") == []


def test_a_monitor_that_comes_back_starts_anew(workbench: Workbench) -> None:
    with opened(workbench, LOG) as bench:
        bench.evaluate(1, 2)
    with opened(workbench, LOG, name="others") as bench:
        register_monitors(bench.services, whole=True)
    with opened(workbench, LOG) as bench:
        register_monitors(bench.services, whole=True)
        bench.evaluate(3)
        assert [one.opened_window for one in bench.episodes()] == [hour(2), hour(3)]
        assert sent(bench) == ["firing", "resolved", "firing"]


def test_late_rows_that_change_a_verdict_are_told_as_an_amendment(workbench: Workbench) -> None:
    rule = {"metric": "psi", "above": 0.25, "keep_firing_for": 2}
    with opened(workbench, LOG, revise=1, rules=[rule]) as bench:
        bench.evaluate(1, 2)
        for number in (1, 2):
            bench.people.arrive(number, even(20_000))
        bench.evaluate(3)
        rows = bench.rows("SELECT body, revision FROM outbox ORDER BY seq")
        resolved = next(_plain(body)["alerts"][0] for body, revision in rows if revision == 1)
        assert resolved["status"] == "resolved"
        assert resolved["annotations"]["description"].startswith("Amended: late rows changed the window")
