"""Moments and durations as text, written and read in one place.

Durations are those of Prometheus: `30s`, `10m`, `1h30m`, `7d`; units from large to small, each at most once.

Foreign text and numbers made safe to store, to send and to print.

Names and values can come from the columns of a user's table, so whoever may write there chooses them. A lone
surrogate can't be encoded and would break a whole exposition, a carriage return or an escape code forges a log line.
PostgreSQL refuses NUL and lone surrogates in text and NaN in JSON; SQLite takes them all and fails later, in a metric
or a page. So both stores, and whoever reads what leaves the service, get the same cleaned values: U+FFFD for a
character that can't be stored, None for a number that is no number.
"""

import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from drift_monitor.errors import InputError, OutOfRange

_MILLISECONDS = {
    "y": 365 * 86_400_000,
    "w": 7 * 86_400_000,
    "d": 86_400_000,
    "h": 3_600_000,
    "m": 60_000,
    "s": 1_000,
    "ms": 1,
}
_DURATION = re.compile("".join(rf"(?:(?P<{unit}>[0-9]{{1,12}}){unit})?" for unit in _MILLISECONDS))
_LONGEST = timedelta(days=36_500)  # a hundred years: beyond it date arithmetic overflows
A_DURATION = "a duration such as 30s, 10m, 1h30m or 7d"


def rfc3339(at: datetime, timespec: str = "auto") -> str:
    """The moment in UTC, by default as short as it allows: `2026-03-02T12:00:00Z`.

    `timespec` is that of `isoformat`: with a fixed one texts sort as moments do. Raises InputError without a zone.
    """
    if at.tzinfo is None:
        raise InputError(f"a time without zone can't be written: {at.isoformat()}")
    # Not strftime: it forgets the zeros of years before 1000.
    return at.astimezone(UTC).isoformat(timespec=timespec).replace("+00:00", "Z")


def parse_instant(text: str, zone: tzinfo) -> datetime:
    """A date (its midnight) or a date with time, in the zone unless it has an offset; as UTC. Raises InputError."""
    try:
        moment = datetime.fromisoformat(text)
        local = moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)
        instant = local.astimezone(UTC)
    except (ValueError, OverflowError):
        raise InputError(f"{text!r} is no date such as 2026-09-01 or 2026-09-01T06:00") from None
    # Windows, offsets and intervals are added to it and taken from it: the ends of the calendar must stay far away.
    if not 1000 <= instant.year < 9000:
        raise OutOfRange(f"{text!r} is out of range: expected a year from 1000 to 8999")
    return instant


def parse_duration(text: str) -> timedelta:
    """The duration a text stands for; `0` needs no unit. Raises InputError."""
    if text == "0":
        return timedelta(0)
    match = _DURATION.fullmatch(text)
    if not text or match is None:
        raise InputError(f"{text!r} is not {A_DURATION}")
    found = {unit: int(count) for unit, count in match.groupdict().items() if count is not None}
    total = sum(count * _MILLISECONDS[unit] for unit, count in found.items())
    if total > _LONGEST / timedelta(milliseconds=1):
        raise InputError(f"{text!r} is longer than a hundred years")
    return timedelta(milliseconds=total)


def format_duration(duration: timedelta) -> str:
    """The shortest such text, without years and weeks; `parse_duration` gives the same duration back."""
    rest = duration // timedelta(milliseconds=1)
    if rest == 0:
        return "0s"
    parts = []
    for unit in ("d", "h", "m", "s", "ms"):
        count, rest = divmod(rest, _MILLISECONDS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


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
