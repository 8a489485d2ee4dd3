"""Tell Alertmanagers how alerts stand: at once where something changed, and otherwise so often that they don't forget.

Whether something changed is read from the store, so a change that another replica or a command made is told, too.
"""

from datetime import datetime, timedelta

from drift_monitor.monitoring.alerts.resend import has_listeners, resend
from drift_monitor.monitoring.services import Services
from drift_monitor.store import tellings


class Herald:
    """Called every tick; `every` is how long it keeps silent while nothing changes."""

    def __init__(self, every: timedelta) -> None:
        self._every = every
        self._last_change: tuple[datetime | None, datetime | None] | None = None
        self._last_round = 0.0

    def tell(self, services: Services) -> None:
        """One tick: a round of all Alertmanagers, where one is due."""
        if not has_listeners(services):
            return
        with services.store.read() as conn:
            change = tellings.last_change(conn)
        now = services.clock.monotonic()
        if change == self._last_change and now - self._last_round < self._every.total_seconds():
            return
        resend(services)
        self._last_change, self._last_round = change, now
