"""What no store may see is cleaned in one place, the same for both."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drift_monitor.store import monitors
from drift_monitor.store.columns import derived_id
from drift_monitor.store.connection import Store
from drift_monitor.store.texts import clean_document, clean_number, clean_text
from tests.store.making import add_monitor, hour

documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.text(alphabet=st.characters(codec=None)))
def test_a_clean_text_has_no_nul_and_can_be_encoded(text: str) -> None:
    cleaned = clean_text(text)
    assert "\x00" not in cleaned
    assert len(cleaned.encode("utf-8")) >= len(text) == len(cleaned)


def test_ordinary_text_stays_as_it_is() -> None:
    assert clean_text("naïve 🦊 \r\n\t") == "naïve 🦊 \r\n\t"


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, None])
def test_a_number_that_is_none_is_missing(number: float | None) -> None:
    assert clean_number(number) is None


@given(documents)
def test_a_clean_document_is_strict_json(document: object) -> None:
    json.dumps(clean_document(document), allow_nan=False, ensure_ascii=False).encode("utf-8")


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
