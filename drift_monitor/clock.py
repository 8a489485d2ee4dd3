"""Real time, behind a protocol.

`SystemClock` is the only reader of the wall clock and of the monotonic clock in the package; every decision
elsewhere receives the moment as an argument.
"""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What may ask for the time."""

    def now(self) -> datetime:
        """The present moment, timezone-aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back; only differences mean anything."""
        ...


class SystemClock:
    """The clock of the machine."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()
