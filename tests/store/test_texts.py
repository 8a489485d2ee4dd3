"""What no store may see is cleaned on its way in, the same for both."""

import math

from drift_monitor.store import monitors
from drift_monitor.store.columns import derived_id
from drift_monitor.store.connection import Store
from tests.store.making import add_monitor, hour


def test_both_stores_give_back_the_same_cleaned_values(store: Store) -> None:
    dirty = {"nul\x00": "a\x00b", "half": "\ud83d", "nan": math.nan, "list": (1, math.inf, "\udc80")}
    row = monitors.StoredMonitor(name="a\x00b", source="\udc80", config_hash="h")
    store.transact(lambda connection: monitors.save(connection, row, dirty))
    with store.read() as connection:
        (found,) = monitors.listed(connection)
        assert (found.name, found.source) == ("a�b", "�")
        assert monitors.configuration_of(connection, "h") == {
            "nul�": "a�b",
            "half": "�",
            "nan": None,
            "list": [1, None, "�"],
        }


def test_a_cleaned_name_finds_its_row_again(store: Store) -> None:
    store.transact(lambda connection: add_monitor(connection, "a\x00b"))
    assert store.transact(lambda connection: monitors.set_next(connection, "a\x00b", hour(1)))


def test_ids_tell_apart_what_joined_text_would_not() -> None:
    assert derived_id("a", "bc") != derived_id("ab", "c")
    assert derived_id("a", "") != derived_id("a")
    assert derived_id("a", hour(0)) == derived_id("a", hour(0))
