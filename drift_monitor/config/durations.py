"""Durations as Prometheus writes them: `30s`, `10m`, `1h30m`, `7d`; units from large to small, each at most once."""

import re
from datetime import timedelta

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
_PATTERN = re.compile("".join(rf"(?:(?P<{unit}>[0-9]{{1,12}}){unit})?" for unit in _MILLISECONDS))
_LONGEST = timedelta(days=36_500)  # a hundred years: beyond it date arithmetic overflows
EXPECTED = "a duration such as 30s, 10m, 1h30m or 7d"


def parse_duration(text: str) -> timedelta:
    """The duration a text stands for; `0` needs no unit. Raises InputError."""
    if text == "0":
        return timedelta(0)
    match = _PATTERN.fullmatch(text)
    if not text or match is None:
        raise InputError(f"{text!r} is not {EXPECTED}")
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
