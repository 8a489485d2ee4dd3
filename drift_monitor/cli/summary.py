"""What the demo tells at its end: which known incidents were found, and where to look next.

Made for a terminal of 80 columns: an incident takes a few short lines, and nothing is cut.
"""

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from drift_monitor.alerting.services import Services
from drift_monitor.cli.tables import plain
from drift_monitor.demo.data import DemoData
from drift_monitor.demo.database import History
from drift_monitor.demo.incidents import Incident
from drift_monitor.store import alerts
from drift_monitor.store.alerts import AlertRow, Episode
from drift_monitor.words import minute

NOTICED_WITHIN = timedelta(hours=24)
_DAY = "%Y-%m-%d"


@dataclass(frozen=True, kw_only=True)
class IncidentResult:
    """What became of one labelled incident: the first episode of its feature within a day of its start."""

    incident: Incident
    episode: Episode | None


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What the demo's monitor has found by now. `verdicts` is empty where nothing is known to be wrong."""

    monitor: str
    title: str
    verdicts: Sequence[IncidentResult]
    episodes: Sequence[Episode]
    firing: Sequence[AlertRow]


def verdicts(services: Services, data: DemoData, history: History) -> Sequence[IncidentResult]:
    """For each incident that began a day ago or earlier, the first episode that it opened."""
    return summarise(services, data, history).verdicts


def summarise(services: Services, data: DemoData, history: History) -> Summary:
    """What the store holds about the demo's monitor."""
    with services.store.read() as conn:
        episodes = sorted(alerts.episodes(conn, monitor=data.monitor), key=lambda one: one.opened_window)
        firing = alerts.firing(conn, data.monitor)
    found = [
        IncidentResult(incident=incident, episode=next((one for one in episodes if _belongs(one, incident)), None))
        for incident in data.incidents(history)
        if incident.start + NOTICED_WITHIN <= services.clock.now()
    ]
    return Summary(monitor=data.monitor, title=data.title, verdicts=found, episodes=episodes, firing=firing)


def incident_table(summary: Summary) -> Table:
    """One row an incident: what happened, when, and how soon which rule fired."""
    table = Table(title=summary.title, box=box.SIMPLE_HEAD)
    for column in ("Incident", "Started", "First alert"):
        table.add_column(column, overflow="fold")
    for one in summary.verdicts:
        what = Text.assemble((one.incident.feature, "bold"), "\n", one.incident.description)
        table.add_row(what, minute(one.incident.start), _first_alert(one))
    return table


def episode_table(summary: Summary) -> Table:
    """One row a feature that drifted, where no incident is known beforehand."""
    table = Table(title=summary.title, box=box.SIMPLE_HEAD)
    for column in ("Feature", "Alerts", "First", "Last", "Peak"):
        table.add_column(column, justify="right" if column in ("Alerts", "Peak") else "left", overflow="fold")
    grouped: dict[str, list[Episode]] = {}
    for one in summary.episodes:
        grouped.setdefault(one.key.feature or "(all rows)", []).append(one)
    for feature, episodes in dict(sorted(grouped.items(), key=lambda item: -len(item[1]))).items():
        worst = max(episodes, key=lambda one: one.peak_value or 0.0)
        peak = "" if worst.peak_value is None else f"{worst.metric} {worst.peak_value:.2f}"
        first, last = episodes[0].opened_window, episodes[-1].opened_window
        table.add_row(plain(feature), str(len(episodes)), f"{first:{_DAY}}", f"{last:{_DAY}}", peak)
    return table


def counted(summary: Summary) -> str:
    """The whole in one line."""
    found = sum(one.episode is not None for one in summary.verdicts)
    incidents = f"{found} of {len(summary.verdicts)} incidents found. " if summary.verdicts else ""
    return f"{incidents}Alerts: {len(summary.episodes)} fired so far, {len(summary.firing)} firing now."


def signposts(summary: Summary, *, url: str | None, config_file: Path, log_file: Path) -> Table:
    """Where to look next; `url` is None where nothing is served."""
    flags = f"--config.file {config_file} --monitor {summary.monitor}"
    feature = (
        summary.firing[0].key.feature
        if summary.firing
        else next((one.key.feature for one in reversed(summary.episodes) if one.key.feature), "FEATURE")
    )
    program = program_name()
    served = {} if url is None else {"Pages": f"{url}/", "Metrics": f"{url}/metrics"}
    lines: Mapping[str, str] = {
        **served,
        "Configuration": str(config_file),
        "Log and alerts": str(log_file),
        "One feature": f"{program} explain {flags} --feature {feature}",
        "Its history": f"{program} history {flags} --feature {feature} --from -7d",
        "Your own table": f"{program} init URL TABLE > drift.yaml",
    }
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, text in lines.items():
        table.add_row(Text(name, style="bold"), Text(text, overflow="fold"))
    return table


def program_name() -> str:
    """How this program can be called from here: by its name where the shell finds it, else by its path."""
    called = Path(sys.argv[0])
    if called.name != "drift-monitor":
        return "drift-monitor"
    found = shutil.which(called.name)
    if found is not None and Path(found).absolute() == called.absolute():
        return called.name
    place = called.absolute()
    return str(place.relative_to(Path.cwd())) if place.is_relative_to(Path.cwd()) else str(place)


def _first_alert(one: IncidentResult) -> Text:
    if one.episode is None:
        return Text("not found", style="bold red")
    hours = (one.episode.opened_window - one.incident.start) / timedelta(hours=1)
    return Text.assemble((f"after {hours:.0f} h", "green"), "\n", one.episode.key.rule)


def _belongs(episode: Episode, incident: Incident) -> bool:
    opened = episode.opened_window
    return episode.key.feature == incident.feature and incident.start < opened <= incident.start + NOTICED_WITHIN
