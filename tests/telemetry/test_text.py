"""Foreign text made safe."""

from hypothesis import given
from hypothesis import strategies as st

from drift_monitor.telemetry.text import MAX_LABEL_LENGTH, clean_label, clean_text, escape_unprintable


@given(st.text())
def test_clean_text_can_be_encoded_and_stored(text: str) -> None:
    cleaned = clean_text(text)
    cleaned.encode("utf-8")
    assert "\0" not in cleaned
    assert len(cleaned) == len(text)


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
