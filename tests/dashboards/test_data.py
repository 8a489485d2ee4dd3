"""Every query of every dashboard shows data: PromQL in a real Prometheus, SQL on the views of a PostgreSQL store.

Prometheus knows what it has scraped, and the service goes on meanwhile: what a test asks of it, it waits for.
"""

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.dashboards.conftest import Running
from tests.dashboards.grafana import FILES, Target, Viewing, load, promql, sql, targets
from tests.processes.processes import wait_until

pytestmark = pytest.mark.processes
VALUES = {
    "job": "drift",
    "instance": ".+",
    "monitor": "orders",
    "feature": "amount",
    "segment": "",
}


def viewing() -> Viewing:
    now = datetime.now(UTC)
    return Viewing(values=VALUES, start=now - timedelta(days=7), end=now)


def rows(running: Running, text: str) -> Sequence[dict[str, Any]]:
    """What PostgreSQL answers, by column."""
    with running.server.connect(running.database) as connection:
        cursor = connection.execute(sql(text, viewing()))
        names = [column.name for column in cursor.description or []]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


@pytest.mark.parametrize("target", list(targets("prometheus")), ids=lambda target: target.name)
def test_a_promql_query_has_data(running: Running, target: Target) -> None:
    expression = promql(target.query["expr"], viewing())
    ask = running.prometheus.now if target.query["instant"] else running.prometheus.lately

    assert wait_until(lambda: ask(expression) or None, f"data of {expression}")


@pytest.mark.parametrize("target", list(targets("postgres")), ids=lambda target: target.name)
def test_a_sql_query_has_data(running: Running, target: Target) -> None:
    found = rows(running, target.query["rawSql"])

    assert found
    if target.query["format"] == "time_series" or "timeend" in found[0]:
        times = [row["time"] for row in found]
        assert times == sorted(times)
        assert all(time.tzinfo is not None for time in times)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_variable_offers_what_there_is(running: Running, path: Any) -> None:
    expected = {"job": {"drift"}, "monitor": {"orders"}, "feature": {"amount", "country"}, "segment": set()}
    for one in load(path)["templating"]["list"]:
        if one["type"] == "query":
            series, label = promql(one["definition"], viewing()).removeprefix("label_values(")[:-1].rsplit(", ", 1)
            found = running.prometheus.ask(f"label/{label}/values", **{"match[]": series})
            assert set(found) == expected.get(label, set(found)), one["name"]


def test_the_bars_of_a_direction_sum_to_the_divergence_that_is_drawn(running: Running) -> None:
    (bars,) = (one.query["rawSql"] for one in targets("postgres") if one.panel == "What each bin contributes")

    for direction in ("live_reference", "reference_live"):
        column = f"to KL({' ‖ '.join(direction.split('_'))})"
        wait_until(
            lambda direction=direction, column=column: (  # type: ignore[misc]
                sum(row[column] for row in rows(running, bars)) == pytest.approx(drawn(running, direction), rel=1e-9)
            ),
            f"the bars of {direction} sum to what is drawn",
        )


def drawn(running: Running, direction: str) -> float:
    """What the gauge says now; nan while Prometheus has no sample of it yet."""
    found = running.prometheus.now(f'drift_kl_divergence_nats{{feature="amount", direction="{direction}"}}')
    return float(found[0]["value"][1]) if found else math.nan


def test_the_shares_of_each_side_sum_to_one(running: Running) -> None:
    (bins,) = (one.query["rawSql"] for one in targets("postgres") if one.panel == "Bins: live beside reference")
    found = rows(running, bins)

    assert sum(row["live"] for row in found) == pytest.approx(1)
    assert sum(row["reference"] for row in found) == pytest.approx(1)


def test_a_chosen_name_cannot_change_the_sql(running: Running) -> None:
    hostile = Viewing(
        values={**VALUES, "monitor": "orders' OR ''='"}, start=datetime(2020, 1, 1, tzinfo=UTC), end=datetime.now(UTC)
    )
    with running.server.connect(running.database) as connection:
        for target in targets("postgres"):
            assert connection.execute(sql(target.query["rawSql"], hostile)).fetchall() == [], target.name


def test_the_shipped_rules_fire_for_drifted_features_and_for_nothing_else(running: Running) -> None:
    def firing() -> list[dict[str, str]]:
        return [one["labels"] for one in running.prometheus.ask("alerts")["alerts"] if one["state"] == "firing"]

    def is_told() -> bool:
        return ("orders", "amount", "psi", "warning") in {
            (one["monitor"], one["feature"], one["metric"], one["severity"]) for one in firing() if "metric" in one
        }

    wait_until(is_told, "the alert of the drifted feature fires")
    assert {one["alertname"] for one in firing()} == {"DataDrift"}
    assert {one["feature"] for one in firing()} <= {"amount", "country"}


def test_every_recorded_series_has_data(running: Running) -> None:
    groups = running.prometheus.ask("rules", type="record")["groups"]
    recorded = [rule["name"] for group in groups for rule in group["rules"]]

    assert recorded
    for name in recorded:
        assert wait_until(lambda name=name: running.prometheus.now(name) or None, f"data of {name}")  # type: ignore[misc]
