"""The demo's configurations name the files, tables and columns that the demo writes."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from drift_monitor.demo import flights, payment_rows
from drift_monitor.demo.catalogue import CATALOGUE
from drift_monitor.demo.configuration import flights_yaml
from drift_monitor.demo.database import Table

UNTIL = datetime(2026, 11, 21, 4, 37, tzinfo=UTC)


def feature_names(document: dict[str, Any]) -> list[str]:
    return [item if isinstance(item, str) else item["name"] for item in document["monitors"][0]["features"]]


def payments_document(directory: Path, **options: Any) -> dict[str, Any]:
    data = CATALOGUE["payments"]
    history = data.prepare(directory, seed=1, until=UNTIL)
    document: dict[str, Any] = yaml.safe_load(data.config_yaml(directory, history, **options))
    return document


@pytest.mark.slow
def test_payments_are_watched_in_every_feature_against_the_quiet_start(tmp_path: Path) -> None:
    document = payments_document(tmp_path)
    (monitor,) = document["monitors"]
    assert feature_names(document) == list(payment_rows.FEATURES)
    assert monitor["name"] == CATALOGUE["payments"].monitor
    assert monitor["reference"] == {"from": "2026-09-22T04:00:00Z", "to": "2026-10-20T04:00:00Z"}
    assert document["sources"][0]["url"] == f"sqlite:///{tmp_path}/payments.db"
    assert (tmp_path / "payments.db").exists()


def test_flights_are_watched_in_every_feature(tmp_path: Path) -> None:
    document = yaml.safe_load(flights_yaml(tmp_path))
    assert feature_names(document) == list(flights.FEATURES)
    assert document["monitors"][0]["name"] == CATALOGUE["flights"].monitor
    assert document["store"]["url"] == f"sqlite:///{tmp_path}/drift.db"


@pytest.mark.slow
def test_alerts_go_to_the_log_and_to_a_webhook_where_one_is_given(tmp_path: Path) -> None:
    assert [one["name"] for one in payments_document(tmp_path)["receivers"]] == ["log"]
    log, webhook = payments_document(tmp_path, webhook_url="http://127.0.0.1:9/?a=b")["receivers"]
    assert log == {"name": "log", "log": {}}
    assert webhook == {"name": "webhook", "webhook": {"url": "http://127.0.0.1:9/?a=b"}}


def test_a_directory_with_special_characters_stays_what_it_is(tmp_path: Path) -> None:
    place = tmp_path / 'my "demo": $1 # ü'
    document = yaml.safe_load(flights_yaml(place))
    assert document["store"]["url"] == f"sqlite:///{place}/drift.db".replace("$", "$$")


@pytest.mark.slow
def test_the_first_window_of_payments_begins_where_the_reference_ends(tmp_path: Path) -> None:
    data = CATALOGUE["payments"]
    history = data.prepare(tmp_path, seed=1, until=UNTIL)
    assert data.first_window(history) == datetime(2026, 10, 21, 4, tzinfo=UTC)
    assert len(data.incidents(history)) == 7
    assert data.append(tmp_path, until=UNTIL) == 0


@pytest.mark.parametrize(
    ("table", "features"), [(payment_rows.TABLE, payment_rows.FEATURES), (flights.TABLE, flights.FEATURES)]
)
def test_every_column_but_key_and_time_is_a_feature(table: Table, features: tuple[str, ...]) -> None:
    lines = [line.split() for line in table.create[0].splitlines() if line.startswith(" " * 12)]
    names = [words[0] for words in lines]
    assert names[2:] == list(features)
    assert table.insert.count("?") == len(names) - 1
