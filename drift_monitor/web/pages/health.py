"""How each monitor is doing, in words: failing, stale, ok, or not evaluated yet. Never read from alert states."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from drift_monitor.config.schema import MonitorConfig
from drift_monitor.core.rules import Health
from drift_monitor.core.schedule import interval
from drift_monitor.queries.status import Status, next_run_at
from drift_monitor.web.metrics.snapshot import is_stale
from drift_monitor.web.pages.feature_rows import FeatureRow
from drift_monitor.words import age


@dataclass(frozen=True, kw_only=True)
class MonitorRow:
    """One monitor as a list shows it."""

    monitor: MonitorConfig
    health: str  # ok, stale, failing or waiting
    detail: str
    last_success_at: datetime | None
    next_run_at: datetime | None
    window_end: datetime | None
    live_rows: int | None
    features: Sequence[FeatureRow]

    def count(self, state: str) -> int:
        """How many features are in that state."""
        return sum(row.state == state for row in self.features)


def monitor_row(monitor: MonitorConfig, features: Sequence[FeatureRow], standing: Status, at: datetime) -> MonitorRow:
    """The monitor as it stands at `at`."""
    done = standing.done.get(monitor.name)
    health, detail = _health(monitor, standing, at)
    return MonitorRow(
        monitor=monitor,
        health=health,
        detail=detail,
        last_success_at=done.finished_at if done else None,
        next_run_at=next_run_at(monitor, standing),
        window_end=done.key.window_end if done else None,
        live_rows=done.result.get("live_rows") if done and done.result else None,
        features=features,
    )


def _health(monitor: MonitorConfig, standing: Status, at: datetime) -> tuple[str, str]:
    tried, done = standing.tried.get(monitor.name), standing.done.get(monitor.name)
    if tried is None:
        return "waiting", "not evaluated yet"
    if tried.health is Health.ERROR:
        since = f"; last success {age(at - done.finished_at)} ago" if done and done.finished_at else ""
        return "failing", f"{tried.error or tried.error_code or 'the last evaluation failed'}{since}"
    finished = done.finished_at if done else None
    if is_stale(finished, interval(monitor.schedule), at):
        return "stale", "no evaluation for more than three intervals: is the service running?"
    return "ok", ""
