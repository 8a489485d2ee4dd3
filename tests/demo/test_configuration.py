"""The demo's configurations name the files, tables and columns that the demo writes."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from drift_monitor.demo import flights, payments
from drift_monitor.demo.data import DemoData
from drift_monitor.demo.database import History, Table
from drift_monitor.demo.flights import FlightsData
from drift_monitor.demo.payments import PaymentsData

UNTIL = datetime(2026, 11, 21, 4, 37, tzinfo=UTC)


def feature_names(document: dict[str, Any]) -> list[str]:
    return [item if isinstance(item, str) else item["name"] for item in document["monitors"][0]["features"]]


def payments_document(directory: Path, **options: Any) -> dict[str, Any]:
    data = PaymentsData()
    history = data.begin(directory, seed=1, until=UNTIL)
    document: dict[str, Any] = yaml.safe_load(data.config_yaml(directory, history, **options))
    return document


def flights_document(directory: Path) -> dict[str, Any]:
    history = History(seed=0, start=UNTIL, planned_until=UNTIL, written_until=UNTIL)
    document: dict[str, Any] = yaml.safe_load(FlightsData().config_yaml(directory, history))
    return document


def test_payments_are_watched_in_every_feature_against_the_quiet_start(tmp_path: Path) -> None:
    document = payments_document(tmp_path)
    (monitor,) = document["monitors"]
    assert feature_names(document) == list(payments.FEATURES)
    assert monitor["name"] == PaymentsData.table.name
    assert monitor["reference"] == {"from": "2026-09-22T04:00:00Z", "to": "2026-10-20T04:00:00Z"}
    assert document["sources"][0]["url"] == f"sqlite:///{tmp_path}/payments.db"
    assert (tmp_path / "payments.db").exists()


def test_flights_are_watched_in_every_feature(tmp_path: Path) -> None:
    document = flights_document(tmp_path)
    assert feature_names(document) == list(flights.FEATURES)
    assert document["monitors"][0]["name"] == FlightsData.table.name
    assert document["store"]["url"] == f"sqlite:///{tmp_path}/drift.db"


def test_alerts_go_to_the_log_and_to_a_webhook_where_one_is_given(tmp_path: Path) -> None:
    assert [receiver["name"] for receiver in payments_document(tmp_path)["receivers"]] == ["log"]
    log, webhook = payments_document(tmp_path, webhook_url="http://127.0.0.1:9/?a=b")["receivers"]
    assert log == {"name": "log", "log": {}}
    assert webhook == {"name": "webhook", "webhook": {"url": "http://127.0.0.1:9/?a=b"}}


def test_a_directory_with_special_characters_stays_what_it_is(tmp_path: Path) -> None:
    place = tmp_path / 'my "demo": $1 # ü'
    document = flights_document(place)
    assert document["store"]["url"] == f"sqlite:///{place}/drift.db".replace("$", "$$")


def test_the_first_window_of_payments_begins_where_the_reference_ends(tmp_path: Path) -> None:
    data = PaymentsData()
    history = data.begin(tmp_path, seed=1, until=UNTIL)
    assert data.first_window(history) == datetime(2026, 10, 21, 4, tzinfo=UTC)
    assert len(data.incidents(history)) == 7


@pytest.mark.parametrize("data", [PaymentsData(), FlightsData()])
def test_a_window_of_the_past_is_written_with_its_piece(data: DemoData) -> None:
    """Pieces end with panes: a window is measured once all of its rows are there."""
    assert data.piece % data.pane == timedelta(0)


@pytest.mark.parametrize(
    ("table", "features"), [(payments.TABLE, payments.FEATURES), (flights.TABLE, flights.FEATURES)]
)
def test_every_column_but_key_and_time_is_a_feature(table: Table, features: tuple[str, ...]) -> None:
    lines = [line.split() for line in table.create[0].splitlines() if line.startswith(" " * 12)]
    names = [words[0] for words in lines]
    assert names[2:] == list(features)
    assert table.insert.count("?") == len(names) - 1
