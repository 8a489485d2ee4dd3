"""`alert`: what fires, with what people said of it, in a table and as the JSON of the HTTP interface."""

from contextlib import closing
from typing import Any

from drift_monitor.clock import SystemClock
from drift_monitor.store.alerts import AlertKey, Episode, open_episode
from drift_monitor.store.connection import Store
from tests.cli.shop import HOUR, Shop, document_of

DONE = "--comment=asked the importer's team"


def _alerts(shop: Shop, *arguments: str) -> dict[str, dict[str, Any]]:
    """By feature."""
    found = document_of(shop.run("alert list", "--format=json", *arguments))["alerts"]
    return {one["feature"]: one for one in found}


def _table(shop: Shop, *arguments: str) -> str:
    return shop.run("alert list", *arguments).stdout


def test_what_fires_is_listed_with_its_episode(firing: Shop) -> None:
    found = _alerts(firing)

    episodes = dict(firing.query("SELECT feature, id FROM drift_episodes WHERE closed_window IS NULL"))
    assert {feature: one["id"] for feature, one in found.items()} == episodes
    amount = found["amount"]
    assert (amount["monitor"], amount["metric"], amount["severity"], amount["state"]) == (
        *("orders", "psi", "warning", "firing"),
    )
    assert amount["value"] > amount["threshold"] == 0.1
    assert amount["since"] == f"{firing.end:%Y-%m-%dT%H:%M:%SZ}"
    assert amount["acknowledged"] is None
    assert amount["silenced_by"] == []


def test_an_acknowledgement_shows_who_looks_after_an_alert(firing: Shop) -> None:
    id = _alerts(firing)["amount"]["id"]

    result = firing.run("alert ack", id, DONE, "--author=eva")

    assert result.exit_code == 0
    assert f"acknowledged: {id}, psi of amount of orders" in result.stderr
    said = _alerts(firing)["amount"]["acknowledged"]
    assert (said["author"], said["comment"]) == ("eva", "asked the importer's team")
    assert _alerts(firing)["country"]["acknowledged"] is None
    assert "eva looks after it: asked the importer's team" in _table(firing)


def test_an_acknowledgement_can_be_taken_back_once(firing: Shop) -> None:
    id = _alerts(firing)["amount"]["id"]
    firing.run("alert ack", id, DONE)

    first, again = firing.run("alert unack", id[:8]), firing.run("alert unack", id)

    assert (first.exit_code, again.exit_code) == (0, 2)
    assert _alerts(firing)["amount"]["acknowledged"] is None
    assert "not acknowledged by anybody" in again.stderr


def test_an_alert_about_the_monitor_itself_is_listed_without_numbers(firing: Shop) -> None:
    failing = Episode(
        monitor="orders",
        key=AlertKey("", "", "MonitorFailing"),
        metric="failing",
        severity="warning",
        opened_window=firing.end,
        opened_revision=0,
    )
    with closing(Store(f"sqlite:///{firing.folder / 'drift.db'}", SystemClock())) as store, store.begin() as conn:
        assert open_episode(conn, failing)

    result = firing.run("alert ack", failing.id, DONE)

    assert f"acknowledged: {failing.id}, failing of orders" in result.stderr
    assert _alerts(firing)[""]["labels"]["alertname"] == "MonitorFailing"
    lines = _table(firing).splitlines()
    at = lines.index(next(line for line in lines if failing.id[:8] in line))
    assert lines[at].split()[:4] == [failing.id[:8], "orders", "–", "–"]
    assert lines[at + 1].strip() == "failing, warning"


def test_a_silence_shows_on_the_alerts_it_covers(firing: Shop) -> None:
    id = firing.run("silence add", "feature=amount", "--duration=2h", "--comment=import", "--author=jo").stdout.strip()

    assert {feature: one["silenced_by"] for feature, one in _alerts(firing).items()} == {"amount": [id], "country": []}
    assert [line.split(" until ")[0].strip() for line in _table(firing).splitlines() if "silenced" in line] == [
        "silenced"
    ]
    assert "by jo: import" in _table(firing)


def test_the_table_has_what_a_person_asks_for(firing: Shop) -> None:
    found = _alerts(firing)

    lines = _table(firing).splitlines()

    at = lines.index(next(line for line in lines if "amount of orders" in line))
    assert lines[at].split()[:4] == [found["amount"]["id"][:8], "amount", "of", "orders"]
    assert lines[at].split()[-3:] == ["0.1", *f"{firing.end:%Y-%m-%d %H:%M}".split()]
    assert lines[at + 1].strip() == "psi, warning"


def test_a_pending_alert_is_listed_without_an_id_and_cannot_be_acknowledged(shop: Shop) -> None:
    shop.change_config("above: 0.1, severity: warning", "above: 0.1, severity: warning, for: 2")
    shop.evaluate(f"--at={shop.end.isoformat()}")

    found = _alerts(shop)

    assert {(one["state"], one["id"]) for one in found.values()} == {("pending", None)}
    assert _table(shop).count("psi, warning, pending") == 2
    refused = shop.run("alert ack", "–", DONE)
    assert refused.exit_code == 2


def test_several_alerts_are_acknowledged_by_the_beginnings_of_their_ids(firing: Shop) -> None:
    result = firing.run("alert ack", *(one["id"][:8] for one in _alerts(firing).values()), DONE)

    assert result.exit_code == 0
    assert all(one["acknowledged"] for one in _alerts(firing).values())


def test_an_id_that_no_alert_has_is_told_and_the_others_are_done(firing: Shop) -> None:
    id = _alerts(firing)["country"]["id"]

    result = firing.run("alert ack", "nothing", id, DONE)

    assert result.exit_code == 2
    assert "'nothing'" in result.stderr
    assert _alerts(firing)["country"]["acknowledged"] is not None


def test_an_alert_that_is_over_is_neither_listed_nor_acknowledged(shop: Shop) -> None:
    shop.evaluate(f"--at={(shop.end - HOUR).isoformat()}")
    id = _alerts(shop)["amount"]["id"]
    shop.change_config("      - {name: amount, bins: {edges: [0, 10, 20, 40, 80]}}\n", "")
    shop.evaluate(f"--at={shop.end.isoformat()}")

    refused = shop.run("alert ack", id, DONE)

    assert set(_alerts(shop)) == {"country"}
    assert refused.exit_code == 2
    assert f"{id} was over" in refused.stderr


def test_one_monitor_can_be_asked_for_and_an_unknown_one_is_told(firing: Shop) -> None:
    assert set(_alerts(firing, "--monitor=orders")) == {"amount", "country"}

    unknown = firing.run("alert list", "--monitor=order")

    assert unknown.exit_code == 2
    assert "no monitor is called 'order'" in unknown.stderr


def test_quiet_is_said_and_stdout_stays_empty(quiet_shop: Shop) -> None:
    quiet_shop.evaluate(f"--at={quiet_shop.end.isoformat()}")

    result = quiet_shop.run("alert list")

    assert (result.exit_code, result.stdout) == (0, "")
    assert "nothing fires or is pending" in result.stderr
    assert _alerts(quiet_shop) == {}


def test_a_store_that_was_never_set_up_is_told_and_not_made(shop: Shop) -> None:
    for command in (("alert list",), ("alert ack", "x", DONE)):
        result = shop.run(*command)

        assert result.exit_code == 1
        assert "has not been set up" in result.stderr
    assert not (shop.folder / "drift.db").exists()
