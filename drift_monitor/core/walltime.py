"""Between what a zone's clock on the wall shows and the instants at which it shows it.

A wall time is a naive datetime. Most are shown once; none while clocks jump over them; two times where clocks go back.
"""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

_SECOND = timedelta(seconds=1)  # no zone changes its clocks between two full seconds


def wall_at(instant: datetime, zone: ZoneInfo) -> datetime:
    """What the wall shows at an instant."""
    return instant.astimezone(zone).replace(tzinfo=None)


def showings(wall: datetime, zone: ZoneInfo) -> tuple[datetime, ...]:
    """The instants, in UTC and in order, at which the wall shows this time: none, one or two."""
    candidates = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    return tuple(sorted({instant for instant in candidates if wall_at(instant, zone) == wall}))


def first_reached(wall: datetime, zone: ZoneInfo) -> datetime:
    """The first instant, in UTC, at which the wall shows this time or, where clocks jump over it, a later one."""
    after = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if wall_at(after, zone) == wall:
        return after
    # The jump lies between what the offsets after it (fold 1) and before it (fold 0) make of the time left out.
    before = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    while after - before > _SECOND:
        middle = before + (after - before) // (2 * _SECOND) * _SECOND
        if wall_at(middle, zone) >= wall:
            after = middle
        else:
            before = middle
    return after
