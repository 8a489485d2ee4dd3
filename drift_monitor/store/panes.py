"""Panes: counts per (feature, pane), written once and merged ever after, and the rows of each pane.

Counts are stored under the hash of what was counted (`definition`) and the id of the bins (`spec_id`), so counts of
another filter or other bins never meet. Reading a pane again writes a new revision only where its counts differ;
older revisions stay.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any, Final

import numpy as np
from sqlalchemy import JSON, Connection, Select, bindparam, func, select

from drift_monitor.core.distribution import Counts
from drift_monitor.core.schedule import Span
from drift_monitor.store.columns import bulk_insert, insert_new
from drift_monitor.store.connection import now
from drift_monitor.store.schema import WHOLE, pane, pane_rows, pane_series

# Built once, as they are part of every evaluation.
_SERIES: Final = select(pane_series).where(pane_series.c.monitor == bindparam("of"))
_INSIDE: Final = (pane_rows.c.pane_start >= bindparam("start"), pane_rows.c.pane_end <= bindparam("end"))
_ROWS: Final = (
    select(pane_rows)
    .where(
        pane_rows.c.monitor == bindparam("of"),
        pane_rows.c.segment == bindparam("part"),
        pane_rows.c.definition == bindparam("what"),
        *_INSIDE,
    )
    .order_by(pane_rows.c.pane_start, pane_rows.c.pane_end, pane_rows.c.revision)
)
_LATEST_ROWS: Final = (
    select(pane_rows)
    .where(
        pane_rows.c.monitor == bindparam("of"),
        pane_rows.c.definition.in_(bindparam("definitions", expanding=True)),
        *_INSIDE,
    )
    .order_by(pane_rows.c.revision)
)
_NEWEST: Final = select(func.max(pane_rows.c.newest)).where(
    pane_rows.c.monitor == bindparam("of"),
    pane_rows.c.segment == "",
    pane_rows.c.definition == bindparam("what"),
    pane_rows.c.pane_end <= bindparam("before"),
)

# What was counted for a feature, and with which bins: (definition, spec id).
Definitions = Mapping[str, tuple[str, str]]

# (revision, counts) of the latest revision of each pane.
_Latest = dict[Span, tuple[int, list[int]]]


@dataclass(frozen=True, kw_only=True, eq=False)
class PaneCounts:
    """Counts of one feature in one pane, aligned with the bins of `spec_id`."""

    feature: str
    span: Span
    definition: str
    spec_id: str
    counts: Counts
    segment: str


@dataclass(frozen=True, kw_only=True)
class PaneRows:
    """How many rows a pane of a dataset has, and its newest time where there is one."""

    definition: str
    span: Span
    rows: int
    newest: datetime | None = None
    segment: str


def stored(connection: Connection, monitor: str, definitions: Definitions, span: Span) -> dict[str, dict[Span, Counts]]:
    """The latest counts of every stored pane inside the span, by feature; features without panes are left out."""
    wanted = {(feature, WHOLE, definition, spec_id) for feature, (definition, spec_id) in definitions.items()}
    features = {series: key[0] for key, series in _series(connection, monitor).items() if key in wanted}
    return {
        # One array a feature, of which each pane has a row: they all have the bins of one spec.
        features[series]: dict(zip(latest, np.array([counts for _, counts in latest.values()], np.int64), strict=True))
        for series, latest in _latest(connection, features, span).items()
    }


def stored_rows(connection: Connection, monitor: str, definition: str, span: Span) -> tuple[PaneRows, ...]:
    """The latest row totals of every stored pane inside the span, oldest first."""
    found = connection.execute(
        _ROWS, {"of": monitor, "part": WHOLE, "what": definition, "start": span.start, "end": span.end}
    )
    latest = {Span(row.pane_start, row.pane_end): row for row in found}
    return tuple(
        PaneRows(definition=definition, span=one, rows=row.rows, newest=row.newest, segment=WHOLE)
        for one, row in latest.items()
    )


def newest_row(connection: Connection, monitor: str, definition: str, before: datetime) -> datetime | None:
    """The newest time of any row seen in panes that end by then; None where no such pane had a row."""
    values = {"of": monitor, "what": definition, "before": before}
    newest: datetime | None = connection.execute(_NEWEST, values).scalar()
    return newest


def revisions(connection: Connection, monitor: str, span: Span) -> int:
    """How often panes inside the span were found with other counts than before: equal answers, equal counts."""
    return connection.execute(
        select(func.count())
        .select_from(pane)
        .where(
            pane.c.series.in_(select(pane_series.c.id).where(pane_series.c.monitor == monitor)),
            pane.c.pane_start >= span.start,
            pane.c.pane_end <= span.end,
            pane.c.revision > 0,
        )
    ).scalar_one()


def save(
    connection: Connection, monitor: str, counts: Iterable[PaneCounts], rows: Iterable[PaneRows]
) -> frozenset[Span]:
    """Store what was read. The spans whose stored counts or rows were others before: they have a new revision now."""
    moment = now(connection)
    return _save_counts(connection, monitor, tuple(counts), moment) | _save_rows(
        connection, monitor, tuple(rows), moment
    )


def _save_counts(
    connection: Connection, monitor: str, panes: Sequence[PaneCounts], moment: datetime
) -> frozenset[Span]:
    if not panes:
        return frozenset()
    series = _ensured_series(connection, monitor, panes)
    whole = Span(min(one.span.start for one in panes), max(one.span.end for one in panes))
    latest = _latest(connection, set(series.values()), whole)
    fresh, changed = [], set()
    for one in panes:
        number = series[_series_key(one)]
        revision, known = latest.get(number, {}).get(one.span, (-1, []))
        if revision >= 0 and known == one.counts.tolist():
            continue
        if revision >= 0:
            changed.add(one.span)
        fresh.append((number, one.span.start, one.span.end, revision + 1, one.counts, moment))
    bulk_insert(connection, pane, ("series", "pane_start", "pane_end", "revision", "counts", "read_at"), fresh)
    return frozenset(changed)


def _save_rows(connection: Connection, monitor: str, totals: Sequence[PaneRows], moment: datetime) -> frozenset[Span]:
    if not totals:
        return frozenset()
    values = {
        "of": monitor,
        "definitions": list({one.definition for one in totals}),
        "start": min(one.span.start for one in totals),
        "end": max(one.span.end for one in totals),
    }
    latest = {
        (row.segment, row.definition, Span(row.pane_start, row.pane_end)): (row.revision, (row.rows, row.newest))
        for row in connection.execute(_LATEST_ROWS, values)
    }
    fresh, changed = [], set()
    for one in totals:
        revision, known = latest.get((one.segment, one.definition, one.span), (-1, None))
        if known == (one.rows, one.newest):
            continue
        if known is not None:
            changed.add(one.span)
        fresh.append(
            {
                "monitor": monitor,
                "segment": one.segment,
                "definition": one.definition,
                "pane_start": one.span.start,
                "pane_end": one.span.end,
                "revision": revision + 1,
                "rows": one.rows,
                "newest": one.newest,
                "read_at": moment,
            }
        )
    insert_new(connection, pane_rows, fresh)
    return frozenset(changed)


def _series_key(one: PaneCounts) -> tuple[str, str, str, str]:
    return (one.feature, one.segment, one.definition, one.spec_id)


def _series(connection: Connection, monitor: str) -> dict[tuple[str, str, str, str], int]:
    rows = connection.execute(_SERIES, {"of": monitor})
    return {(row.feature, row.segment, row.definition, row.bin_spec): row.id for row in rows}


def _ensured_series(
    connection: Connection, monitor: str, panes: Sequence[PaneCounts]
) -> Mapping[tuple[str, str, str, str], int]:
    known = _series(connection, monitor)
    missing = dict.fromkeys(key for key in map(_series_key, panes) if key not in known)
    if missing:
        names = ("feature", "segment", "definition", "bin_spec")
        insert_new(
            connection,
            pane_series,
            [{"monitor": monitor, **dict(zip(names, key, strict=True))} for key in missing],
        )
        known = _series(connection, monitor)
    return {key: known[key] for key in map(_series_key, panes)}


def _latest(connection: Connection, series: Iterable[int], span: Span) -> dict[int, _Latest]:
    """The latest revision of each pane inside the span, by series.

    One row a series with its panes as one JSON array: a row a pane costs more to fetch than all the counts to parse.
    """
    chosen = tuple(series)
    if not chosen:
        return {}
    values = {"series": chosen, "start": span.start, "end": span.end}
    found: dict[int, _Latest] = {}
    for number, panes in connection.execute(_arrays(connection.dialect.name), values):
        latest = found[number] = {}
        for start, end, revision, counts in panes:
            one = _span(start, end)
            if one not in latest or revision >= latest[one][0]:
                latest[one] = (revision, counts)
    return found


@cache
def _arrays(dialect: str) -> Select[Any]:
    columns = (pane.c.pane_start, pane.c.pane_end, pane.c.revision)
    if dialect == "postgresql":
        panes = func.json_agg(func.json_build_array(*columns, pane.c.counts), type_=JSON())
    else:
        panes = func.json_group_array(func.json_array(*columns, func.json(pane.c.counts)), type_=JSON())
    return (
        select(pane.c.series, panes)
        .where(
            pane.c.series.in_(bindparam("series", expanding=True)),
            pane.c.pane_start >= bindparam("start"),
            pane.c.pane_end <= bindparam("end"),
        )
        .group_by(pane.c.series)
    )


@lru_cache(maxsize=4096)  # the same few of all features, in one window after the other
def _span(start: str, end: str) -> Span:
    return Span(datetime.fromisoformat(start).astimezone(UTC), datetime.fromisoformat(end).astimezone(UTC))
