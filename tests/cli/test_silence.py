"""`silence`: added, listed and ended from a shell, beside a daemon; slips are pointed out, nonsense is refused."""

import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from drift_monitor.clock import SystemClock
from drift_monitor.store.connection import Store
from tests.cli.shop import Shop, document_of

WHY = "--comment=prices are imported anew"


def _silences(shop: Shop, *arguments: str) -> list[dict[str, Any]]:
    return list(document_of(shop.run("silence list", "--format=json", *arguments))["silences"])


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_a_silence_is_added_listed_and_ended(firing: Shop) -> None:
    added = firing.run("silence add", "monitor=orders", 'feature=~"amount|fee"', "--duration=2h", WHY, "--author=eva")

    assert added.exit_code == 0, added.stderr
    id = added.stdout.strip()
    (silence,) = _silences(firing)
    assert silence["id"] == id
    assert silence["matchers"] == [
        {"name": "monitor", "value": "orders", "isRegex": False, "isEqual": True},
        {"name": "feature", "value": "amount|fee", "isRegex": True, "isEqual": True},
    ]
    assert (silence["author"], silence["comment"]) == ("eva", "prices are imported anew")
    assert silence["state"] == "active"
    assert _moment(silence["ends_at"]) - _moment(silence["starts_at"]) == timedelta(hours=2)

    ended = firing.run("silence expire", id)

    assert ended.exit_code == 0
    assert f'ended: {id}, monitor="orders" feature=~"amount|fee"' in ended.stderr
    assert _silences(firing) == []
    assert [one["state"] for one in _silences(firing, "--expired")] == ["expired"]


def test_the_json_of_an_added_silence_is_the_one_that_is_listed(firing: Shop) -> None:
    added = document_of(
        firing.run("silence add", "severity!=critical", "monitor=orders", "--duration=1h", WHY, "--format=json")
    )

    assert [added] == _silences(firing)


def test_it_lasts_from_a_time_to_a_time(firing: Shop) -> None:
    start = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    times = (f"--starts={start.isoformat()}", f"--ends={(start + timedelta(hours=3)).isoformat()}")

    assert firing.run("silence add", "monitor=orders", *times, WHY).exit_code == 0

    (silence,) = _silences(firing)
    assert (_moment(silence["starts_at"]), _moment(silence["ends_at"])) == (start, start + timedelta(hours=3))
    assert silence["state"] == "pending"


def test_who_does_not_say_who_they_are_is_called_as_at_their_login(
    firing: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "jo")

    firing.run("silence add", "monitor=orders", "--duration=1h", WHY)

    assert _silences(firing)[0]["author"] == "jo"


def test_a_login_without_a_name_is_asked_for_one(firing: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 4_000_000)  # as in a container, where it has no entry

    result = firing.run("silence add", "monitor=orders", "--duration=1h", WHY)

    assert result.exit_code == 2
    assert "--author" in result.stderr
    assert _silences(firing) == []


def test_what_fires_and_is_covered_is_counted(firing: Shop) -> None:
    both = firing.run("silence add", "monitor=orders", "--duration=1h", WHY)
    one = firing.run("silence add", "monitor=orders", "feature=amount", "--duration=1h", WHY)
    none = firing.run("silence add", "monitor=orders", "severity=critical", "--duration=1h", WHY)

    assert "covers 2 alerts that fire now" in both.stderr
    assert "covers 1 alert that fires now" in one.stderr
    assert "covers" not in none.stderr


@pytest.mark.parametrize(
    ("matchers", "warning"),
    [
        (("mnitor=orders",), "no alert has a label 'mnitor'; did you mean 'monitor'?"),
        (
            ("zzz=1",),
            "no alert has a label 'zzz'; labels: alertname, feature, metric, monitor, rule, segment, severity",
        ),
        (("monitor=order",), "no monitor of this configuration has an alert that this silence covers"),
        (("monitor=orders", "feature=fee"), "no monitor of this configuration"),
    ],
)
def test_a_silence_that_means_nothing_is_pointed_out_and_made(
    firing: Shop, matchers: tuple[str, ...], warning: str
) -> None:
    result = firing.run("silence add", *matchers, "--duration=1h", WHY)

    assert result.exit_code == 0
    assert f"warning: {warning}" in result.stderr
    assert _silences(firing)[0]["id"] == result.stdout.strip()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--duration=1h", WHY), "Missing argument 'MATCHER...'"),
        (("monitor", "--duration=1h", WHY), "'monitor' is no matcher"),
        (("feature=~(", "--duration=1h", WHY), "no regular expression"),
        (('feature="a', "--duration=1h", WHY), "quotes don't close"),
        (("monitor!=orders", "--duration=1h", WHY), "at least one matcher"),
        (("monitor=orders", WHY), "one of --duration and --ends"),
        (("monitor=orders", "--duration=1h", "--ends=2100-01-01", WHY), "one of --duration and --ends"),
        (("monitor=orders", "--duration=2", WHY), "'2' is not a duration"),
        (("monitor=orders", "--ends=-1h", WHY), "not after its start"),
        (("monitor=orders", "--duration=400d", WHY), "at most 366"),
        (("monitor=orders", "--duration=1h"), "Missing option '--comment'"),
        (("monitor=orders", "--duration=1h", "--comment= "), "comment: is empty"),
    ],
)
def test_what_is_no_silence_is_refused_in_words_and_not_made(
    firing: Shop, arguments: tuple[str, ...], said: str
) -> None:
    result = firing.run("silence add", *arguments)

    assert result.exit_code == 2
    assert said in result.stderr
    assert _silences(firing) == []


def test_the_first_characters_end_a_silence_and_others_are_told(firing: Shop) -> None:
    id = firing.run("silence add", "monitor=orders", "--duration=1h", WHY).stdout.strip()

    result = firing.run("silence expire", "nothing", id[:8])

    assert result.exit_code == 2
    assert f"ended: {id}" in result.stderr
    assert "no silence has the id 'nothing'" in result.stderr
    assert _silences(firing) == []


def test_a_silence_that_has_ended_is_not_ended_again(firing: Shop) -> None:
    id = firing.run("silence add", "monitor=orders", "--duration=1h", WHY).stdout.strip()
    firing.run("silence expire", id)

    again = firing.run("silence expire", id[:10])

    assert again.exit_code == 2
    assert "has ended at" in again.stderr


def test_the_table_says_what_is_silenced_by_whom_and_why(firing: Shop) -> None:
    id = firing.run(
        "silence add", "monitor=orders", "feature!=fee", "--duration=1h", WHY, "--author=eva"
    ).stdout.strip()

    lines = firing.run("silence list").stdout.splitlines()

    assert lines[0].split("  ")[0] == "id"
    assert lines[1].split()[:3] == [id[:8], "active", 'monitor="orders"']
    assert lines[2].strip() == 'feature!="fee"'
    assert lines[3].strip() == "eva: prices are imported anew"


def test_a_comment_cannot_move_the_cursor_of_whoever_lists_it(firing: Shop) -> None:
    firing.run("silence add", "monitor=orders", "--duration=1h", "--comment=\x1b[2Jgone")

    assert "\x1b" not in firing.run("silence list").stdout


def test_nothing_to_list_is_said_and_stdout_stays_empty(firing: Shop) -> None:
    result = firing.run("silence list")

    assert (result.exit_code, result.stdout) == (0, "")
    assert "no silence holds" in result.stderr


def test_a_daemon_that_owns_the_store_is_no_hindrance(firing: Shop) -> None:
    with closing(Store(f"sqlite:///{firing.folder / 'drift.db'}", SystemClock())) as store, store.lock():
        result = firing.run("silence add", "monitor=orders", "--duration=1h", WHY)

    assert result.exit_code == 0
    assert len(_silences(firing)) == 1


def test_what_is_silenced_is_not_told(shop: Shop) -> None:
    shop.run("migrate")
    id = shop.run("silence add", "feature=amount", "--duration=1h", WHY).stdout.strip()

    shop.evaluate(f"--at={shop.end.isoformat()}")

    told = {
        json.loads(body)["alerts"][0]["labels"]["feature"]: reason
        for body, reason in shop.query("SELECT body, reason FROM outbox")
    }
    assert told == {"amount": f"silence {id}", "country": None}


def test_a_store_that_was_never_set_up_is_told_and_not_made(shop: Shop) -> None:
    for command in (
        ("silence add", "monitor=orders", "--duration=1h", WHY),
        ("silence list",),
        ("silence expire", "x"),
    ):
        result = shop.run(*command)

        assert result.exit_code == 1
        assert "has not been set up" in result.stderr
    assert not (shop.folder / "drift.db").exists()
