"""A proposal as the text of a configuration: complete, commented, and loaded by `run` as it is.

A URL with a password never gets into it: a variable of the environment stands in its place.
"""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import parse_qsl

from drift_monitor.config.schema import FixedRange, Trailing
from drift_monitor.core.clean import escape_unprintable
from drift_monitor.core.times import format_duration
from drift_monitor.setup.inspection import DAY
from drift_monitor.setup.proposal import Proposal, ProposedFeature
from drift_monitor.words import minute

URL_VARIABLE = "DRIFT_SOURCE_URL"
SOURCE = "source"
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "none"}  # YAML takes some for other things
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_PASSWORD = re.compile(r"[^:/@?]*:[^@]+@")
_SECRETS = {"password", "passwd", "pwd", "sslpassword"}


def configuration(proposal: Proposal, url: str, now: datetime) -> str:
    """The whole file. `now` tells whether the table still gets rows."""
    return "\n".join([*_head(proposal, url, now), *_monitor(proposal), *_tail()]) + "\n"


def holds_password(url: str) -> bool:
    """Whether a database URL has a password, before the host or among its parameters."""
    rest = url.partition("://")[2]
    if _PASSWORD.match(rest):
        return True
    query = rest.partition("?")[2]
    return any(name.lower() in _SECRETS for name, _ in parse_qsl(query))


def _head(proposal: Proposal, url: str, now: datetime) -> Iterator[str]:
    inspection = proposal.inspection
    history = inspection.history
    table = escape_unprintable(inspection.dataset.table or "")
    more = " or earlier" if history.is_longer else ""
    yield f"# Proposed by `drift-monitor init` for {table}. Read it, change what you know better, then:"
    yield "#"
    if holds_password(url):
        yield f"#   export {URL_VARIABLE}='...'     # the URL that init was given; it holds a password"
    yield "#   drift-monitor check-config --connect drift.yaml"
    yield "#   drift-monitor run --config.file=drift.yaml"
    yield "#"
    yield f"# The table has rows from {minute(history.start)}{more} to {minute(history.newest)} (UTC)."
    if now - history.newest > proposal.timing.window:
        last = _instant(history.end) if proposal.timing.pane < DAY else _instant(_midnight(history.end))
        yield "# It has none in the last window, so evaluations of now will find no data. Try one of then:"
        yield f"#   drift-monitor evaluate --config.file=drift.yaml --at {last}"
    yield ""
    yield "# Where results, alerts and counts are kept."
    yield "store:"
    yield "  url: sqlite:///drift.db"
    yield ""
    yield "# The database to read. It is only ever read."
    yield "sources:"
    yield f"  - name: {SOURCE}"
    yield f"    url: {f'${{{URL_VARIABLE}}}' if holds_password(url) else _text(url)}"
    yield "    max_connections: 2"
    yield "    statement_timeout: 30s"
    if inspection.is_naive:
        column = escape_unprintable(inspection.time_column.name)
        yield _noted("    time_zone: UTC", f"assumed: times in {column} do not say their zone. State the right one")
    yield ""


def _monitor(proposal: Proposal) -> Iterator[str]:
    inspection, timing = proposal.inspection, proposal.timing
    table, pane = inspection.dataset.table or "", format_duration(timing.pane)
    yield "monitors:"
    yield f"  - name: {_monitor_name(table)}"
    yield f"    source: {SOURCE}"
    yield f"    table: {_text(table)}"
    yield f"    time_column: {_text(inspection.time_column.name)}"
    yield f"    every: {pane}"
    yield _noted(f"    pane: {pane}", "counts are kept in slices of this length")
    yield _noted(f"    window: {format_duration(timing.window)}", timing.note)
    yield _noted("    settle: 5m", "a pane is read this long after its end")
    yield _noted("    revise: 1", "the last pane is read again, for rows that came late")
    yield _noted(f"    min_rows: {timing.min_rows}", "fewer rows on a side are `insufficient_data`, never an alert")
    yield f"    # {proposal.reference_note}"
    yield f"    reference: {_reference(proposal.reference)}"
    yield from _features(proposal)
    yield "    rules:"
    yield "      - {metric: psi, above: 0.1, severity: warning}"
    yield "      - {metric: psi, above: 0.25, severity: critical}"
    yield "      #- {metric: missing_ratio, above: 0.05}      # of live rows"
    yield "      #- {metric: unseen_ratio, above: 0.01}       # labels and values the reference never had"
    yield "      #- {metric: rows, below: 100}"
    yield "      #- {metric: freshness, above: 6h}            # age of the newest row"
    yield "    receivers: [log]"
    yield ""


def _features(proposal: Proposal) -> Iterator[str]:
    yield "    features:"
    entries = [_feature(feature) for feature in proposal.features]
    width = max(len(entry) for entry in entries)
    for entry, feature in zip(entries, proposal.features, strict=True):
        yield f"      - {entry:<{width}}  # {escape_unprintable(feature.note)}"
    if proposal.left_out:
        yield "    # Left out:"
    for name, reason in proposal.left_out:
        yield f"    #   {escape_unprintable(name)}: {escape_unprintable(reason)}"


def _feature(feature: ProposedFeature) -> str:
    bins = f", bins: {{{feature.bins[0]}: {feature.bins[1]}}}" if feature.bins else ""
    return f"{{name: {_text(feature.name)}, kind: {feature.kind.value}{bins}}}"


def _reference(reference: FixedRange | Trailing) -> str:
    if isinstance(reference, Trailing):
        return f"{{trailing: {format_duration(reference.trailing)}}}"
    return f"{{from: {_instant(reference.from_)}, to: {_instant(reference.to)}}}"


def _tail() -> Iterator[str]:
    yield "receivers:"
    yield "  - name: log"
    yield _noted("    log: {}", "a line in the service's log; webhooks are in docs/configuration.md")


def _noted(line: str, note: str) -> str:
    return f"{line:<24}# {note}"


def _monitor_name(table: str) -> str:
    """The table's name as a monitor can have it."""
    return re.sub(r"[^A-Za-z0-9_]+", "_", table).strip("_")[:100] or "table"


def _text(value: str) -> str:
    """A value as YAML reads it back, in quotes where it needs them; `${` starts no variable."""
    if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    quoted = json.dumps(value.replace("${", "$${"), ensure_ascii=False)
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", quoted)


def _instant(at: datetime) -> str:
    """A date where it is midnight, otherwise to the second; both UTC."""
    utc = at.astimezone(UTC)
    return f"{utc:%Y-%m-%d}" if utc == _midnight(utc) else f"{utc:%Y-%m-%dT%H:%M:%SZ}"


def _midnight(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
