"""Moments and durations as text, written and read in one place.

Durations are those of Prometheus: `30s`, `10m`, `1h30m`, `7d`; units from large to small, each at most once.
"""

import re
from datetime import UTC, datetime, timedelta, tzinfo

from drift_monitor.errors import InputError

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
        return local.astimezone(UTC)
    except (ValueError, OverflowError):
        raise InputError(f"{text!r} is no date such as 2026-09-01 or 2026-09-01T06:00") from None


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
