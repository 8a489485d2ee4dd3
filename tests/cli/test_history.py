"""`history`: the same measurements in every format, in either unit, without touching the store."""

import csv
import io
import json
import math
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from tests.cli.shop import HOUR, Shop, document_of


@pytest.fixture
def filled(shop: Shop) -> Shop:
    assert (
        shop.run("backfill", f"--from={(shop.end - 5 * HOUR).isoformat()}", f"--to={shop.end.isoformat()}").exit_code
        == 0
    )
    return shop


def _documents(shop: Shop, *arguments: str) -> list[dict[str, Any]]:
    result = shop.run("history", "--monitor=orders", "--format=json", *arguments)
    return list(document_of(result)["measurements"])


def test_the_json_has_every_measurement_oldest_first(filled: Shop) -> None:
    found = [(one["window_end"], one["feature"]) for one in _documents(filled)]

    assert len(found) == 10
    assert found == sorted(found)
    assert set(_documents(filled)[0]) == {
        row[1] for row in filled.query("SELECT * FROM pragma_table_info('drift_measurements')")
    }


def test_the_csv_reads_back_as_the_json(filled: Shop) -> None:
    text = filled.run("history", "--monitor=orders", "--format=csv").stdout

    rows = list(csv.DictReader(io.StringIO(text)))

    for row, document in zip(rows, _documents(filled), strict=True):
        assert row == {name: "" if value is None else str(value) for name, value in document.items()}


def test_the_parquet_file_reads_back_as_the_json(filled: Shop, tmp_path: Path) -> None:
    file = tmp_path / "history.parquet"
    assert filled.run("history", "--monitor=orders", "--format=parquet", f"--output={file}").exit_code == 0

    table = pyarrow.parquet.read_table(file)

    assert str(table.schema.field("window_end").type) == "timestamp[us, tz=UTC]"
    for row, document in zip(table.to_pylist(), _documents(filled), strict=True):
        times = {name: row[name].strftime("%Y-%m-%dT%H:%M:%SZ") for name in ("window_start", "window_end")}
        assert row | times == document


def test_parquet_without_its_extra_says_which_one(filled: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    result = filled.run("history", "--monitor=orders", "--format=parquet")

    assert result.exit_code == 2
    assert 'pip install "drift-monitor[parquet]"' in result.stderr


def test_bits_are_nats_over_the_logarithm_of_2_and_psi_has_no_unit(filled: Shop) -> None:
    for nats, bits in zip(_documents(filled), _documents(filled, "--units=bits"), strict=True):
        for name in ("kl_live_reference", "kl_reference_live", "js", "noise_floor", "kl_live_reference_low"):
            assert bits[name] == pytest.approx(nats[name] / math.log(2), rel=1e-12)
        for name in ("psi", "hellinger", "live_missing_ratio"):
            assert bits[name] == nats[name]


def test_a_feature_and_a_range_can_be_chosen(filled: Shop) -> None:
    start, end = filled.end - 3 * HOUR, filled.end - HOUR

    found = _documents(filled, "--feature=amount", f"--from={start.isoformat()}", f"--to={end.isoformat()}")

    assert {one["feature"] for one in found} == {"amount"}
    assert [one["window_end"] for one in found] == [f"{start + hours * HOUR:%Y-%m-%dT%H:%M:%SZ}" for hours in range(3)]


def test_the_table_goes_to_a_file_where_that_is_asked_for(filled: Shop, tmp_path: Path) -> None:
    file = tmp_path / "history.txt"

    result = filled.run("history", "--monitor=orders", f"--output={file}")

    assert result.stdout == ""
    assert len(file.read_text(encoding="utf-8").splitlines()) == 11


def test_a_store_that_somebody_is_writing_can_be_read(filled: Shop) -> None:
    with sqlite3.connect(filled.folder / "drift.db", isolation_level=None) as writer:
        writer.execute("BEGIN IMMEDIATE")
        result = filled.run("history", "--monitor=orders", "--format=json")
        writer.execute("ROLLBACK")

    assert len(json.loads(result.stdout)["measurements"]) == 10


def test_a_store_that_was_never_set_up_is_told_and_not_made(shop: Shop) -> None:
    result = shop.run("history", "--monitor=orders")

    assert result.exit_code == 1
    assert "has not been set up" in result.stderr
    assert not (shop.folder / "drift.db").exists()


def test_a_file_that_cannot_be_written_is_an_error_in_words(filled: Shop, tmp_path: Path) -> None:
    result = filled.run("history", "--monitor=orders", "--format=csv", f"--output={tmp_path}/nowhere/history.csv")

    assert result.exit_code == 1
    assert "No such file or directory" in result.stderr
    assert "Traceback" not in result.output


def test_a_feature_that_is_none_is_an_error_with_a_near_one(shop: Shop) -> None:
    shop.evaluate(f"--at={shop.end.isoformat()}")

    result = shop.run("history", "--monitor=orders", "--feature=amuont")

    assert result.exit_code == 2
    assert "monitor 'orders' has no feature 'amuont'; did you mean 'amount'?" in result.stderr
    assert shop.run("history", "--monitor=orders", "--feature=amount").exit_code == 0
