"""Since when somebody watches without a gap: what happened before is nobody's fault.

A daemon that was stopped or a machine that slept has seen nothing meanwhile. The wall clock tells: two rounds that are
too far apart, or in the wrong order, begin a new vigil.
"""

from datetime import datetime, timedelta


class Vigil:
    """Kept by calling `watched_since` every round; rounds further apart than `gap` break it."""

    def __init__(self, gap: timedelta) -> None:
        self._gap = gap
        self._since: datetime | None = None
        self._last: datetime | None = None

    def watched_since(self, now: datetime) -> datetime:
        """When this vigil began."""
        goes_on = self._last is not None and timedelta(0) <= now - self._last <= self._gap
        if self._since is None or not goes_on:
            self._since = now
        self._last = now
        return self._since
