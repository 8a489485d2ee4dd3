"""What a first configuration for a table should say: features, schedule, reference, each with the reason; as a text.

Everything is a proposal that a person reads, so every choice carries a note. Keys are left out because a
distribution of keys says nothing; other columns are watched, whatever they look like.

The text is complete and commented, and `run` loads it as it is. A URL with a password never gets into it: a variable
of the environment stands in its place.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from urllib.parse import parse_qsl

from drift_monitor.config.schema import FixedRange, Trailing
from drift_monitor.core.binning import KEY_NAME, UNIQUE, CategoricalProfile, NumericProfile, Profile, is_key
from drift_monitor.core.bins import Kind, ValueType
from drift_monitor.core.schedule import Span
from drift_monitor.core.times import escape_unprintable, format_duration
from drift_monitor.errors import FeatureError, InputError
from drift_monitor.setup.inspection import DAY, HOUR, Inspection, TableHistory, inspect_table, sounds_like_time
from drift_monitor.sources.dataset import FeatureColumn
from drift_monitor.sources.source import Source
from drift_monitor.words import minute

MIN_ROWS = 200
_FEWEST_ROWS = 20  # fewer say nothing at all
_QUANTILES, _TOP = 16, 30
_OWN_BINS = 16  # so many distinct numbers have a bin each
_LONGEST_REFERENCE = timedelta(days=28)
_PARTS = 5  # of the reference, in which a column that grows with time is higher each time
_UNITS = {"date": " days since 1970", "interval": " seconds"}  # of columns that are numbers of something
_SHORTEST_HISTORY = 2 * DAY

URL_VARIABLE = "DRIFT_SOURCE_URL"
SOURCE = "source"
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "none"}  # YAML takes some for other things
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_PASSWORD = re.compile(r"[^:/@?]*:[^@]+@")
_SECRETS = {"password", "passwd", "pwd", "sslpassword"}


@dataclass(frozen=True, kw_only=True)
class ProposedFeature:
    """A column to watch. `bins`: the key and count of its bins; None for two truth values."""

    name: str
    kind: Kind
    bins: tuple[str, int] | None
    note: str


@dataclass(frozen=True, kw_only=True)
class Timing:
    """How often a monitor looks, and at how much. `every` is as long as a pane."""

    pane: timedelta
    window: timedelta
    min_rows: int
    note: str


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """All that a configuration for one table needs. `left_out`: columns that are not watched, with the reason."""

    inspection: Inspection
    features: Sequence[ProposedFeature]
    left_out: Sequence[tuple[str, str]]
    timing: Timing
    reference: FixedRange | Trailing
    reference_note: str


def propose(source: Source, table: str, now: datetime, time_column: str | None = None) -> Proposal:
    """Look at a table and propose how to watch it. Raises InputError where it has no times, SourceError."""
    inspection = inspect_table(source, table, now, time_column)
    history = inspection.history
    timing = _timing(history, is_daily=inspection.is_daily)
    reference, note = _reference(history, timing)
    span = (
        Span(reference.from_, reference.to) if isinstance(reference, FixedRange) else Span(history.start, history.end)
    )
    features, left_out = _features(source, inspection, span)
    if not features:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out) or "it has no other column than its time"
        raise InputError(f"table {table!r} has no column to watch: {reasons}")
    return Proposal(
        inspection=inspection,
        features=features,
        left_out=left_out,
        timing=timing,
        reference=reference,
        reference_note=note,
    )


def _timing(history: TableHistory, *, is_daily: bool) -> Timing:
    """The shortest window that has rows enough on a weak day."""
    whole = history.daily[1:] or history.daily  # the first day has rows in a part of it only
    days = sorted(whole[-28:])
    weak = days[len(days) // 10]
    usual = sum(days) / len(days)
    about = f"about {usual:,.0f} rows a day"
    if weak >= MIN_ROWS:
        return Timing(pane=DAY if is_daily else HOUR, window=DAY, min_rows=MIN_ROWS, note=f"the last day: {about}")
    for window in (7, 28):
        if window * usual >= MIN_ROWS:
            note = f"{about}, so that a window needs {window} days"
            return Timing(pane=DAY, window=window * DAY, min_rows=MIN_ROWS, note=note)
    least = max(_FEWEST_ROWS, int(28 * usual / 2))
    return Timing(pane=DAY, window=28 * DAY, min_rows=least, note=f"{about} only, so that small windows must do")


def _reference(history: TableHistory, timing: Timing) -> tuple[FixedRange | Trailing, str]:
    """The older part of the rows, at most four weeks; what slides where there is no older part."""
    if history.length < _SHORTEST_HISTORY:
        trailing = 7 * timing.window if timing.window == DAY else 4 * timing.window
        return Trailing(trailing=min(trailing, _LONGEST_REFERENCE)), (
            "there is no older part to compare with yet; measured once half of that is there"
        )
    live = max(history.length / 4, min(timing.window, history.length / 2))
    unit = DAY if timing.pane >= DAY or history.length >= 14 * DAY else HOUR
    to = _floor(history.end - live, unit)
    start = _floor(history.start, unit)
    if start + unit < to and history.start > start:
        start += unit  # the first one has rows in a part of it only
    start = max(start, to - _LONGEST_REFERENCE)
    if start >= to:
        start = to - unit
    return FixedRange(**{"from": start, "to": to}), "an older part of its rows: choose a time when all was well"


def _floor(at: datetime, unit: timedelta) -> datetime:
    since = at - datetime(1970, 1, 1, tzinfo=UTC)
    return at - since % unit


def _features(
    source: Source, inspection: Inspection, span: Span
) -> tuple[Sequence[ProposedFeature], Sequence[tuple[str, str]]]:
    columns = inspection.description.columns
    time = inspection.time_column.name
    watched = [name for name, info in columns.items() if info.kind is not None and name != time]
    numbers = [name for name in watched if columns[name].kind is Kind.NUMERIC]
    growing = _growing(source, inspection, numbers, span)
    profiles = source.profile(inspection.dataset, [FeatureColumn(feature=name, column=name) for name in watched], span)
    features: list[ProposedFeature] = []
    left_out = [(name, "our role may not read it") for name in inspection.description.forbidden]
    for name, info in columns.items():
        if name == time:
            continue
        if name in growing:
            found: ProposedFeature | str = "grows with time, so that every window would differ from those before"
        elif name in profiles:
            found = _feature(name, profiles[name], _UNITS.get(info.native, ""))
        else:
            found = f"{info.sql_type or 'its type'} has no bins"
        if isinstance(found, str):
            left_out.append((name, found))
        else:
            features.append(found)
    return features, left_out


def _growing(source: Source, inspection: Inspection, names: Sequence[str], span: Span) -> set[str]:
    """Columns whose values in each part of the span lie above those of the part before."""
    length = (span.end - span.start) / _PARTS
    if length >= DAY:
        length -= length % DAY
    parts = [Span(span.start + number * length, span.start + (number + 1) * length) for number in range(_PARTS)]
    if inspection.is_daily and length < DAY:
        return set()
    columns = [FeatureColumn(feature=name, column=name) for name in names]
    ends: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for part in parts if names else []:
        for name, profile in source.profile(inspection.dataset, columns, part).items():
            if isinstance(profile, NumericProfile) and len(profile.sample) >= _FEWEST_ROWS:
                values = sorted(map(float, profile.sample))
                ends[name].append((values[len(values) // 20], values[-1 - len(values) // 20]))
    return {
        name
        for name, found in ends.items()
        if len(found) == _PARTS and all(before[1] < after[0] for before, after in pairwise(found))
    }


def _feature(name: str, profile: Profile | FeatureError, unit: str) -> ProposedFeature | str:
    """The feature, or why it is left out."""
    if not name.strip():
        return "its name is blank"
    match profile:
        case FeatureError():
            return str(profile)
        case NumericProfile():
            return _number(name, profile, unit)
        case CategoricalProfile():
            return _label(name, profile)
        case _:
            return ProposedFeature(name=name, kind=Kind.BOOLEAN, bins=None, note="true or false")


def _number(name: str, profile: NumericProfile, unit: str) -> ProposedFeature | str:
    if profile.minimum is None or profile.maximum is None:
        return "it has no values in the reference"
    if profile.minimum == profile.maximum and len(profile.sample) == profile.rows:
        return f"it is always {profile.minimum:.6g} in the reference"
    values = {float(value) for value in profile.sample}
    if profile.value_type is ValueType.INTEGER:
        if is_key(name, profile):
            return "looks like a key; with `kind: categorical` its most frequent values could be watched"
        if values == {0.0, 1.0}:
            return ProposedFeature(name=name, kind=Kind.BOOLEAN, bins=None, note="0 or 1")
        if KEY_NAME.fullmatch(name):
            note = f"{len(values)} different keys"
            return ProposedFeature(name=name, kind=Kind.CATEGORICAL, bins=("top", _TOP), note=note)
    if sounds_like_time(name) and len(values) > UNIQUE * len(profile.sample):
        return "sounds like a time; times are not compared"
    reach = f"{profile.minimum:.6g} to {profile.maximum:.6g}{unit}"
    note = f"{reach}; each value has a bin of its own" if len(values) <= _OWN_BINS else reach
    return ProposedFeature(name=name, kind=Kind.NUMERIC, bins=("quantiles", _QUANTILES), note=note)


def _label(name: str, profile: CategoricalProfile) -> ProposedFeature | str:
    rows, labels = sum(count for _, count in profile.labels), len(profile.labels)
    if not labels:
        return "it has no values in the reference"
    if labels == 1 and rows == profile.rows:
        return f"it is always {profile.labels[0][0]!r} in the reference"
    if is_key(name, profile):
        if sounds_like_time(name):
            return "sounds like a time; times are not compared"
        found = f"{labels:,}" if profile.complete else f"more than {labels:,}"
        return f"{found} different texts: a key or free text; an expression over it, such as its length, can be watched"
    more = f", the {_TOP} most frequent have bins" if labels > _TOP else ""
    note = f"{labels:,} {'label' if labels == 1 else 'labels'}{more}"
    return ProposedFeature(name=name, kind=Kind.CATEGORICAL, bins=("top", _TOP), note=note)


def configuration(proposal: Proposal, url: str, now: datetime) -> str:
    """The whole file. `now` tells whether the table still gets rows."""
    return "\n".join([*_head(proposal, url, now), *_monitor(proposal)]) + "\n"


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
    if history.later:
        those = "1 row is" if history.later == 1 else f"{history.later:,} rows are"
        yield f"# {those} dated after that, far from the others or in the future: no monitor sees them."
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
    name = re.sub(r"[^A-Za-z0-9_]+", "_", table).strip("_")[:100]  # as a monitor can have it
    yield "monitors:"
    yield f"  - name: {name or 'table'}"
    yield f"    source: {SOURCE}"
    yield f"    table: {_text(table)}"
    yield f"    time_column: {_text(inspection.time_column.name)}"
    yield f"    every: {pane}"
    yield _noted(f"    pane: {pane}", "counts are kept in slices of this length")
    yield _noted(f"    window: {format_duration(timing.window)}", timing.note)
    if inspection.is_daily:
        yield _noted("    settle: 12h", "a pane is read this long after its end: days may end later elsewhere")
    else:
        yield _noted("    settle: 5m", "a pane is read this long after its end")
    yield _noted("    revise: 1", "the last pane is read again, for rows that came late")
    yield _noted(f"    min_rows: {timing.min_rows}", "fewer rows on a side are `insufficient_data`, never an alert")
    yield f"    # {proposal.reference_note}"
    match proposal.reference:
        case Trailing(trailing=trailing):
            yield f"    reference: {{trailing: {format_duration(trailing)}}}"
        case FixedRange(from_=start, to=end):
            yield f"    reference: {{from: {_instant(start)}, to: {_instant(end)}}}"
    yield from _feature_lines(proposal)
    yield "    rules:"
    yield "      - {metric: psi, above: 0.1, severity: warning}"
    yield "      - {metric: psi, above: 0.25, severity: critical}"
    yield "      #- {metric: missing_ratio, above: 0.05}      # of live rows"
    yield "      #- {metric: unseen_ratio, above: 0.01}       # labels and values the reference never had"
    yield "      #- {metric: rows, below: 100}"
    yield "      #- {metric: freshness, above: 6h}            # age of the newest row"
    yield "    receivers: [log]"
    yield ""
    yield "receivers:"
    yield "  - name: log"
    yield _noted("    log: {}", "a line in the service's log; webhooks are in docs/configuration.md")


def _feature_lines(proposal: Proposal) -> Iterator[str]:
    yield "    features:"
    entries = []
    for feature in proposal.features:
        bins = f", bins: {{{feature.bins[0]}: {feature.bins[1]}}}" if feature.bins else ""
        entries.append(f"{{name: {_text(feature.name)}, kind: {feature.kind.value}{bins}}}")
    width = max(len(entry) for entry in entries)
    for entry, feature in zip(entries, proposal.features, strict=True):
        yield f"      - {entry:<{width}}  # {escape_unprintable(feature.note)}"
    if proposal.left_out:
        yield "    # Left out:"
    for name, reason in proposal.left_out:
        yield f"    #   {escape_unprintable(name)}: {escape_unprintable(reason)}"


def _noted(line: str, note: str) -> str:
    return f"{line:<24}# {note}"


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
