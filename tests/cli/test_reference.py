"""`reference rebuild`: from the rows that are there now; where that fails the one before stays."""

import sqlite3
from contextlib import closing

from tests.cli.shop import Shop, document_of


def change(shop: Shop, statement: str) -> None:
    with closing(sqlite3.connect(shop.database)) as file, file:
        file.execute(statement)


def reference_rows(shop: Shop) -> dict[str, int]:
    evaluated = document_of(shop.run("evaluate", f"--at={shop.end.isoformat()}", "--format=json"))["evaluations"][0]
    return {one["feature"]: one["reference_rows"] for one in evaluated["measurements"]}


def test_it_is_built_from_the_rows_that_are_there_now_and_used_by_the_next_window(quiet_shop: Shop) -> None:
    shop = quiet_shop
    before = reference_rows(shop)
    change(shop, "INSERT INTO training SELECT * FROM training")

    result = shop.run("reference rebuild", "--monitor=orders", "--feature=amount")

    assert result.exit_code == 0, result.stderr
    assert f"amount: 8 bins, {2 * before['amount']:,} rows" in result.stdout
    with closing(sqlite3.connect(shop.folder / "drift.db")) as store:
        rows = dict(
            store.execute(
                "SELECT feature, counts FROM reference r WHERE built_at ="
                " (SELECT max(built_at) FROM reference o WHERE o.feature = r.feature)"
            )
        )
    counted = {feature: sum(map(int, text.strip("[]").split(","))) for feature, text in rows.items()}
    assert counted == {"amount": 2 * before["amount"], "country": before["country"]}


def test_one_that_cannot_be_built_leaves_the_one_before(quiet_shop: Shop) -> None:
    shop = quiet_shop
    reference_rows(shop)
    change(shop, "DELETE FROM training")

    result = shop.run("reference rebuild", "--monitor=orders")

    assert result.exit_code == 1
    assert "amount: not built: its reference has 0 rows, `min_rows` is 20" in result.stderr
    assert all(reference_rows(shop).values())


def test_an_unknown_feature_is_answered_with_those_that_there_are(quiet_shop: Shop) -> None:
    result = quiet_shop.run("reference rebuild", "--monitor=orders", "--feature=nope")

    assert result.exit_code == 2
    assert "monitor 'orders' has no feature 'nope'; it has amount, country" in result.stderr
