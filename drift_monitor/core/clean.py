"""Foreign text and numbers made safe to store, to send and to print.

Names and values can come from the columns of a user's table, so whoever may write there chooses them. A lone surrogate
can't be encoded and would break a whole exposition, a carriage return or an escape code forges a log line. PostgreSQL
refuses NUL and lone surrogates in text and NaN in JSON; SQLite takes them all and fails later, in a metric or a page.
So both stores, and whoever reads what leaves the service, get the same cleaned values: U+FFFD for a character that
can't be stored, None for a number that is no number.
"""

import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

REPLACEMENT = "\ufffd"
MAX_LABEL_LENGTH = 256  # longer label values cost memory in every scraper and say nothing a person reads
_DIGEST_LENGTH = 8
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})  # control, surrogate, line separator, paragraph separator
_COMPACT = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_ESCAPED_NUL = "\\u0000"
_SHORT_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def clean_text(text: str) -> str:
    """The text with NUL and lone surrogates replaced by U+FFFD; everything else as it was."""
    return _UNSTORABLE.sub(REPLACEMENT, text)


def clean_number(number: float | None) -> float | None:
    """The number as a float, or None where it is NaN or infinite."""
    if number is None or not math.isfinite(number):
        return None
    return float(number)


def clean_document(value: Any) -> Any:
    """JSON with clean texts and numbers all the way down; tuples become lists."""
    match value:
        case str():
            return clean_text(value)
        case float():
            return clean_number(value)
        case None | int():
            return value
        case list() | tuple():
            return [clean_document(item) for item in value]
        case Mapping():
            return {clean_text(str(key)): clean_document(item) for key, item in value.items()}
        case _:
            return value


def json_text(document: Any) -> str:
    """The document as short JSON, cleaned as `clean_document` does; what needs no cleaning costs no second walk."""
    try:
        text = _COMPACT.encode(document)
    except (TypeError, ValueError):  # a mapping that is no dict; a number that is none
        text = _COMPACT.encode(clean_document(document))
    if _ESCAPED_NUL in text:
        text = _COMPACT.encode(clean_document(document))
    return clean_text(text)


def clean_label(text: str) -> str:
    """The text as a label value: no control characters but newline (the format escapes it), at most 256 characters.

    Values that are cut keep a digest of the whole, so that two long names with the same start stay two series.
    """
    if len(text) > MAX_LABEL_LENGTH:
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_LENGTH]
        text = f"{text[: MAX_LABEL_LENGTH - _DIGEST_LENGTH - 1]}~{digest}"
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character if character == "\n" or unicodedata.category(character) not in _UNPRINTABLE else REPLACEMENT
        for character in text
    )


def escape_unprintable(text: str) -> str:
    r"""The text on one line: whatever is not printable, also direction marks and escape codes, as ``\uXXXX``."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _escape(character) for character in text)


def _escape(character: str) -> str:
    code = ord(character)
    return _SHORT_ESCAPES.get(character) or (f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}")
