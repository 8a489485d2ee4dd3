"""What a single key can't know: names that dangle or stand twice, rules that can't fire, times that don't fit.

Every check looks only at keys that are sound, so that one mistake is never told twice in other words.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from drift_monitor.config.document import Path_
from drift_monitor.config.outbound import ANYWHERE, OutboundConfig
from drift_monitor.config.receivers import KINDS, EmailConfig, Integration, ReceiverConfig
from drift_monitor.config.report import Draft, Report, close_match
from drift_monitor.config.schema import (
    FORMS,
    HOUR,
    Config,
    FeatureConfig,
    FixedRange,
    MonitorConfig,
    Reference,
    Retention,
    SamePeriod,
    Trailing,
    form_of,
)
from drift_monitor.config.values import BinsSection, RuleSection
from drift_monitor.core.binning import Binning, Edges, Top
from drift_monitor.core.bins import Kind
from drift_monitor.core.divergence import Metric
from drift_monitor.core.rules import Rule
from drift_monitor.core.schedule import PaneGrid
from drift_monitor.core.times import format_duration, parse_instant
from drift_monitor.errors import InputError

_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_BELONGS = {"where": ("table", "query"), "source": ("table", "query"), "to": ("from",), "gap": ("trailing",)}
_DAY = timedelta(days=1)


def check(report: Report[Config]) -> None:
    """Every check of a configuration that was read."""
    names = {key: _names(report, key) for key in ("sources", "monitors", "receivers")}
    for section in ("store", "sources"):
        _note_passwords(report, section)
    _check_receivers(report)
    _check_rules(report, report.drafts(RuleSection, ("rules",)))
    retention = report.draft(Retention, ("store", "retention"))
    for monitor in report.drafts(MonitorConfig, ("monitors",)):
        path = monitor.path
        if monitor.intact("source"):
            _check_name(report, monitor.section.source, (*path, "source"), "source", names["sources"])
        if monitor.intact("receivers"):
            for index, name in enumerate(monitor.section.receivers):
                _check_name(report, name, (*path, "receivers", index), "receiver", names["receivers"])
                if name in monitor.section.receivers[:index]:
                    message = f"the receiver {name!r} stands twice"
                    report.add((*path, "receivers", index), message, "remove one")
        _check_features(report, monitor)
        _check_rules(report, report.drafts(RuleSection, (*path, "rules")))
        grid = _check_panes(report, monitor)
        if grid is not None:
            _check_steps(report, monitor, grid)
        written = report.at((*path, "reference"))
        reference = report.draft(form_of(written), (*path, "reference")) if written is not None else None
        if reference is None:
            continue
        _check_form(report, reference)
        if "source" in reference.written and reference.intact("source"):
            source = reference.written["source"]
            _check_name(report, source, (*reference.path, "source"), "source", names["sources"])
        _check_reference_times(report, monitor, reference, grid)
        if retention is not None and retention.intact("panes"):
            _check_retention(report, retention.section, monitor, reference)


def _names(report: Report[Config], key: str) -> list[str]:
    """The names in a list of sections as written, whatever else is wrong with them; each may stand there once."""
    items = report.at((key,))
    _check_unique(report, items, (key,))
    names = (item.get("name") for item in items if isinstance(item, Mapping)) if isinstance(items, list) else ()
    return list(dict.fromkeys(name for name in names if isinstance(name, str)))


def _check_unique(report: Report[Config], items: Any, path: Path_) -> None:
    seen: dict[str, int] = {}
    for index, item in enumerate(items if isinstance(items, list) else ()):
        name = item.get("name") if isinstance(item, Mapping) else item
        if not isinstance(name, str):
            continue
        where: Path_ = (*path, index, "name") if isinstance(item, Mapping) else (*path, index)
        if name in seen:
            first = report.document.place((*path, seen[name])).line
            report.add(where, f"the name {name!r} is taken", f"the first is in line {first}")
        seen.setdefault(name, index)


def _check_name(report: Report[Config], name: str, path: Path_, kind: str, known: Sequence[str]) -> None:
    """A name must be one of the configured."""
    if name not in known:
        configured = f"configured: {', '.join(known)}" if known else f"no {kind} is configured"
        report.add(path, f"there is no {kind} {name!r}", close_match(name, list(known)) or configured)


def _note_passwords(report: Report[Config], key: str) -> None:
    """A literal password in the URL of a database."""
    items = report.at((key,))
    paths: list[Path_] = [(key, index) for index in range(len(items))] if isinstance(items, list) else [(key,)]
    for path in paths:
        place = report.document.places.get((*path, "url"))
        user, at, _ = ((place and place.text) or "").partition("://")[2].partition("@")
        _, colon, password = user.partition(":")
        if at and colon and password and not password.startswith("${"):
            hint = "use url_file or a ${VARIABLE}"
            if any(sign in password for sign in "/?#"):
                hint += "; other programs need %2F for '/', %3F for '?' and %23 for '#' in it"
            report.note((*path, "url"), "a password stands in the configuration", hint)


def _check_receivers(report: Report[Config]) -> None:
    outbound = report.draft(OutboundConfig, ("outbound",))
    # Where `allow` is a mistake itself, nothing is held against it.
    allowed = outbound.section if outbound is not None and outbound.intact("allow") else ANYWHERE
    for receiver in report.drafts(ReceiverConfig, ("receivers",)):
        if "alertmanager" in receiver.written and receiver.section.repeat_interval is not None:
            message = "is not for an Alertmanager, which is told every minute and repeats by itself"
            hint = "remove it; how often people are told stands in the Alertmanager's own configuration"
            report.add((*receiver.path, "repeat_interval"), message, hint, at_key=True)
        for key, kind in KINDS.items():
            path = (*receiver.path, key)
            if allowed.allow is not None and key in receiver.written and kind.target is None:
                message = f"goes where {key.capitalize()} likes, so outbound.allow can't hold for it"
                report.add(path, message, "remove one of the two", at_key=True)
            section: Integration | None = getattr(receiver.section, key)
            if section is None or not receiver.intact(key):
                continue
            if isinstance(section, EmailConfig):
                _check_mail(report, section, path)
            if not all(allowed.could_permit(host) for host in section.hosts()):
                report.add(path, "outbound.allow does not name its host", "add it there", at_key=True)


def _check_mail(report: Report[Config], section: EmailConfig, path: Path_) -> None:
    """A user has a password, and it crosses no network in the clear."""
    password = section.auth_password is not None or section.auth_password_file is not None
    if section.auth_username is not None and not password:
        report.add((*path, "auth_username"), "needs auth_password or auth_password_file", at_key=True)
    if password and section.auth_username is None:
        report.add(path, "a password needs auth_username", at_key=True)
    host = section.smarthost.rpartition(":")[0]
    if password and not section.require_tls and host not in _LOOPBACK:
        message = "would send the password in the clear"
        report.add((*path, "require_tls"), message, "only a server on this machine may be talked to so", at_key=True)


def _check_features(report: Report[Config], monitor: Draft[MonitorConfig]) -> None:
    """Names stand once, bins fit the kind, `exclude` belongs to `features: all`."""
    section, path = monitor.section, (*monitor.path, "features")
    _check_unique(report, report.at(path), path)
    if section.exclude and monitor.intact("features", "exclude") and section.features != "all":
        message = "belongs to features: all; a list names what is watched"
        report.add((*monitor.path, "exclude"), message, "remove exclude", at_key=True)
    for feature in report.drafts(FeatureConfig, path):
        if feature.intact("bins", "kind") and feature.section.bins is not None:
            _check_bins(report, feature.section.bins, feature.section.kind, (*feature.path, "bins"))


def _check_bins(report: Report[Config], bins: Binning, kind: Kind | None, path: Path_) -> None:
    key = next(iter(BinsSection.written(bins)))
    if kind is Kind.BOOLEAN:
        report.add(path, "a boolean feature has its own two bins", "remove bins", at_key=True)
    elif kind is Kind.CATEGORICAL and not isinstance(bins, Top):
        report.add((*path, key), "categories have no order to cut", "use top, or kind: numeric", at_key=True)
    elif kind is Kind.NUMERIC and isinstance(bins, Top):
        hint = "use quantiles, uniform or edges, or kind: categorical"
        report.add((*path, key), "is for categories; this feature is numeric", hint, at_key=True)
    if not isinstance(bins, Edges):
        return
    for index, (low, high) in enumerate(pairwise(bins.edges), start=1):
        if not low < high:
            message = f"edges must increase strictly: {high!r} follows {low!r}"
            report.add((*path, "edges", index), message)
            return
    note = f"a value equal to the last edge, {bins.edges[-1]!r}, counts as `above`"
    where: Path_ = (*path, "edges", len(bins.edges) - 1)
    report.note(where, note, "set it higher if such values belong into the last bin")


def _check_rules(report: Report[Config], rules: Sequence[Draft[Rule]]) -> None:
    """Rules of one list: ids that differ, thresholds that can be crossed, `on` where there is an interval."""
    seen: dict[str, Path_] = {}
    for draft in rules:
        rule, path = draft.section, draft.path
        if draft.intact("name", "metric", "severity"):
            if rule.id in seen:
                first = report.document.place(seen[rule.id]).line
                hint = f"the first is in line {first}; give one a name of its own"
                report.add(path, f"a rule {rule.id!r} exists already", hint)
            seen.setdefault(rule.id, path)
        if draft.intact("metric", "false_alarms"):
            _check_budget(report, draft)
        if "on" in draft.written and draft.intact("metric", "on") and not rule.metric.is_divergence:
            message = f"is for divergences; {rule.metric.value} is compared as it is"
            report.add((*path, "on"), message, "remove on", at_key=True)
        for key in ("above", "below"):
            if key in draft.written and draft.intact("metric", key):
                _check_threshold(report, rule, (*path, key))


def _check_budget(report: Report[Config], draft: Draft[Rule]) -> None:
    """Surprise is judged by a budget, and nothing else is; its level and its end follow from that."""
    if "false_alarms" not in draft.written:
        if draft.section.metric is Metric.SURPRISE:
            hint = "write `false_alarms: 1 per 28d` in place of metric and threshold"
            report.add((*draft.path, "metric"), "surprise has no threshold of its own", hint)
        return
    if draft.written.get("metric", Metric.SURPRISE.value) != Metric.SURPRISE.value:
        report.add((*draft.path, "metric"), "false_alarms is a budget of surprise", "remove metric", at_key=True)
    for key in ("on", "for", "keep_firing_for"):
        if key in draft.written:
            report.add((*draft.path, key), "belongs to a rule with a threshold", f"remove {key}", at_key=True)


def _check_threshold(report: Report[Config], rule: Rule, path: Path_) -> None:
    metric, threshold, is_above = rule.metric, rule.threshold, path[-1] == "above"
    written = report.document.place(path).text or ""
    largest, limit = metric.largest
    if metric is not Metric.FRESHNESS and written[-1:] in "ywdhms" and not written.startswith("$"):
        report.add(path, f"durations are for freshness; {metric.value} needs a number")
    elif is_above and threshold >= largest:
        hint = f"did you mean {threshold / 100:g}?" if 1 < threshold <= 100 and largest == 1 else ""
        report.add(path, f"can never fire: {metric.value} is never more than {limit}", hint)
    elif not is_above and threshold <= 0:
        report.add(path, f"can never fire: {metric.value} is never less than 0")
    elif is_above and threshold < 0:
        report.add(path, f"would always fire: {metric.value} is never less than 0")


def _check_form(report: Report[Config], reference: Draft[Reference]) -> None:
    """Keys of a reference that belong to another form of it."""
    written = reference.written
    forms = [key for key in FORMS if key in written]
    for key, owners in _BELONGS.items():
        if key in written and forms and not any(owner in written for owner in owners):
            message = f"belongs to a reference with {' or '.join(owners)}, not with {forms[0]}"
            report.add((*reference.path, key), message, "remove it", at_key=True)


def _check_steps(report: Report[Config], monitor: Draft[MonitorConfig], grid: PaneGrid) -> None:
    """A budget of false alarms judges windows of 1, 6 and 24 hours: one of them must be whole panes."""
    path = monitor.path if "rules" in monitor.written else ()
    if all("false_alarms" not in draft.written for draft in report.drafts(RuleSection, (*path, "rules"))):
        return
    if HOUR % grid.length and (grid.length % HOUR or _DAY % grid.length):
        written = "pane" if "pane" in monitor.written else "every"
        hint = "set `pane: 1h`, or another length that divides an hour or a day"
        report.add((*monitor.path, written), "a budget of false alarms judges whole hours", hint)


def _check_panes(report: Report[Config], monitor: Draft[MonitorConfig]) -> PaneGrid | None:
    """The grid, if schedule and pane are sound by themselves; tells where it does not divide `every` and `window`."""
    section, path = monitor.section, monitor.path
    if not monitor.intact("every", "cron", "time_zone"):
        return None
    every = section.every or HOUR
    if section.cron is None and every > _DAY and every % _DAY:
        report.add((*path, "every"), "must be shorter than a day, or whole days")
        return None
    try:
        pane = section.effective_pane
    except InputError as error:
        hint = "five fields: minute hour day month weekday, such as 5 * * * *"
        report.add((*path, "cron"), str(error), hint)
        return None
    if not monitor.intact("pane"):
        return None
    if pane > _DAY and pane % _DAY:
        report.add((*path, "pane"), "must be shorter than a day, or whole days")
        return None
    try:
        grid = PaneGrid(pane, section.time_zone)
    except InputError as error:
        report.add((*path, "pane"), str(error))
        return None
    if section.cron is None:
        _check_multiple(report, every, pane, (*path, "every"))
    if monitor.intact("window"):
        _check_multiple(report, section.window, pane, (*path, "window"))
    return grid


def _check_multiple(report: Report[Config], length: timedelta, pane: timedelta, path: Path_) -> None:
    """A length of time must be whole panes."""
    if not length % pane:
        return
    found, panes = format_duration(length), format_duration(pane)
    if path in report.document.places:
        report.add(path, f"must be whole panes of {panes}, found {found}", "pane sets how finely counts are stored")
    else:
        hint = f"state {path[-1]}, or another pane"
        report.add((*path[:-1], "pane"), f"{panes} does not divide {path[-1]}, by default {found}", hint)


def _check_reference_times(
    report: Report[Config], monitor: Draft[MonitorConfig], reference: Draft[Reference], grid: PaneGrid | None
) -> None:
    """Ranges in whole panes that lie where they can be read."""
    section, path = reference.section, reference.path
    if isinstance(section, FixedRange) and monitor.intact("time_zone"):
        _check_range(report, monitor.section, reference, grid)
    if grid is None:
        return
    if isinstance(section, Trailing):
        if reference.intact("trailing"):
            _check_multiple(report, section.trailing, grid.length, (*path, "trailing"))
        if reference.intact("gap"):
            _check_multiple(report, section.gap, grid.length, (*path, "gap"))
    if isinstance(section, SamePeriod) and reference.intact("same_period"):
        every: Path_ = (*path, "same_period", "every")
        _check_multiple(report, section.every, grid.length, every)
        if monitor.intact("window") and section.every < monitor.section.window:
            window = format_duration(monitor.section.window)
            report.add(every, f"is shorter than the window of {window}: live and reference would share rows")


def _check_range(
    report: Report[Config], monitor: MonitorConfig, reference: Draft[Reference], grid: PaneGrid | None
) -> None:
    zone = monitor.time_zone
    if "to" not in reference.written:
        return
    bounds: list[datetime] = []
    for key in ("from", "to"):
        if not reference.intact(key):
            continue
        path = (*reference.path, key)
        try:
            bounds.append(parse_instant(reference.written[key], zone))
        except InputError as error:
            report.add(path, str(error))
            continue
        if grid is not None and not grid.is_bound(bounds[-1]):
            pane = format_duration(grid.length)
            before = grid.floor(bounds[-1]).astimezone(zone).isoformat()
            report.add(path, f"is no bound of a pane of {pane}", f"the last bound before it is {before}")
    if len(bounds) == 2 and bounds[0] >= bounds[1]:
        report.add((*reference.path, "to"), "must be later than from")


def _check_retention(
    report: Report[Config], retention: Retention, monitor: Draft[MonitorConfig], reference: Draft[Reference]
) -> None:
    """Panes must live as long as they are looked at."""
    if not monitor.intact("window") or not reference.intact("trailing", "gap", "same_period"):
        return
    needed = monitor.section.window
    match reference.section:
        case Trailing() as trailing:
            needed += trailing.trailing + trailing.gap
        case SamePeriod() as periods:
            needed += periods.every * periods.count
    if needed > retention.panes:
        kept = format_duration(retention.panes)
        message = f"looks back {format_duration(needed)}, but panes are kept for {kept}"
        report.add(reference.path, message, f"set store.retention.panes to {format_duration(needed)} or more")
