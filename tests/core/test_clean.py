"""Foreign text and numbers made safe."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drift_monitor.core.times import (
    MAX_LABEL_LENGTH,
    clean_document,
    clean_label,
    clean_number,
    clean_text,
    escape_unprintable,
)

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


def test_harmless_text_is_left_alone() -> None:
    text = 'größe 😀 "quoted" back\\slash\nnext'
    assert clean_text(text) == text
    assert clean_label(text) == text


@given(st.text(max_size=1000))
def test_label_is_short_encodable_and_without_carriage_returns(text: str) -> None:
    cleaned = clean_label(text)
    cleaned.encode("utf-8")
    assert len(cleaned) <= MAX_LABEL_LENGTH
    assert not set(cleaned) & set("\r\0\x1b\x85\u2028\u2029")
    assert clean_label(cleaned) == cleaned


@given(st.text())
def test_escaped_text_is_printable(text: str) -> None:
    assert escape_unprintable(text).isprintable()
