"""When to try a failed delivery again: a pure function of the attempt, drawn with full jitter.

The ceiling doubles from 2 s to 5 min; the wait is drawn between 1 s and the ceiling, so that many notifications that
failed together don't come back together. A receiver that says `Retry-After` is given that time, up to an hour. After a
day a notification is given up: nobody is helped by yesterday's page.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

MIN_DELAY = timedelta(seconds=1)
MAX_DELAY = timedelta(minutes=5)
MAX_RETRY_AFTER = timedelta(hours=1)
MAX_AGE = timedelta(hours=24)


def delay(attempt: int, draw: Callable[[], float]) -> timedelta:
    """The wait after the `attempt`-th failure (from 1); `draw` gives a number in [0, 1)."""
    doublings = min(max(attempt, 1), 16)  # far above the ceiling, and no huge powers
    ceiling = min(MAX_DELAY, MIN_DELAY * (1 << doublings))
    return MIN_DELAY + (ceiling - MIN_DELAY) * draw()


def next_attempt(
    attempt: int, *, created_at: datetime, at: datetime, retry_after: float | None, draw: Callable[[], float]
) -> datetime | None:
    """The moment of the next try after a failure at `at`, or None: too old by then, give it up."""
    asked = timedelta(seconds=min(max(retry_after or 0.0, 0.0), MAX_RETRY_AFTER.total_seconds()))
    moment = at + max(delay(attempt, draw), asked)
    return moment if moment < created_at + MAX_AGE else None
