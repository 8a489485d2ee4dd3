"""Values as every database compares them: edges in a column's own type, labels by our names, times on a wall clock.

Edges. `x >= edge` must mean the same whatever x is stored as. For floats x, it means `x >= the smallest float not below
the edge`; for integers, `x >= the smallest integer not below the edge`; decimals hold every edge exactly. Two edges may
become the same number that way: the bin between them is empty for such a column, as it should be.

Labels. One longer than `LONGEST_LABEL_BYTES` in UTF-8 becomes its head, a mark and the MD5 of the whole: short enough
for a store, a metric and a page, and still its own. Bytes that are no UTF-8, and NUL, become U+FFFD.

Wall clocks. Where a column has no zone, a bound becomes the wall-clock time before which every row is earlier than the
bound. The hour that clocks repeat in autumn can't be told apart in such a column: its rows count as the first of the
two hours, and the second stays empty. Nothing is lost and nothing counted twice.
"""

import hashlib
import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from drift_monitor.core.bins import Number

INT64_MIN = -(2**63)
INT64_MAX = 2**63 - 1
LONGEST_LABEL_BYTES = 1000
HEAD_CHARACTERS = 100
TRUE_WORDS = ("t", "true", "y", "yes", "on", "1")
FALSE_WORDS = ("f", "false", "n", "no", "off", "0")
MARK = "\N{HORIZONTAL ELLIPSIS}"


def float_edges(edges: Sequence[Number]) -> list[float]:
    """The smallest floats not below the edges."""
    return [ceiling_float(edge) for edge in edges]


def integer_edges(edges: Sequence[Number]) -> list[int]:
    """The smallest integers not below the edges."""
    return [math.ceil(edge) for edge in edges]


def decimal_edges(edges: Sequence[Number]) -> list[Decimal]:
    """The edges, exactly."""
    return [Decimal(edge) for edge in edges]


def ceiling_float(number: Number) -> float:
    """The smallest float not below a number; infinity above the largest."""
    try:
        nearest = float(number)
    except OverflowError:
        nearest = math.inf if number > 0 else -math.inf
    if math.isinf(nearest):
        return nearest if nearest > 0 else -math.nextafter(math.inf, 0)
    # Python compares numbers of different types by their exact values.
    return nearest if nearest >= number else math.nextafter(nearest, math.inf)


def floor_float(number: Number) -> float:
    """The largest float not above a number."""
    return -ceiling_float(-number)


def label_of(value: Any) -> str | None:
    """The label of a value as a driver gives it; None is missing."""
    if value is None or isinstance(value, str):
        return value
    return text_of(value) if isinstance(value, bytes) else str(value)


def text_of(raw: bytes) -> str:
    """A text as a database holds it, no longer than a label. Called for every text that SQLite returns."""
    # The usual text first and by itself: this is called a million times a reading.
    if len(raw) <= LONGEST_LABEL_BYTES and b"\x00" not in raw:
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return raw.decode("utf-8", "replace")
    text = raw.decode("utf-8", "replace").replace("\x00", "\ufffd")
    if len(raw) <= LONGEST_LABEL_BYTES:
        return text
    return f"{text[:HEAD_CHARACTERS]}{MARK}{hashlib.md5(raw, usedforsecurity=False).hexdigest()}"


def truth_of(value: Any) -> int | None:
    """A truth value as 1 or 0, also as a number or in one of the usual words; None is neither."""
    if isinstance(value, str):
        word = value.strip().lower()
        return 1 if word in TRUE_WORDS else 0 if word in FALSE_WORDS else None
    return int(value) if value in (0, 1) else None


def epoch_scale(largest: float) -> int:
    """Units a second of numbers that count since 1970: seconds, milli-, micro- or nanoseconds, which can't be mistaken.

    Each kind is taken for what puts a time between 1973 and 5138; seconds are small numbers, too.
    """
    return next((10 ** (3 * step) for step in range(3) if abs(largest) < 10 ** (11 + 3 * step)), 10**9)


def epoch_units(instant: datetime, scale: int) -> int | float:
    """An instant as such a number; an integer where it is one, so that it compares exactly."""
    units = (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * scale
    return units // 1_000_000 if units % 1_000_000 == 0 else units / 1_000_000


def wall_clock(instant: datetime, zone: ZoneInfo) -> datetime:
    """The earliest wall-clock time that no row before `instant` reaches; naive."""
    local = instant.astimezone(zone)
    if local.fold == 0:
        return local.replace(tzinfo=None)
    # Within the hour that is shown twice: what the wall clock showed at the last moment before it was set back.
    inside = instant.astimezone(UTC)
    before = local.replace(fold=0).utcoffset() or timedelta()
    after = local.utcoffset() or timedelta()
    outside = inside - (before - after)
    while inside - outside > timedelta(seconds=1):
        middle = outside + (inside - outside) / 2
        if middle.astimezone(zone).utcoffset() == after:
            inside = middle
        else:
            outside = middle
    change = inside.replace(microsecond=0)  # zones change on whole seconds
    return (change + before).replace(tzinfo=None)


def from_wall_clock(wall: datetime, zone: ZoneInfo) -> datetime:
    """The instant of a wall-clock time, the first one where clocks showed it twice."""
    return wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
