"""Foreign text made safe to print: label values, log fields, message bodies.

Names and values can come from the columns of a user's table, so whoever may write there chooses them. A lone surrogate
cannot be encoded and would break a whole exposition, a carriage return or an escape code forges a log line, a NUL is
refused by PostgreSQL. Everything that leaves the service as text passes through here.
"""

import hashlib
import unicodedata

REPLACEMENT = "\ufffd"
# Longer label values cost memory in every scraper and say nothing a person reads.
MAX_LABEL_LENGTH = 256
_DIGEST_LENGTH = 8
# Control, surrogate, line separator, paragraph separator.
_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})


def clean_text(text: str) -> str:
    """The text with what can't be stored or sent (surrogates, NUL) replaced; everything else as it was."""
    return "".join(REPLACEMENT if _is_unstorable(character) else character for character in text)


def clean_label(text: str) -> str:
    """The text as a label value: no control characters but newline (the format escapes it), at most 256 characters.

    Values that are cut keep a digest of the whole, so that two long names with the same start stay two series.
    """
    if len(text) > MAX_LABEL_LENGTH:
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_LENGTH]
        text = f"{text[: MAX_LABEL_LENGTH - _DIGEST_LENGTH - 1]}~{digest}"
    if text.isascii() and text.isprintable():
        return text
    return "".join(_clean_character(character) for character in text)


def escape_unprintable(text: str) -> str:
    r"""The text on one line: whatever is not printable, also direction marks and escape codes, as ``\uXXXX``."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _escape(character) for character in text)


def _is_unstorable(character: str) -> bool:
    return character == "\0" or "\ud800" <= character <= "\udfff"


def _clean_character(character: str) -> str:
    if character == "\n" or unicodedata.category(character) not in _UNPRINTABLE:
        return character
    return REPLACEMENT


def _escape(character: str) -> str:
    short = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character)
    if short is not None:
        return short
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
