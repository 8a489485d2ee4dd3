"""Tell the store which monitors there are: what runs, histories and views refer to."""

from drift_monitor.alerting.episodes import close_removed
from drift_monitor.alerting.services import Services
from drift_monitor.core.schedule import jitter, next_slot
from drift_monitor.store import monitors
from drift_monitor.store.connection import Transaction
from drift_monitor.store.monitors import StoredMonitor


def register_monitors(services: Services, *, whole: bool) -> None:
    """Write every configured monitor; with `whole`, this configuration is all there is: others are disabled.

    What still fires for those ends, and is told.
    """

    def work(conn: Transaction) -> None:
        now = services.store.now(conn)
        known = {one.name: one for one in monitors.listed(conn)}
        for monitor in services.config.monitors:
            before = known.get(monitor.name)
            upcoming = next_slot(
                monitor.schedule,
                monitor.grid,
                settle=monitor.settle,
                jitter=jitter(monitor.name, monitor.schedule),
                after=now,
            )
            row = StoredMonitor(
                name=monitor.name,
                source=monitor.source,
                config_hash=monitor.hash,
                enabled=True,
                next_window_end=before.next_window_end if before else upcoming.window_end,
            )
            monitors.save(conn, row, monitor.public())
        if whole:
            for gone in monitors.disable_others(conn, [monitor.name for monitor in services.config.monitors]):
                close_removed(services, conn, gone)

    services.store.transact(work)
