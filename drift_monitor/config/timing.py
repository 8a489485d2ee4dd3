"""Times that must fit each other: schedule, panes, window, reference range and retention."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from drift_monitor.config.document import Path_
from drift_monitor.config.report import Draft, Report
from drift_monitor.config.sections import MonitorSection, ReferenceSection, RetentionSection
from drift_monitor.core.panes import PaneGrid
from drift_monitor.core.schedule import Cron, interval
from drift_monitor.core.times import format_duration, parse_instant
from drift_monitor.errors import InputError

_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)
DEFAULT_EVERY = _HOUR


def nominal_interval(section: MonitorSection) -> timedelta:
    """The usual time between two evaluations."""
    if section.cron is not None:
        return interval(Cron(section.cron, section.time_zone))
    return section.every or DEFAULT_EVERY


def effective_pane(section: MonitorSection) -> timedelta:
    """`pane`, by default the interval, at most an hour."""
    return section.pane or min(nominal_interval(section), _HOUR)


def check_schedule(report: Report, monitor: Draft[MonitorSection]) -> bool:
    """Whether the schedule is sound; tells where it is not."""
    section = monitor.section
    if not monitor.intact("every", "cron", "time_zone"):
        return False
    if section.cron is None:
        every = section.every or DEFAULT_EVERY
        if every > _DAY and every % _DAY:
            report.add((*monitor.path, "every"), "must be shorter than a day, or whole days")
            return False
        return True
    try:
        nominal_interval(section)
    except InputError as error:
        hint = "five fields: minute hour day month weekday, such as 5 * * * *"
        report.add((*monitor.path, "cron"), str(error), hint)
        return False
    return True


def check_panes(report: Report, monitor: Draft[MonitorSection]) -> PaneGrid | None:
    """The grid, if the pane is sound by itself; tells where it does not divide `every` and `window`."""
    if not check_schedule(report, monitor) or not monitor.intact("pane"):
        return None
    section = monitor.section
    pane = effective_pane(section)
    if pane > _DAY and pane % _DAY:
        report.add((*monitor.path, "pane"), "must be shorter than a day, or whole days")
        return None
    try:
        grid = PaneGrid(pane, section.time_zone)
    except InputError as error:
        report.add((*monitor.path, "pane"), str(error))
        return None
    if section.cron is None:
        check_multiple(report, section.every or DEFAULT_EVERY, pane, (*monitor.path, "every"))
    if monitor.intact("window"):
        check_multiple(report, section.window, pane, (*monitor.path, "window"))
    return grid


def check_multiple(report: Report, length: timedelta, pane: timedelta, path: Path_) -> None:
    """A length of time must be whole panes."""
    if not length % pane:
        return
    found, panes = format_duration(length), format_duration(pane)
    if path in report.document.places:
        report.add(path, f"must be whole panes of {panes}, found {found}", "pane sets how finely counts are stored")
    else:
        hint = f"state {path[-1]}, or another pane"
        report.add((*path[:-1], "pane"), f"{panes} does not divide {path[-1]}, by default {found}", hint)


def check_reference_times(
    report: Report, monitor: Draft[MonitorSection], reference: Draft[ReferenceSection], grid: PaneGrid | None
) -> None:
    """Ranges in whole panes that lie where they can be read."""
    section, path = reference.section, reference.path
    if monitor.intact("time_zone") and reference.intact("from", "to"):
        _check_range(report, monitor.section.time_zone, reference, grid)
    if grid is None:
        return
    if section.trailing is not None and reference.intact("trailing"):
        check_multiple(report, section.trailing, grid.length, (*path, "trailing"))
    if section.gap is not None and reference.intact("gap"):
        check_multiple(report, section.gap, grid.length, (*path, "gap"))
    period = section.same_period
    if period is None or not reference.intact("same_period"):
        return
    every = (*path, "same_period", "every")
    check_multiple(report, period.every, grid.length, every)
    if monitor.intact("window") and period.every < monitor.section.window:
        window = format_duration(monitor.section.window)
        report.add(every, f"is shorter than the window of {window}: live and reference would share rows")


def _check_range(report: Report, zone: ZoneInfo, reference: Draft[ReferenceSection], grid: PaneGrid | None) -> None:
    instants: list[datetime] = []
    for key, text in (("from", reference.section.from_), ("to", reference.section.to)):
        if text is None:
            return
        path = (*reference.path, key)
        try:
            instants.append(parse_instant(text, zone))
        except InputError as error:
            report.add(path, str(error))
            continue
        if grid is not None and not grid.is_bound(instants[-1]):
            pane = format_duration(grid.length)
            before = grid.floor(instants[-1]).astimezone(zone).isoformat()
            report.add(path, f"is no bound of a pane of {pane}", f"the last bound before it is {before}")
    if len(instants) == 2 and instants[0] >= instants[1]:
        report.add((*reference.path, "to"), "must be later than from")


def lookback(window: timedelta, reference: ReferenceSection) -> timedelta:
    """How far back an evaluation needs stored panes."""
    if reference.trailing is not None:
        return window + reference.trailing + (reference.gap or timedelta(0))
    if reference.same_period is not None:
        return window + reference.same_period.every * reference.same_period.count
    return window


def check_retention(
    report: Report, retention: RetentionSection, monitor: Draft[MonitorSection], reference: Draft[ReferenceSection]
) -> None:
    """Panes must live as long as they are looked at."""
    sound = monitor.intact("window") and reference.intact("trailing", "gap", "same_period")
    needed = lookback(monitor.section.window, reference.section) if sound else timedelta(0)
    if needed > retention.panes:
        kept = format_duration(retention.panes)
        message = f"looks back {format_duration(needed)}, but panes are kept for {kept}"
        report.add(reference.path, message, f"set store.retention.panes to {format_duration(needed)} or more")
