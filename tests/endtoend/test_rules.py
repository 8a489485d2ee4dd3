"""By Prometheus's rules: rows that drift become a message at a person's webhook, and rows that are well its end."""

from collections.abc import Iterator

import pytest

from tests.endtoend.installation import Installation, installation
from tests.endtoend.posts import statuses, told
from tests.endtoend.shop import TABLES
from tests.postgresql import PostgresqlServer

LABELS = {
    "alertname": "DataDrift",
    "monitor": "orders",
    "feature": "amount",
    "metric": "psi",
    "severity": "critical",
    "job": "drift",
}


@pytest.fixture(scope="module")
def installed(server: PostgresqlServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installation(tmp_path_factory.mktemp("rules"), server, lookback="30s") as one:
        yield one


def test_drift_in_the_rows_reaches_a_person_and_so_does_its_end(installed: Installation) -> None:
    hook, own = installed.by_rules.hook, installed.hook
    installed.wait_until_all_is_known_to_be_well()
    assert [statuses(one, monitor) for one in (hook, own) for monitor in TABLES] == [[]] * 4

    installed.shop.drift("orders")
    installed.wait_until(lambda: statuses(hook, "orders") == ["firing"], "people are told")
    installed.wait_until(lambda: statuses(own, "orders") == ["firing"], "the daemon tells")

    installed.shop.recover("orders")
    installed.wait_until(lambda: statuses(own, "orders") == ["firing", "resolved"], "the daemon tells the end")
    installed.wait_until(lambda: statuses(hook, "orders") == ["firing", "resolved"], "people are told of the end")

    begins, ends = told(hook, "orders")
    assert begins.labels == ends.labels == LABELS
    assert begins.annotations["summary"] == "amount of orders: psi is beyond its threshold"
    assert "fires; its threshold is 0.25. PSI is " in begins.annotations["description"]
    assert begins.starts_at == ends.starts_at < ends.ends_at
    assert statuses(hook, "visits") == statuses(own, "visits") == []
