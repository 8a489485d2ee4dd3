"""The one builder of counting statements: bin specs and slices of time in, one SELECT out; and its rows as counts.

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

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, reduce
from math import prod
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.sql.expression import ColumnElement

from drift_monitor.core.bins import BooleanBins, CategoricalBins, NumericBins
from drift_monitor.core.distribution import Counts
from drift_monitor.errors import InconsistentCounts
from drift_monitor.sources.dataset import Counter, Dataset, Scan
from drift_monitor.sources.dialects.base import ColumnInfo, PushAxis, PushDialect

LARGEST_KEY = 2_000  # keys of one part, at most: beyond that a hash table leaves the processor's cache
FENCE: ColumnElement[int] = sa.literal_column("0")  # an offset that skips nothing; the planner doesn't look through it
NAMED = -1  # the bin of a row whose label says which one it is
ALL_ROWS = -1  # the part that counts every row of a slice


@dataclass(frozen=True)
class PackedPart:
    """Features with few bins each, counted together: the key is a number in mixed radix, first feature highest."""

    counters: tuple[Counter, ...]

    @cached_property
    def size(self) -> int:
        """How many keys there are."""
        return prod(counter.spec.size for counter in self.counters)


@dataclass(frozen=True)
class LabelPart:
    """A categorical feature, grouped by its labels."""

    counter: Counter


Part = PackedPart | LabelPart


@dataclass(frozen=True, kw_only=True)
class SliceCounts:
    """Counts per slice: all rows, shape (S,); the newest time of each; by feature, shape (S, spec.size)."""

    rows: NDArray[np.int64]
    newest: Sequence[datetime | None]
    counts: Mapping[str, Counts]


def parts_of(counters: Sequence[Counter], *, slices: int, many_rows: bool) -> list[Part]:
    """Which features share a grouping set. Where rows are few, keys are not worth their result rows."""
    packs: list[PackedPart] = []
    labelled = []
    for counter in counters:
        if isinstance(counter.spec, CategoricalBins):
            labelled.append(LabelPart(counter))
        elif many_rows and packs and slices * packs[-1].size * counter.spec.size <= LARGEST_KEY:
            packs[-1] = PackedPart((*packs[-1].counters, counter))
        else:
            packs.append(PackedPart((counter,)))
    return [*packs, *labelled]


def count_statement(
    dialect: PushDialect, scan: Scan, parts: Sequence[Part], infos: Mapping[str, ColumnInfo]
) -> "sa.Select[Any]":
    """Counts of all parts for all slices: rows of (slice, part, bin, label, rows, newest)."""
    grouped = _grouped(dialect, scan, parts, infos)
    bins = [
        (grouped.c.part == number, _label_bin(dialect, grouped.c.label, part.counter.spec))
        for number, part in enumerate(parts)
        if isinstance(part, LabelPart) and isinstance(part.counter.spec, CategoricalBins)
    ]
    if not bins:
        return sa.select(grouped)
    # Groups with their bins: what a label is called is decided once per group, not per row.
    others = [grouped.c[name] for name in ("slice", "part", "label", "rows", "newest")]
    folded = sa.select(*others, sa.case(*bins, else_=grouped.c.bin).label("bin")).subquery("folded")
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
        number = dialect.number(value, info)
        for end in (sa.func.min(number), sa.func.max(number)):
            columns.append(end if finite is None else end.filter(finite))
    return scan.select([column.label(f"c{number}") for number, column in enumerate(columns)])


def sample_statement(
    dialect: PushDialect, scan: Scan, values: Sequence[tuple[ColumnElement[Any], ColumnInfo]], share: float
) -> "sa.Select[Any]":
    """A uniform share of the rows; of tables the same rows each time."""
    rows = scan.select([dialect.number(*value).label(f"v{place}") for place, value in enumerate(values)])
    if share >= 1:
        return rows
    entry = scan.origin.entry
    return rows.where(dialect.is_sampled(share, placed=entry is not None and entry.places_rows))


def _grouped(dialect: PushDialect, scan: Scan, parts: Sequence[Part], infos: Mapping[str, ColumnInfo]) -> "sa.Subquery":
    """Rows of (slice, part, bin, label, rows, newest); numbered parts have their slice in the bin."""
    names = [f"p{number}" for number in range(len(parts))]
    binned = _binned(dialect, scan, dict(zip(names, parts, strict=True)), infos)
    by_slice = [binned.c.slice] if "slice" in binned.c else []
    columns = [binned.c[name] for name in names]
    sets = [
        sa.tuple_(column) if isinstance(part, PackedPart) else sa.tuple_(*by_slice, column)
        for column, part in zip(columns, parts, strict=True)
    ]
    told = [(sa.func.grouping(column) == 0, number) for number, column in enumerate(columns)]
    return (
        sa.select(
            (binned.c.slice if by_slice else sa.literal_column("1")).label("slice"),
            (sa.case(*told, else_=ALL_ROWS) if told else sa.literal_column(str(ALL_ROWS), sa.Integer)).label("part"),
            _either(columns, parts, PackedPart, sa.Integer).label("bin"),
            _either(columns, parts, LabelPart, sa.Text).label("label"),
            sa.func.count().label("rows"),
            (sa.func.max(binned.c.time) if "time" in binned.c else sa.null()).label("newest"),
        )
        .select_from(binned)
        .group_by(sa.func.grouping_sets(*sets, sa.tuple_(*by_slice)))
        .subquery("grouped")
    )


def _binned(
    dialect: PushDialect, scan: Scan, parts: Mapping[str, Part], infos: Mapping[str, ColumnInfo]
) -> "sa.Subquery":
    """Each row's time, slice, and key of each part; the key of a numbered part has the slice in it."""
    columns: list[ColumnElement[Any]] = []
    if isinstance(scan.axis, PushAxis) and scan.slices is not None:
        columns.append(scan.time.label("time"))
        if scan.size > 1:
            columns.append(dialect.slice_index(scan.time, scan.axis.bounds(scan.slices.bounds)).label("slice"))
    columns += [_key(dialect, part, infos).label(name) for name, part in parts.items()]
    binned = scan.select(columns or [sa.literal_column("1").label("one")]).offset(FENCE).subquery("binned")
    if "slice" not in binned.c:
        return binned
    # One opaque number to group by, as the planner likes it.
    keys = [
        (binned.c.slice * part.size + binned.c[name]).label(name) if isinstance(part, PackedPart) else binned.c[name]
        for name, part in parts.items()
    ]
    return sa.select(binned.c.time, binned.c.slice, *keys).offset(FENCE).subquery("keyed")


def _key(dialect: PushDialect, part: Part, infos: Mapping[str, ColumnInfo]) -> ColumnElement[Any]:
    """The key of a part: a label, or the bins of its features in mixed radix."""
    if isinstance(part, LabelPart):
        return dialect.label(part.counter.target.value, infos[part.counter.feature])
    return reduce(
        lambda key, counter: key * counter.spec.size + _ordinal(dialect, counter, infos[counter.feature]),
        part.counters[1:],
        _ordinal(dialect, part.counters[0], infos[part.counters[0].feature]),
    )


def _ordinal(dialect: PushDialect, counter: Counter, info: ColumnInfo) -> ColumnElement[int]:
    value = counter.target.value
    match counter.spec:
        case NumericBins() as numeric:
            return dialect.numeric_bin(value, info, numeric)
        case BooleanBins() as boolean:
            return dialect.boolean_bin(value, info, boolean)
        case CategoricalBins():
            raise AssertionError("labels are folded, not numbered")


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


def tally(
    result: Iterable[Sequence[Any]], parts: Sequence[Part], size: int, instant: Callable[[Any], datetime | None]
) -> SliceCounts:
    """The counts in rows of (slice, part, bin, label, rows, newest) for `size` slices, numbered from 1."""
    totals = np.zeros(size, dtype=np.int64)
    newest: list[datetime | None] = [None] * size
    cells: list[list[tuple[int, int, int]]] = [[] for _ in parts]
    for slice_number, part_number, key, label, rows, latest in result:
        if part_number == ALL_ROWS:
            totals[slice_number - 1], newest[slice_number - 1] = rows, instant(latest)
            continue
        part, index = parts[part_number], (slice_number or 1) - 1
        if isinstance(part, PackedPart) and slice_number is None:  # of several slices: it is in the key
            index, key = key // part.size - 1, key % part.size
        elif isinstance(part, LabelPart) and key == NAMED:
            key = part.counter.spec.ordinals[label]  # type: ignore[union-attr]
        cells[part_number].append((index, key, rows))
    counts: dict[str, Counts] = {}
    for part, found in zip(parts, cells, strict=True):
        slices, keys, rows = np.array(found, dtype=np.int64).reshape(-1, 3).T
        counters = (part.counter,) if isinstance(part, LabelPart) else part.counters
        for counter in reversed(counters):  # the last feature is the lowest digit of the key
            counts[counter.feature] = np.zeros((size, counter.spec.size), dtype=np.int64)
            np.add.at(counts[counter.feature], (slices, keys % counter.spec.size), rows)
            keys = keys // counter.spec.size
    return SliceCounts(rows=totals, newest=newest, counts=counts)


def check_totals(dataset: Dataset, rows: NDArray[np.int64], counts: Mapping[str, Counts]) -> None:
    """Every row of a slice is in one bin of each feature; raises InconsistentCounts where that is not so."""
    for feature, binned in counts.items():
        wrong = np.flatnonzero(binned.sum(axis=1) != rows)
        if wrong.size:
            found, expected = int(binned[wrong[0]].sum()), int(rows[wrong[0]])
            raise InconsistentCounts(
                f"monitor {dataset.monitor!r}, feature {feature!r}: {found} rows in its bins, {expected} in {dataset}; "
                "the reading is thrown away"
            )
