"""Cleaning: what no store may ever see. The one place, for both stores.

PostgreSQL refuses NUL and lone surrogates in text and NaN in JSON; SQLite takes them all and fails later, in a metric
or a page. So both get the same cleaned values: U+FFFD for a character that can't be stored, NULL for a number that
is no number.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

REPLACEMENT = "�"
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def clean_text(text: str) -> str:
    """The text with NUL and lone surrogates replaced by U+FFFD."""
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
