"""`evaluate`: values against an independent count, the document's schema, exit codes, what it leaves in the store."""

import re
import sqlite3
from datetime import timedelta
from typing import Any

import pytest

from drift_monitor import compare_counts
from drift_monitor.core.divergence import DIVERGENCES
from tests.cli.shop import COUNTRIES, HOUR, Shop, counted, document_of


def _live(shop: Shop, column: str) -> list[Any]:
    sql = f"SELECT {column} FROM orders WHERE created_at >= ? AND created_at < ?"
    start, end = ((shop.end - hours * HOUR).strftime("%Y-%m-%dT%H:%M:%SZ") for hours in (4, 0))
    return [row[0] for row in shop.orders(sql, start, end)]


def _at(shop: Shop, hours_before: int = 0) -> str:
    return f"--at={(shop.end - hours_before * HOUR).isoformat()}"


def _features(evaluation: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["feature"]: one for one in evaluation["measurements"]}


def test_numeric_values_are_those_of_an_independent_count(shop: Shop) -> None:
    live = counted(_live(shop, "amount"))
    reference = counted([row[0] for row in shop.orders("SELECT amount FROM training")])
    expected = compare_counts(live=live, reference=reference)

    amount = _features(shop.evaluate(_at(shop)))["amount"]

    assert [one["live_count"] for one in amount["bins"]] == live
    assert [one["reference_count"] for one in amount["bins"]] == reference
    assert amount["live_rows"] == 240
    assert amount["noise_floor"] == pytest.approx(expected.noise_floor, rel=1e-12)
    for name in DIVERGENCES:
        assert amount[name] == pytest.approx(getattr(expected, name), rel=1e-12)
        assert (amount[f"{name}_low"], amount[f"{name}_high"]) == pytest.approx(expected.interval[name], rel=1e-12)
    for direction in ("live_reference", "reference_live"):
        contributions = [one[f"contribution_{direction}"] for one in amount["bins"]]
        assert contributions == pytest.approx(expected.contributions[direction].tolist(), rel=1e-12)


def test_categories_are_counted_under_their_names(shop: Shop) -> None:
    live = _live(shop, "country")

    bins = {one["label"]: one["live_count"] for one in _features(shop.evaluate(_at(shop)))["country"]["bins"]}

    assert bins == {name: live.count(name) for name in COUNTRIES} | {"rare": 0, "unseen": 0, "missing": 0}


def test_the_document_has_every_column_of_the_views_and_their_values(shop: Shop) -> None:
    evaluation = shop.evaluate(_at(shop))
    measurement = _features(evaluation)["amount"]

    for view, documents in (
        ("drift_evaluations", [evaluation]),
        ("drift_measurements", evaluation["measurements"]),
        ("drift_histograms", measurement["bins"]),
    ):
        columns = [row[1] for row in shop.query(f"SELECT * FROM pragma_table_info('{view}')")]
        order = "bin" if view == "drift_histograms" else "feature" if view == "drift_measurements" else "id"
        where = "WHERE feature = 'amount'" if view == "drift_histograms" else ""
        rows = shop.query(f"SELECT {', '.join(columns)} FROM {view} {where} ORDER BY {order}")

        assert [set(columns) - set(one) for one in documents] == [set()] * len(rows)
        for row, document in zip(rows, documents, strict=True):
            for column, value in zip(columns, row, strict=True):
                if not column.startswith("window_") and not column.endswith("_at"):
                    expected = pytest.approx(value, rel=1e-12, abs=0) if isinstance(value, float) else value
                    assert document[column] == expected, column
    assert evaluation["window_end"] == shop.end.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert evaluation["window_start"] == (shop.end - 4 * HOUR).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_alerts_of_an_evaluation_say_what_fires_since_when_and_against_what(shop: Shop) -> None:
    evaluation = shop.evaluate(_at(shop))

    firing = {one["feature"]: one for one in evaluation["alerts"]}
    amount = firing["amount"]
    assert set(firing) == {"amount", "country"}
    assert (amount["segment"], amount["metric"], amount["severity"]) == ("", "psi", "warning")
    assert (amount["state"], amount["threshold"]) == ("firing", 0.1)
    assert amount["value"] == _features(evaluation)["amount"]["psi_low"]
    assert amount["since"] == evaluation["window_end"]


def test_exit_codes_tell_drift_from_calm_by_severity(shop: Shop) -> None:
    assert shop.run("evaluate", _at(shop)).exit_code == 1
    assert shop.run("evaluate", _at(shop), "--fail-on=warning").exit_code == 1
    assert shop.run("evaluate", _at(shop), "--fail-on=critical").exit_code == 0


def test_nothing_that_fires_is_exit_code_0(quiet_shop: Shop) -> None:
    result = quiet_shop.run("evaluate", _at(quiet_shop))

    assert result.exit_code == 0
    assert "orders" in result.stdout
    assert result.stderr == ""


def test_without_a_time_the_last_settled_window_is_taken(quiet_shop: Shop) -> None:
    evaluation = quiet_shop.evaluate()

    ends = quiet_shop.end
    assert evaluation["window_end"] in {
        moment.strftime("%Y-%m-%dT%H:%M:%SZ") for moment in (ends, ends + HOUR, ends + 2 * HOUR)
    }
    assert evaluation["state"] == "done"


def test_alerts_reach_their_receiver_before_the_command_ends(shop: Shop) -> None:
    result = shop.run("evaluate", _at(shop))

    assert result.stderr.count("event=alert_firing") == 2
    assert shop.query("SELECT state, count(*) FROM outbox GROUP BY state") == [("sent", 1)]


def test_a_window_is_evaluated_once_however_often_it_is_asked_for(shop: Shop) -> None:
    first, second = shop.evaluate(_at(shop)), shop.evaluate(_at(shop))

    assert first == second
    assert shop.query("SELECT attempts FROM run") == [(1,)]
    assert "evaluated before" in shop.run("evaluate", _at(shop)).stdout


def test_an_earlier_window_shows_what_would_fire_and_changes_no_alert(shop: Shop) -> None:
    shop.evaluate(_at(shop))
    before = shop.query("SELECT * FROM alert ORDER BY feature, rule")

    earlier = shop.run("evaluate", _at(shop, 1), "--format=json")

    assert earlier.exit_code == 1
    assert {one["state"] for one in document_of(earlier)["evaluations"][0]["alerts"]} == {"firing"}
    assert shop.query("SELECT * FROM alert ORDER BY feature, rule") == before
    assert shop.query("SELECT count(*) FROM outbox") == [(1,)]


def test_a_source_that_is_gone_is_exit_code_3_and_complete_json(shop: Shop) -> None:
    shop.hide()

    result = shop.run("evaluate", _at(shop), "--format=json")

    evaluation = document_of(result)["evaluations"][0]
    assert result.exit_code == 3
    assert (evaluation["state"], evaluation["health"]) == ("due", "error")
    assert (evaluation["measurements"], evaluation["alerts"]) == ([], [])
    assert "monitor 'orders': could not be evaluated" in result.stderr
    assert "Traceback" not in result.output


def test_a_window_that_waits_from_an_outage_is_evaluated_before_the_next_one(shop: Shop) -> None:
    shop.hide()
    assert shop.run("evaluate", _at(shop, 1)).exit_code == 3
    shop.show()

    assert shop.run("evaluate", _at(shop)).exit_code == 1

    states = shop.query("SELECT window_end, revision, state FROM run ORDER BY window_end")
    assert [(revision, state) for _, revision, state in states] == [(0, "done"), (0, "done")]


def test_features_that_all_fail_are_exit_code_3(shop: Shop) -> None:
    shop.change_config("name: amount", "name: amuont")
    shop.change_config("name: country", "name: contry")

    result = shop.run("evaluate", _at(shop))

    assert result.exit_code == 3
    assert "amuont" in result.stderr


def test_a_skipped_window_is_evaluated_when_somebody_asks(shop: Shop) -> None:
    shop.evaluate(_at(shop, 2))
    end = (shop.end - HOUR).strftime("%Y-%m-%dT%H:%M:%S.000000Z")
    copied = "monitor, window_end, revision, id, window_start, state, health, trigger, config_hash, attempts, postponed"
    values = "monitor, ?, 0, 'skipped', window_start, 'skipped', 'unknown', 'schedule', config_hash, 0, 0"
    _write(
        shop, f"INSERT INTO run ({copied}, token, next_at, planned_at) SELECT {values}, 0, ?, ? FROM run", end, end, end
    )

    evaluation = shop.evaluate(_at(shop, 1))

    assert (evaluation["state"], evaluation["revision"]) == ("done", 1)


def _write(shop: Shop, sql: str, *values: Any) -> None:
    with sqlite3.connect(shop.folder / "drift.db") as connection:
        connection.execute(sql, values)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--monitor=nothing"], "no monitor is called 'nothing'; configured: orders"),
        (["--at=yesterday"], "'yesterday' is no time"),
        (["--at=2026-01-01T00:30:00Z"], "with panes of 1h one ends at 2026-01-01T00:00:00Z"),
        (["--at=2190-01-01"], "is settled at 2190-01-01T00:01:00Z"),
        (["--at=0001-01-01"], "out of range"),
        (["--format=xml"], "'xml' is not one of"),
    ],
)
def test_a_question_that_makes_no_sense_is_exit_code_2(shop: Shop, arguments: list[str], said: str) -> None:
    result = shop.run("evaluate", *arguments)

    assert result.exit_code == 2
    assert result.stderr.startswith("drift-monitor: error: ")
    assert said in result.stderr
    assert result.stdout == ""


def test_a_configuration_with_mistakes_is_exit_code_2_with_all_of_them(shop: Shop) -> None:
    shop.change_config("window: 4h", "windw: 4h")
    shop.change_config("every: 1h", "every: often")

    result = shop.run("evaluate")

    assert result.exit_code == 2
    assert f"{shop.config}:" in result.stderr
    assert "windw" in result.stderr and "often" in result.stderr


def test_too_few_rows_are_told_and_never_drift(shop: Shop) -> None:
    shop.change_config("min_rows: 20", "min_rows: 2000")

    result = shop.run("evaluate", _at(shop), "--format=json")

    measured = document_of(result)["evaluations"][0]["measurements"]
    assert result.exit_code == 3
    assert {(one["status"], one["psi"]) for one in measured} == {("insufficient_data", None)}
    assert "2 of 2 features could not be measured, 2 of them for want of rows: amount, country" in result.stderr


def test_the_window_after_the_last_row_has_no_values_and_no_drift(shop: Shop) -> None:
    shop.change_config("window: 4h", "window: 1h")
    later = shop.end - timedelta(hours=100)

    evaluation = shop.evaluate(f"--at={later.isoformat()}")

    assert {(one["status"], one["psi"], one["live_missing_ratio"]) for one in evaluation["measurements"]} == {
        ("no_data", None, None)
    }


def test_one_feature_that_could_not_be_measured_is_told_and_fails_where_that_is_asked_for(quiet_shop: Shop) -> None:
    quiet_shop.change_config("name: country, kind: categorical", "name: country, expression: no_such_column")
    quiet_shop.change_config(", bins: {top: 3}", "")

    told = quiet_shop.run("evaluate", _at(quiet_shop))
    asked = quiet_shop.run("evaluate", _at(quiet_shop), "--fail-on-unmeasured")

    assert (told.exit_code, asked.exit_code) == (0, 3)
    assert "1 of 2 features could not be measured: country" in told.stderr


def test_an_alert_is_told_with_the_value_its_interval_and_what_is_held_against_what(shop: Shop) -> None:
    result = shop.run("evaluate", _at(shop))

    line = next(line for line in result.stdout.splitlines() if "firing" in line and "amount" in line and "PSI" in line)
    assert re.search(r"amount: PSI [\d.]+ \(95 %: [\d.]+ to [\d.]+\), lower bound [\d.]+, threshold above 0.1", line), (
        line
    )
