"""What operators may say of alerts, what is refused and why, and how lists show it; on both stores."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from drift_monitor.alerting.silences import (
    LONGEST,
    MAX_MATCHERS,
    MAX_WORDS,
    acknowledge_alert,
    add_silence,
    covering,
    expire_silence,
    list_silences,
    withdraw_acknowledgement,
)
from drift_monitor.core.matching import parse_matcher
from drift_monitor.errors import AlreadyOver, InputError, UnknownId
from drift_monitor.queries.alerts import (
    TRIES_SHOWN,
    read_alerts,
    read_episode,
    read_episodes,
    read_notifications,
    read_silence,
    read_silences,
)
from drift_monitor.store import outbox
from drift_monitor.store.alerts import EpisodeFilter
from drift_monitor.store.outbox import Delivery, DeliveryOutcome, NotificationFilter
from drift_monitor.store.silences import Silence, SilenceState
from tests.evaluation.workbench import HOUR, Bench, Workbench, even, high, hour
from tests.postgresql import PostgresqlServer

RISK = parse_matcher("team=risk")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest) -> PostgresqlServer | None:
    """Where stores are, if they are no files."""
    return request.getfixturevalue("postgresql_server") if request.param == "postgresql" else None


@pytest.fixture(scope="module")
def fired(server: PostgresqlServer | None, tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    """Hour 2 drifts and fires; hour 3 is quiet, and is left to the tests."""
    folder = tmp_path_factory.mktemp("fired")
    url = server.url(server.create_database()) if server else f"sqlite:///{folder}/drift.db"
    workbench = Workbench(folder, url)
    workbench.people.train(even(400))
    for number, ages in enumerate([even(200), high(200), even(200)]):
        workbench.people.arrive(number, ages)
    with workbench.open(labels={"team": "risk"}) as one:
        one.evaluate(1, 2)
    return workbench


@pytest.fixture
def bench(fired: Workbench, server: PostgresqlServer | None, tmp_path: Path) -> Iterator[Bench]:
    with fired.copied(tmp_path, server) as workbench, workbench.open(labels={"team": "risk"}) as one:
        yield one


def present(bench: Bench) -> datetime:
    with bench.services.store.read() as conn:
        return bench.services.store.now(conn)


def silence(bench: Bench, **changes: Any) -> Silence:
    asked = {"matchers": [RISK], "duration": HOUR, "author": "ada", "comment": "load test", **changes}
    return add_silence(bench.services.store, asked.pop("matchers"), **asked)


def episode_id(bench: Bench) -> str:
    (episode,) = bench.episodes()
    return episode.id


def test_a_silence_begins_now_unless_told_otherwise(bench: Bench) -> None:
    before = present(bench)
    made = silence(bench)

    assert before <= made.starts_at <= present(bench)
    assert made.ends_at == made.starts_at + HOUR
    assert [state for _, state in list_silences(bench.services.store, with_expired=False)] == [SilenceState.ACTIVE]


def test_a_silence_may_begin_later_and_has_begun_before(bench: Bench) -> None:
    start = present(bench)
    later = silence(bench, starts_at=start + HOUR)
    before = silence(bench, starts_at=start - HOUR, duration=None, ends_at=start + HOUR)

    assert list_silences(bench.services.store, with_expired=False) == [
        (before, SilenceState.ACTIVE),
        (later, SilenceState.PENDING),
    ]


def test_words_are_kept_as_written_but_for_blanks_and_what_no_store_can_hold(bench: Bench) -> None:
    made = silence(bench, author="  Ada\tL. ", comment="first line\n second\0 \ud800")

    assert (made.author, made.comment) == ("Ada L.", "first line\n second\ufffd \ufffd")
    assert read_silence(bench.services.store, made.id)[0] == made


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"matchers": []}, "at least one matcher"),
        ({"matchers": [parse_matcher("team!=risk")]}, "that an empty label does not fulfil"),
        ({"matchers": [RISK] * (MAX_MATCHERS + 1)}, "at most 50"),
        ({"duration": None}, "needs an end"),
        ({"duration": timedelta(0)}, "not after its start"),
        ({"duration": LONGEST + HOUR}, "at most 366 are allowed"),
        ({"duration": timedelta.max}, "the calendar ends before"),
        ({"duration": None, "ends_at": hour(0)}, "not after its start"),
        ({"duration": None, "starts_at": hour(0), "ends_at": hour(1)}, "which is past"),
        ({"author": " \n "}, "author: is empty"),
        ({"comment": ""}, "comment: is empty"),
        ({"comment": "x" * (MAX_WORDS + 1)}, "2001 characters, at most 2000"),
    ],
)
def test_a_silence_that_says_too_little_or_too_much_is_refused(
    bench: Bench, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError) as refused:
        silence(bench, **changes)

    assert words in str(refused.value)
    assert list_silences(bench.services.store, with_expired=True) == []


def test_a_silence_is_ended_once(bench: Bench) -> None:
    made = silence(bench)
    ended = expire_silence(bench.services.store, made.id, actor="ada")

    assert list_silences(bench.services.store, with_expired=False) == []
    assert list_silences(bench.services.store, with_expired=True) == [(ended, SilenceState.EXPIRED)]
    with pytest.raises(AlreadyOver, match=f"{made.id} has ended"):
        expire_silence(bench.services.store, made.id, actor="ada")
    with pytest.raises(UnknownId, match="'nothing'"):
        expire_silence(bench.services.store, "nothing", actor="ada")


def test_the_silence_that_covers_an_alert_is_found(bench: Bench) -> None:
    other, mine = silence(bench, matchers=[parse_matcher("team=fraud")]), silence(bench)

    assert covering([other, mine], {"team": "risk"}) == mine
    assert covering([other], {"team": "risk"}) is None


def test_an_acknowledgement_is_given_taken_over_and_withdrawn(bench: Bench) -> None:
    store, id = bench.services.store, episode_id(bench)

    acknowledge_alert(store, id, author="ada", comment="mine")
    made = acknowledge_alert(store, id, author=" bob ", comment="my shift")
    assert read_episode(store, id)["acknowledged"] == {
        "at": made.at.isoformat().replace("+00:00", "Z"),
        "author": "bob",
        "comment": "my shift",
    }
    withdraw_acknowledgement(store, id, actor="ada")
    assert read_episode(store, id)["acknowledged"] is None
    with pytest.raises(AlreadyOver, match="not acknowledged"):
        withdraw_acknowledgement(store, id, actor="ada")


def test_only_an_alert_that_fires_can_be_acknowledged(bench: Bench) -> None:
    store, id = bench.services.store, episode_id(bench)
    with pytest.raises(UnknownId, match="'nothing'"):
        acknowledge_alert(store, "nothing", author="ada", comment="mine")
    with pytest.raises(InputError, match="comment: is empty"):
        acknowledge_alert(store, id, author="ada", comment=" ")
    acknowledge_alert(store, id, author="ada", comment="mine")
    bench.evaluate(3)

    with pytest.raises(AlreadyOver, match="was over at 2024-03-04T03:00:00Z"):
        acknowledge_alert(store, id, author="ada", comment="mine")
    with pytest.raises(AlreadyOver):
        withdraw_acknowledgement(store, id, actor="ada")
    assert read_episode(store, id)["acknowledged"]["author"] == "ada", "what was said stays readable"


def test_what_fires_is_shown_with_its_silences_and_who_looks_after_it(bench: Bench) -> None:
    made, _ = silence(bench), silence(bench, matchers=[parse_matcher("feature=wage")])
    acknowledge_alert(bench.services.store, episode_id(bench), author="ada", comment="mine")

    (alert,) = read_alerts(bench.services.config, bench.services.store)

    assert (alert["id"], alert["state"]) == (episode_id(bench), "firing")
    assert alert["silenced_by"] == [made.id]
    assert alert["acknowledged"]["comment"] == "mine"
    assert alert["labels"]["team"] == "risk"
    bench.evaluate(3)
    assert read_alerts(bench.services.config, bench.services.store) == []


def test_lists_are_read_a_page_at_a_time(bench: Bench) -> None:
    store = bench.services.store
    bench.evaluate(3)
    made = {silence(bench).id, silence(bench).id}

    newest = read_notifications(store, NotificationFilter(), limit=1)
    oldest = read_notifications(store, NotificationFilter(), limit=1, after=newest.next)
    assert [one["status"] for page in (newest, oldest) for one in page.documents] == ["resolved", "firing"]
    assert oldest.next is None

    first = read_silences(store, None, limit=1)
    second = read_silences(store, None, limit=1, after=first.next)
    assert {one["id"] for page in (first, second) for one in page.documents} == made
    assert second.next is None
    assert read_silences(store, SilenceState.EXPIRED, limit=1).documents == []

    (episode,) = read_episodes(store, EpisodeFilter(is_open=False), limit=1).documents
    assert (episode["closed_window"], episode["close_reason"]) == ("2024-03-04T03:00:00Z", "recovered")


def test_of_a_notification_that_was_often_tried_the_last_tries_are_shown(bench: Bench) -> None:
    store = bench.services.store
    for _ in range(TRIES_SHOWN + 2):
        claimed = store.transact(lambda conn: outbox.claim(conn, "test", HOUR))
        assert claimed is not None
        again = Delivery(outcome=DeliveryOutcome.RETRY, error=f"busy {claimed.attempt}")
        store.transact(lambda conn, one=claimed, how=again: outbox.settle(conn, one, how))

    (found,) = read_notifications(store, NotificationFilter(), limit=1).documents

    assert found["attempts"] == 12
    assert [one["attempt"] for one in found["tries"]] == [3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
    assert (found["tries"][-1]["error"], found["last_error"]) == ("busy 12", "busy 12")
