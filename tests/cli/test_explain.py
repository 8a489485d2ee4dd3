"""`explain`: the chart shows the shares, the direction and the alerts; foreign text stays text."""

import re
import sqlite3

import pytest

from tests.cli.shop import HOUR, Shop


@pytest.fixture
def evaluated(shop: Shop) -> Shop:
    shop.evaluate(f"--at={shop.end.isoformat()}")
    return shop


def _explain(shop: Shop, *arguments: str) -> str:
    result = shop.run("explain", "--monitor=orders", *arguments)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def _line(text: str, start: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(start))


def test_each_bin_has_the_share_of_its_rows_on_both_sides(evaluated: Shop) -> None:
    start, end = (moment.strftime("%Y-%m-%dT%H:%M:%SZ") for moment in (evaluated.end - 4 * HOUR, evaluated.end))
    window = "created_at >= ? AND created_at < ?"
    ((live,),) = evaluated.orders(f"SELECT avg(country = 'DE') FROM orders WHERE {window}", start, end)
    ((reference,),) = evaluated.orders("SELECT avg(country = 'DE') FROM training")

    line = _line(_explain(evaluated, "--feature=country"), "DE")

    assert [f"{100 * reference:.3g}", f"{100 * live:.3g}"] == re.findall(r"([0-9.]+) %", line)


def test_lost_values_are_called_lost(evaluated: Shop) -> None:
    text = _explain(evaluated, "--feature=country")

    assert "Values the reference had have gone from the live data" in text
    assert _line(text, "psi:warning").startswith("psi:warning: firing since")
    assert _line(text, "kl_live_reference:critical").startswith("kl_live_reference:critical: inactive")


def test_without_a_feature_the_one_that_drifted_most_is_shown(evaluated: Shop) -> None:
    low = dict(evaluated.query("SELECT feature, psi_low FROM drift_measurements"))

    assert _explain(evaluated).startswith(max(low, key=lambda name: low[name]))


def test_bits_are_said_where_they_are_shown(evaluated: Shop) -> None:
    text = _explain(evaluated, "--feature=country", "--units=bits")

    assert "nats" not in text
    assert "KL live‖ref, bits" in text


def test_a_feature_that_is_unknown_is_told_with_those_that_are_known(evaluated: Shop) -> None:
    result = evaluated.run("explain", "--monitor=orders", "--feature=contry")

    assert result.exit_code == 2
    assert "known: amount, country" in result.stderr


def test_before_the_first_evaluation_it_says_what_to_do(shop: Shop) -> None:
    assert shop.run("migrate").exit_code == 0

    result = shop.run("explain", "--monitor=orders")

    assert result.exit_code == 2
    assert "run `drift-monitor evaluate`" in result.stderr


def test_labels_are_printed_as_text_whatever_they_hold(shop: Shop) -> None:
    with sqlite3.connect(shop.database) as connection:
        connection.execute("UPDATE training SET country = '[red]x[/red]' WHERE country = 'DE'")
        connection.execute(
            "UPDATE training SET country = 'a' || char(27) || '[2J' || char(10) || 'b' WHERE country = 'FR'"
        )
    shop.evaluate(f"--at={shop.end.isoformat()}")

    text = _explain(shop, "--feature=country")

    assert "[red]x[/red]" in text
    assert r"a\u001b[2J\nb" in text
    assert "\x1b" not in text
