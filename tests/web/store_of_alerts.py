"""A store in which `country` of the monitor `loans` fires twice and `age` is quiet; its clock is at 12:06."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from drift_monitor.alerting.self_monitoring import check_monitors
from drift_monitor.alerting.services import Services
from drift_monitor.config.schema import MonitorConfig
from drift_monitor.config.web import WebConfig
from drift_monitor.core.bins import CategoricalBins, NumericBins, ValueType
from drift_monitor.core.divergence import Metric
from drift_monitor.core.rules import Rule, Severity
from drift_monitor.store import alerts
from drift_monitor.web.api.routes import api_routes
from tests.web.filled import HOUR, Counted, a_monitor, a_rule, filled
from tests.web.serving import Service, serving
from tests.web.snapshots import NOON

AGES = NumericBins((0, 18, 65), ValueType.INTEGER)
COUNTRIES = CategoricalBins(("DE", "FR", "IT"))
PATIENT = Rule(id="patient", metric=Metric.JS, above=0.01, for_windows=9, severity=Severity.INFO)
RULES = (a_rule(Metric.PSI, 0.1), a_rule(Metric.PSI, 0.25, Severity.CRITICAL), PATIENT)
LOANS = a_monitor("loans", ("age", "country"), rules=RULES, labels={"team": "risk"})
QUIET = Counted(AGES, (0, 500, 500, 0, 0, 0), (0, 500, 500, 0, 0, 0))
SAME = Counted(COUNTRIES, (500, 300, 200, 0, 0, 0), (500, 300, 200, 0, 0, 0))
NEW_LABELS = Counted(COUNTRIES, (250, 150, 100, 0, 500, 0), (500, 300, 200, 0, 0, 0))


def drifting(folder: Path, monitor: MonitorConfig = LOANS) -> Services:
    """A quiet window, and two in which half the countries are new."""
    drifted = {"age": QUIET, "country": NEW_LABELS}
    windows = {NOON - 2 * HOUR: {"age": QUIET, "country": SAME}, NOON - HOUR: drifted, NOON: drifted}
    services = filled(folder, monitor, windows)
    services.clock.moment = NOON + timedelta(minutes=6)  # type: ignore[attr-defined]
    return services


@contextmanager
def api_of(
    services: Callable[[], Services], *, may_change: bool = True, web_config: WebConfig | None = None
) -> Iterator[Service]:
    """A server with the API and nothing else."""
    with serving(web_config, routes=tuple(api_routes(services, may_change=lambda: may_change))) as service:
        yield service


def make_stale(services: Services) -> str:
    """Nobody evaluates `loans` for four hours: its alert about itself fires. The id of the episode."""
    services.clock.moment = NOON + 4 * HOUR  # type: ignore[attr-defined]
    check_monitors(services, NOON - HOUR)
    with services.store.read() as conn:
        (episode,) = [one for one in alerts.open_episodes(conn) if one.key.rule == "MonitorStale"]
    return episode.id


def open_episodes(services: Services) -> list[str]:
    """Their ids, oldest first."""
    with services.store.read() as conn:
        return [one.id for one in alerts.open_episodes(conn)]
