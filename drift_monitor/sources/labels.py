"""Category labels as we name them, the same in every database.

A label longer than `LONGEST_LABEL_BYTES` in UTF-8 becomes its head, a mark and the MD5 of the whole: short enough for
a store, a metric and a page, and still its own. Bytes that are no UTF-8, and NUL, become U+FFFD.
"""

import hashlib
from typing import Any

LONGEST_LABEL_BYTES = 1000
HEAD_CHARACTERS = 100
MARK = "\N{HORIZONTAL ELLIPSIS}"


def label_of(value: Any) -> str | None:
    """The label of a value as a driver gives it; None is missing."""
    if value is None or isinstance(value, str):
        return value
    return text_of(value) if isinstance(value, bytes) else str(value)


def text_of(raw: bytes) -> str:
    """A text as a database holds it, no longer than a label. Called for every text that SQLite returns."""
    if len(raw) > LONGEST_LABEL_BYTES or b"\x00" in raw:
        return _unusual_text(raw)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("utf-8", "replace")


def _unusual_text(raw: bytes) -> str:
    text = raw.decode("utf-8", "replace").replace("\x00", "\ufffd")
    if len(raw) <= LONGEST_LABEL_BYTES:
        return text
    return f"{text[:HEAD_CHARACTERS]}{MARK}{hashlib.md5(raw, usedforsecurity=False).hexdigest()}"
