"""What a single key can't know: names that dangle or stand twice, rules that can't fire, bins that don't fit.

Every check looks only at keys that are sound, so that one mistake is never told twice in other words.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from drift_monitor.config.document import Path_
from drift_monitor.config.outbound import OutboundConfig
from drift_monitor.config.receiver_sections import EmailSection, ReceiverSection, kind_of
from drift_monitor.config.report import Draft, Report, close_match
from drift_monitor.config.sections import FeatureSection, MonitorSection, ReferenceSection, RuleSection
from drift_monitor.core.bins import Kind
from drift_monitor.core.divergence import Metric

_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_TARGETS = {
    "webhook": "url",
    "slack": "webhook_url",
    "pagerduty": "url",
    "alertmanager": "urls",
    "email": "smarthost",
}
_NUMERIC_BINS = ("quantiles", "uniform", "edges")


def names_of(items: Any) -> list[str]:
    """The names in a list of sections as written, whatever else is wrong with them."""
    if not isinstance(items, list):
        return []
    names = (item.get("name") if isinstance(item, Mapping) else None for item in items)
    return list(dict.fromkeys(name for name in names if isinstance(name, str)))


def check_unique_names(report: Report, items: Any, path: Path_) -> None:
    """Each name in a list of sections at most once."""
    seen: dict[str, int] = {}
    for index, item in enumerate(items if isinstance(items, list) else ()):
        name = item.get("name") if isinstance(item, Mapping) else item
        if not isinstance(name, str):
            continue
        where: Path_ = (*path, index, "name") if isinstance(item, Mapping) else (*path, index)
        if name in seen:
            first = report.place((*path, seen[name])).line
            report.add(where, f"the name {name!r} is taken", f"the first is in line {first}")
        seen.setdefault(name, index)


def check_reference_name(report: Report, name: str | None, path: Path_, kind: str, known: Sequence[str]) -> None:
    """A name must be one of the configured."""
    if name is None or name in known:
        return
    configured = f"configured: {', '.join(known)}" if known else f"no {kind} is configured"
    hint = close_match(name, list(known)) or configured
    report.add(path, f"there is no {kind} {name!r}", hint)


def check_receivers(report: Report, monitor: Draft[MonitorSection], known: Sequence[str]) -> None:
    """Receivers must exist, each at most once."""
    receivers = monitor.section.receivers
    if receivers is None or not monitor.intact("receivers"):
        return
    for index, name in enumerate(receivers):
        path = (*monitor.path, "receivers", index)
        check_reference_name(report, name, path, "receiver", known)
        if name in receivers[:index]:
            report.add(path, f"the receiver {name!r} stands twice", "remove one")


def check_features(report: Report, monitor: Draft[MonitorSection], features: Iterable[Draft[FeatureSection]]) -> None:
    """Bins fit the kind, edges increase, `exclude` belongs to `features: all`."""
    section = monitor.section
    if section.exclude and monitor.intact("features", "exclude") and section.features != "all":
        message = "belongs to features: all; a list names what is watched"
        report.add((*monitor.path, "exclude"), message, "remove exclude", at_key=True)
    for feature in features:
        if feature.intact("bins", "kind"):
            _check_bins(report, feature)


def _check_bins(report: Report, feature: Draft[FeatureSection]) -> None:
    bins, kind = feature.section.bins, feature.section.kind
    if bins is None:
        return
    path = (*feature.path, "bins")
    numeric = next((key for key in _NUMERIC_BINS if getattr(bins, key) is not None), None)
    if kind is Kind.BOOLEAN:
        report.add(path, "a boolean feature has its own two bins", "remove bins", at_key=True)
    elif kind is Kind.CATEGORICAL and numeric:
        report.add((*path, numeric), "categories have no order to cut", "use top, or kind: numeric", at_key=True)
    elif kind is Kind.NUMERIC and bins.top is not None:
        hint = "use quantiles, uniform or edges, or kind: categorical"
        report.add((*path, "top"), "is for categories; this feature is numeric", hint, at_key=True)
    if bins.edges is not None:
        _check_edges(report, bins.edges, (*path, "edges"))


def _check_edges(report: Report, edges: Sequence[int | float], path: Path_) -> None:
    for index, (low, high) in enumerate(pairwise(edges), start=1):
        if not low < high:
            report.add((*path, index), f"edges must increase strictly: {high!r} follows {low!r}")
            return
    note = f"a value equal to the last edge, {edges[-1]!r}, counts as `above`"
    report.note((*path, len(edges) - 1), note, "set it higher if such values belong into the last bin")


def check_rules(report: Report, rules: Sequence[Draft[RuleSection]]) -> None:
    """Rules of one list: ids that differ, thresholds that can be crossed, `on` where there is an interval."""
    seen: dict[str, Draft[RuleSection]] = {}
    for rule in rules:
        section, path = rule.section, rule.path
        if rule.intact("name", "metric", "severity"):
            if section.id in seen:
                first = report.place(seen[section.id].path).line
                hint = f"the first is in line {first}; give one a name of its own"
                report.add(path, f"a rule {section.id!r} exists already", hint)
            seen.setdefault(section.id, rule)
        if rule.intact("metric", "on") and section.on is not None and not section.metric.is_divergence:
            message = f"is for divergences; {section.metric.value} is compared as it is"
            report.add((*path, "on"), message, "remove on", at_key=True)
        _check_threshold(report, rule)


def _check_threshold(report: Report, rule: Draft[RuleSection]) -> None:
    section = rule.section
    for key, threshold in (("above", section.above), ("below", section.below)):
        if threshold is None or not rule.intact("metric", key):
            continue
        path = (*rule.path, key)
        written = report.place(path).text or ""
        largest, limit = section.metric.largest
        if section.metric is not Metric.FRESHNESS and written[-1:] in "ywdhms" and not written.startswith("$"):
            report.add(path, f"durations are for freshness; {section.metric.value} needs a number")
        elif key == "above" and threshold >= largest:
            hint = f"did you mean {threshold / 100:g}?" if 1 < threshold <= 100 and largest == 1 else ""
            report.add(path, f"can never fire: {section.metric.value} is never more than {limit}", hint)
        elif key == "below" and threshold <= 0:
            report.add(path, f"can never fire: {section.metric.value} is never less than 0")
        elif key == "above" and threshold < 0:
            report.add(path, f"would always fire: {section.metric.value} is never less than 0")


def check_repeats(report: Report, receiver: Draft[ReceiverSection]) -> None:
    """An Alertmanager is told how alerts stand, not when they repeat."""
    section = receiver.section
    if section.alertmanager is not None and section.repeat_interval is not None:
        message = "is not for an Alertmanager, which is told every minute and repeats by itself"
        hint = "remove it; how often people are told stands in the Alertmanager's own configuration"
        report.add((*receiver.path, "repeat_interval"), message, hint, at_key=True)


def check_outbound(
    report: Report, receiver: Draft[ReceiverSection], outbound: OutboundConfig, secrets: Mapping[Path_, SecretStr]
) -> None:
    """A receiver that `outbound.allow` can't hold for, or leaves no way to; `secrets` were read from files."""
    written = kind_of(receiver.section)
    if written is None or not receiver.intact(written[0]):
        return
    kind, section = written
    path = (*receiver.path, kind)
    if kind == "apprise":
        message = "goes where Apprise likes, so outbound.allow can't hold for it"
        report.add(path, message, "remove one of the two", at_key=True)
    key = _TARGETS.get(kind, "")
    target = getattr(section, key, None) or secrets.get((*path, key))
    if not all(outbound.could_permit(host) for host in _hosts(target)):
        report.add(path, "outbound.allow does not name its host", "add it there", at_key=True)


def _hosts(target: object) -> Iterator[str]:
    """The hosts of a URL, of several of them, or of a mail server."""
    for one in target if isinstance(target, tuple) else (target,):
        for text in one.get_secret_value().split() if isinstance(one, SecretStr) else ():
            yield _host(text)
        if isinstance(one, str):
            yield one.rpartition(":")[0].strip("[]")


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:  # a bracket that does not close
        return ""


def check_mail(report: Report, section: EmailSection, path: Path_) -> None:
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


def check_reference_keys(report: Report, reference: Draft[ReferenceSection], written: Mapping[str, Any]) -> None:
    """Keys of a reference that belong to another form of it."""
    belongs = {"where": ("table", "query"), "source": ("table", "query"), "to": ("from",), "gap": ("trailing",)}
    forms = [key for key in ("table", "query", "from", "trailing", "same_period") if key in written]
    for key, owners in belongs.items():
        if key in written and forms and not any(owner in written for owner in owners):
            message = f"belongs to a reference with {' or '.join(owners)}, not with {forms[0]}"
            report.add((*reference.path, key), message, "remove it", at_key=True)
    if "from" in written and "to" not in written:
        report.add((*reference.path, "from"), "needs to, where the range ends", at_key=True)
