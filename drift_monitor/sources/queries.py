"""The one builder of counting statements: bin specs and slices of time in, one SELECT out.

    SELECT slice, part, bin, label, sum(rows), max(newest)             few rows: what is sent
    FROM (SELECT ..., known labels told from rare and unseen ones      per group, not per row
          FROM (SELECT slice, part, key, label, count(*), max(time)    all features in one pass
                FROM (SELECT slice of time, bins and labels            per row
                      FROM dataset WHERE in the slices OFFSET 0)
                GROUP BY GROUPING SETS ((key), ..., (slice, label), ..., (slice))))

A *part* is one grouping set: a feature, or several packed into one key where rows are many, because the cost of a row
is a probe of a hash table for each part. The empty set counts all rows of a slice, in the same statement, so that the
bins of every feature can be checked against them. `OFFSET 0` keeps the planner from taking the distinct values of a
column for those of its bins; without it, it sorts once for each feature. For the same reason a key holds its slice.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from math import prod
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.expression import ColumnElement

from drift_monitor.core.bins import BooleanBins, CategoricalBins, NumericBins
from drift_monitor.sources.catalog import Origin, value_of
from drift_monitor.sources.dataset import ColumnInfo, Counter, Dataset
from drift_monitor.sources.dialects.base import PushAxis, PushDialect, TimeAxis
from drift_monitor.sources.elements import DatasetColumn, UserSql
from drift_monitor.sources.slices import Slices

LARGEST_KEY = 2_000
"""Keys of one part, at most: beyond that a hash table leaves the processor's cache."""

FENCE: ColumnElement[int] = sa.literal_column("0")
"""An offset that skips nothing, and that the planner doesn't look through."""

NAMED = -1
"""The bin of a row whose label says which one it is."""

ALL_ROWS = -1
"""The part that counts every row of a slice."""


@dataclass(frozen=True)
class PackedPart:
    """Features with few bins each, counted together: the key is a number in mixed radix, first feature highest."""

    counters: tuple[Counter, ...]

    @cached_property
    def size(self) -> int:
        """How many keys there are."""
        return prod(one.spec.size for one in self.counters)


@dataclass(frozen=True)
class LabelPart:
    """A categorical feature, grouped by its labels."""

    counter: Counter


Part = PackedPart | LabelPart


@dataclass(frozen=True, kw_only=True)
class Scan:
    """The rows a statement goes over: a dataset, and the slices of time wanted of it (None: all rows)."""

    dataset: Dataset
    origin: Origin
    axis: TimeAxis | None = None
    slices: Slices | None = None

    @property
    def time(self) -> ColumnElement[Any]:
        return DatasetColumn(self.dataset.time_column or "")

    def conditions(self) -> Iterator[ColumnElement[bool]]:
        """What a row must be: in one of the spans, and as the user's `where` says."""
        if self.axis is not None and self.slices is not None:
            yield sa.or_(*(self.axis.within(self.time, run) for run in self.slices.runs))
        if self.dataset.where is not None:
            yield UserSql(self.dataset.where)

    def select(self, columns: Sequence[ColumnElement[Any]]) -> "sa.Select[Any]":
        """These columns of the rows."""
        return sa.select(*columns).select_from(self.origin.rows).where(*self.conditions())


def parts_of(counters: Sequence[Counter], *, slices: int, many_rows: bool) -> list[Part]:
    """Which features share a grouping set. Where rows are few, keys are not worth their result rows."""
    labelled = [LabelPart(one) for one in counters if isinstance(one.spec, CategoricalBins)]
    packs: list[PackedPart] = []
    for one in counters:
        if isinstance(one.spec, CategoricalBins):
            continue
        if many_rows and packs and slices * packs[-1].size * one.spec.size <= LARGEST_KEY:
            packs[-1] = PackedPart((*packs[-1].counters, one))
        else:
            packs.append(PackedPart((one,)))
    return [*packs, *labelled]


def count_statement(
    dialect: PushDialect, scan: Scan, parts: Sequence[Part], infos: Mapping[str, ColumnInfo]
) -> "sa.Select[Any]":
    """Counts of all parts for all slices: rows of (slice, part, bin, label, rows, newest)."""
    grouped = _grouped(dialect, scan, parts, infos)
    if not any(isinstance(part, LabelPart) for part in parts):
        return sa.select(grouped)
    folded = _folded(dialect, grouped, parts)
    label = sa.case((folded.c.bin == NAMED, folded.c.label)).label("label")
    keys = [folded.c.slice, folded.c.part, folded.c.bin, label]
    rows = sa.cast(sa.func.sum(folded.c.rows), sa.BigInteger)
    return sa.select(*keys, rows, sa.func.max(folded.c.newest)).group_by(*keys)


def label_statement(
    dialect: PushDialect, scan: Scan, parts: Sequence[LabelPart], infos: Mapping[str, ColumnInfo], most: int
) -> "sa.Select[Any]":
    """The most frequent labels of each part: rows of (part, label, rows), at most `most` a part."""
    grouped = _grouped(dialect, scan, parts, infos)
    order = (grouped.c.rows.desc(), grouped.c.label)
    rank = sa.func.row_number().over(partition_by=grouped.c.part, order_by=order)
    ranked = sa.select(grouped, rank.label("rank")).where(grouped.c.label.is_not(None)).subquery("ranked")
    return sa.select(ranked.c.part, ranked.c.label, ranked.c.rows).where(ranked.c.rank <= most)


def ends_statement(
    dialect: PushDialect, scan: Scan, values: Sequence[tuple[ColumnElement[Any], ColumnInfo]]
) -> "sa.Select[Any]":
    """The smallest and largest finite number of each value: one row of (min, max, min, max, ...)."""
    columns: list[ColumnElement[Any]] = []
    for value, info in values:
        finite = dialect.is_finite(value, info)
        for end in (sa.func.min(value), sa.func.max(value)):
            columns.append(end if finite is None else end.filter(finite))
    return scan.select([column.label(f"c{number}") for number, column in enumerate(columns)])


def sample_statement(
    dialect: PushDialect, scan: Scan, values: Sequence[ColumnElement[Any]], share: float
) -> "sa.Select[Any]":
    """A uniform share of the rows; of tables the same rows each time."""
    rows = scan.select([value.label(f"v{number}") for number, value in enumerate(values)])
    if share >= 1:
        return rows
    entry = scan.origin.entry
    return rows.where(dialect.is_sampled(share, placed=entry is not None and entry.places_rows))


def _grouped(dialect: PushDialect, scan: Scan, parts: Sequence[Part], infos: Mapping[str, ColumnInfo]) -> "sa.Subquery":
    """Rows of (slice, part, bin, label, rows, newest); numbered parts have their slice in the bin."""
    binned = _binned(dialect, scan, parts, infos)
    timed, sliced = "time" in binned.c, "slice" in binned.c
    if sliced:
        binned = _keyed(binned, parts)
    columns = [binned.c[name] for name in _names(parts)]
    by_slice = [binned.c.slice] if sliced else []
    sets = [
        sa.tuple_(column) if isinstance(part, PackedPart) else sa.tuple_(*by_slice, column)
        for column, part in zip(columns, parts, strict=True)
    ]
    told = [(sa.func.grouping(column) == 0, number) for number, column in enumerate(columns)]
    return (
        sa.select(
            (binned.c.slice if sliced else sa.literal_column("1")).label("slice"),
            (sa.case(*told, else_=ALL_ROWS) if told else sa.literal_column(str(ALL_ROWS), sa.Integer)).label("part"),
            _either(columns, parts, PackedPart, sa.Integer).label("bin"),
            _either(columns, parts, LabelPart, sa.Text).label("label"),
            sa.func.count().label("rows"),
            (sa.func.max(binned.c.time) if timed else sa.null()).label("newest"),
        )
        .select_from(binned)
        .group_by(sa.func.grouping_sets(*sets, sa.tuple_(*by_slice)))
        .subquery("grouped")
    )


def _binned(dialect: PushDialect, scan: Scan, parts: Sequence[Part], infos: Mapping[str, ColumnInfo]) -> "sa.Subquery":
    """Each row's time, slice, and key of each part."""
    values = [_part(dialect, part, infos).label(name) for part, name in zip(parts, _names(parts), strict=True)]
    columns = [*_times(dialect, scan), *values]
    return scan.select(columns or [sa.literal_column("1").label("one")]).offset(FENCE).subquery("binned")


def _keyed(binned: "sa.Subquery", parts: Sequence[Part]) -> "sa.Subquery":
    """The slice in the key of each numbered part: one opaque number to group by, as the planner likes it."""
    keys = [
        (binned.c.slice * part.size + binned.c[name]).label(name) if isinstance(part, PackedPart) else binned.c[name]
        for part, name in zip(parts, _names(parts), strict=True)
    ]
    return sa.select(binned.c.time, binned.c.slice, *keys).offset(FENCE).subquery("keyed")


def _names(parts: Sequence[Part]) -> list[str]:
    return [f"p{number}" for number in range(len(parts))]


def _times(dialect: PushDialect, scan: Scan) -> Iterator[ColumnElement[Any]]:
    if not isinstance(scan.axis, PushAxis) or scan.slices is None:
        return
    yield scan.time.label("time")
    if scan.slices.size > 1:
        yield dialect.slice_index(scan.time, scan.axis.bounds(scan.slices.bounds)).label("slice")


def _part(dialect: PushDialect, part: Part, infos: Mapping[str, ColumnInfo]) -> ColumnElement[Any]:
    """The key of a part: a label, or the bins of its features in mixed radix."""
    if isinstance(part, LabelPart):
        return dialect.label(value_of(part.counter.target), infos[part.counter.feature])
    ordinals = [_ordinal(dialect, one, infos[one.feature]) for one in part.counters]
    sizes = [one.spec.size for one in part.counters]
    return reduce(lambda key, one: key * one[1] + one[0], zip(ordinals[1:], sizes[1:], strict=True), ordinals[0])


def _ordinal(dialect: PushDialect, counter: Counter, info: ColumnInfo) -> ColumnElement[int]:
    value = value_of(counter.target)
    match counter.spec:
        case NumericBins() as numeric:
            return dialect.numeric_bin(value, info, numeric)
        case BooleanBins() as boolean:
            return dialect.boolean_bin(value, info, boolean)
        case CategoricalBins():
            raise AssertionError("labels are folded, not numbered")


def _folded(dialect: PushDialect, grouped: "sa.Subquery", parts: Sequence[Part]) -> "sa.Subquery":
    """Groups with their bins: what a label is called is decided once per group."""
    bins = [
        (grouped.c.part == number, _label_bin(dialect, grouped.c.label, part.counter.spec))
        for number, part in enumerate(parts)
        if isinstance(part, LabelPart) and isinstance(part.counter.spec, CategoricalBins)
    ]
    return sa.select(
        grouped.c.slice,
        grouped.c.part,
        sa.case(*bins, else_=grouped.c.bin).label("bin"),
        grouped.c.label,
        grouped.c.rows,
        grouped.c.newest,
    ).subquery("folded")


def _label_bin(dialect: PushDialect, label: ColumnElement[str], spec: CategoricalBins) -> ColumnElement[int]:
    rare = [(dialect.is_label(label, spec.rare_labels), spec.rare)] if spec.rare_complete and spec.rare_labels else []
    unknown = spec.unseen if spec.rare_complete else spec.rare
    named = [(dialect.is_label(label, spec.labels), NAMED)] if spec.labels else []
    return sa.case((label.is_(None), spec.missing), *named, *rare, else_=unknown)


def _either(
    columns: Sequence[ColumnElement[Any]],
    parts: Sequence[Part],
    wanted: type[PackedPart] | type[LabelPart],
    kind: type[sa.types.TypeEngine[Any]],
) -> ColumnElement[Any]:
    """The one column of this kind of part that is grouped by; the others are NULL there."""
    some = [column for column, part in zip(columns, parts, strict=True) if isinstance(part, wanted)]
    if not some:
        return sa.cast(sa.null(), kind)
    return some[0] if len(some) == 1 else sa.func.coalesce(*some, type_=kind)
