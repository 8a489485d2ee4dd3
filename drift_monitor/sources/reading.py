"""One reading: chunks of features, one statement each; a bad feature is found, named and left out.

A statement that the database refuses may be about the dataset or about one of its features. First the columns are
described anew (gone? forbidden? another type?); if nothing is found, the dataset is read without features; if that
works, one of the features is guilty, and halves find it (an expression that divides by zero says so only then).
"""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from drift_monitor.clock import Clock
from drift_monitor.core.histogram import Counts
from drift_monitor.core.panes import Span
from drift_monitor.errors import FeatureError, InconsistentCounts
from drift_monitor.sources.catalog import Catalog, count_problem
from drift_monitor.sources.dataset import ColumnInfo, Counter, Dataset, Reading
from drift_monitor.sources.dialects.base import PushAxis, PushDialect
from drift_monitor.sources.failures import StatementRefused, dataset_error, feature_error
from drift_monitor.sources.queries import Scan, count_statement, parts_of
from drift_monitor.sources.rows import SliceCounts, check_totals, tally
from drift_monitor.sources.session import Session
from drift_monitor.sources.slices import Slices
from drift_monitor.sources.streaming import StreamTally, stream_statement, value_columns

MANY_ROWS = 100_000
"""From here on a statement is worth compiling, and features are worth packing into one key."""

LARGEST_RESULT = 250_000
"""Bins times slices of one statement, at most, whatever the number of features."""


ATTEMPTS = 3
"""At one reading, when rows changed between its statements."""


class Reader:
    """Reads counts from one source."""

    def __init__(self, session: Session, catalog: Catalog, clock: Clock) -> None:
        self._session = session
        self._catalog = catalog
        self._clock = clock
        self._pace = Pace()

    def read(self, dataset: Dataset, counters: Sequence[Counter], spans: Sequence[Span] | None) -> Reading:
        """Counts of every feature in every span; None is the whole table."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._read(dataset, counters, spans)
            except InconsistentCounts:
                if attempt == ATTEMPTS:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def scan(self, dataset: Dataset, spans: Sequence[Span] | None) -> Scan:
        """The rows of some spans of a dataset; raises DatasetError when its times can't be told."""
        origin = self._catalog.origin(dataset)
        if spans is None:
            return Scan(dataset=dataset, origin=origin)
        return Scan(dataset=dataset, origin=origin, axis=self._catalog.axis(dataset), slices=Slices(tuple(spans)))

    def _read(self, dataset: Dataset, counters: Sequence[Counter], spans: Sequence[Span] | None) -> Reading:
        if spans is not None and not any(span.start < span.end for span in spans):
            return _nothing(counters, tuple(spans))
        started = self._clock.monotonic()
        found = Findings(dataset)
        good = self._examined(found, counters)
        for chunk in self._chunks(good, spans) or [[]]:
            self._count(found, chunk, spans, refreshed=False)
        if found.rows is None:  # every feature of every chunk was refused
            self._count(found, [], spans, refreshed=True)
        return found.reading(spans, self._clock.monotonic() - started)

    def _examined(self, found: "Findings", counters: Sequence[Counter]) -> list[Counter]:
        """The counters whose columns are there and fit; the others are noted as failed."""
        described = self._catalog.features(found.dataset, [one.target for one in counters])
        good = []
        for one in counters:
            info = described[one.feature]
            problem = info if isinstance(info, FeatureError) else count_problem(found.dataset, one, info)
            if problem is None and isinstance(info, ColumnInfo):
                found.infos[one.feature] = info
                good.append(one)
            elif problem is not None:
                found.failed[one.feature] = problem
        return good

    def _chunks(self, counters: Sequence[Counter], spans: Sequence[Span] | None) -> list[list[Counter]]:
        slices = 1 if spans is None else max(1, Slices(tuple(spans)).size)
        largest = max((one.spec.size for one in counters), default=1)
        size = min(self._session.dialect.features_per_statement, max(1, LARGEST_RESULT // (slices * largest)))
        return [list(counters[first : first + size]) for first in range(0, len(counters), size)]

    def _count(
        self, found: "Findings", counters: Sequence[Counter], spans: Sequence[Span] | None, *, refreshed: bool
    ) -> None:
        """Count a chunk; where that is refused, find out why, once for the dataset and then by halves."""
        try:
            found.add(self._statement(found, counters, spans))
            return
        except StatementRefused as refused:
            if not counters:
                raise dataset_error(found.dataset, refused.failure) from refused
            failure = refused.failure
        if not refreshed:
            self._catalog.forget(found.dataset)
            self._count(found, [], spans, refreshed=True)
            left = self._examined(found, counters)
            if left:
                self._count(found, left, spans, refreshed=True)
        elif len(counters) == 1:
            found.failed[counters[0].feature] = feature_error(found.dataset, counters[0].target, failure)
        else:
            half = len(counters) // 2
            self._count(found, counters[:half], spans, refreshed=True)
            self._count(found, counters[half:], spans, refreshed=True)

    def _statement(self, found: "Findings", counters: Sequence[Counter], spans: Sequence[Span] | None) -> SliceCounts:
        scan = self.scan(found.dataset, spans)
        expected = self._pace.expected_rows(scan)
        found.statements += 1
        counted = self._counted(scan, counters, found.infos, expected)
        self._pace.learn(scan, int(counted.rows.sum()))
        counted = _per_span(counted, scan)
        check_totals(found.dataset, counted.rows, counted.counts)
        return counted

    def _counted(
        self, scan: Scan, counters: Sequence[Counter], infos: Mapping[str, ColumnInfo], expected: float
    ) -> SliceCounts:
        dialect = self._session.dialect
        many = expected >= MANY_ROWS
        size = scan.slices.size if scan.slices is not None else 1
        if not isinstance(dialect, PushDialect):
            statement = stream_statement(scan, value_columns(counters))
            return self._session.run(statement, lambda result: StreamTally(scan, counters).take(result))
        parts = parts_of(counters, slices=size, many_rows=many)
        statement = count_statement(dialect, scan, parts, infos)
        instant = scan.axis.instant if isinstance(scan.axis, PushAxis) else _no_time
        return self._session.run(statement, lambda result: tally(result, parts, size, instant), many_rows=many)


class Findings:
    """What a reading has so far."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.infos: dict[str, ColumnInfo] = {}
        self.rows: NDArray[np.int64] | None = None
        self.newest: Sequence[datetime | None] = ()
        self.counts: dict[str, Counts] = {}
        self.failed: dict[str, FeatureError] = {}
        self.statements = 0

    def add(self, counted: SliceCounts) -> None:
        """Add the counts of one statement; raises InconsistentCounts if the rows are no longer the same ones."""
        if self.rows is not None and not np.array_equal(self.rows, counted.rows):
            raise InconsistentCounts(
                f"monitor {self.dataset.monitor!r}, {self.dataset}: its rows changed between two statements of one "
                "reading, which is thrown away and will be tried again; a longer `settle` leaves late rows time to come"
            )
        self.rows, self.newest = counted.rows, counted.newest
        self.counts |= counted.counts

    def reading(self, spans: Sequence[Span] | None, seconds: float) -> Reading:
        assert self.rows is not None  # a reading without features still counts rows
        return Reading(
            spans=tuple(spans) if spans is not None else (),
            rows=self.rows,
            newest=tuple(self.newest),
            counts=self.counts,
            failed=self.failed,
            statements=self.statements,
            seconds=seconds,
        )


class Pace:
    """How many rows to expect: what earlier readings of a dataset saw per second, or what its catalog says."""

    def __init__(self) -> None:
        self._rows_per_second: dict[Dataset, float] = {}

    def expected_rows(self, scan: Scan) -> float:
        """Rows of a scan, infinite where nothing is known."""
        entry = scan.origin.entry
        table = entry.estimated_rows if entry is not None and entry.estimated_rows else None
        everything = float(table) if table is not None else math.inf
        if scan.slices is None or scan.dataset not in self._rows_per_second:
            return everything
        return min(everything, self._rows_per_second[scan.dataset] * _seconds(scan.slices))

    def learn(self, scan: Scan, rows: int) -> None:
        """Remember how dense a dataset's rows are."""
        if scan.slices is not None and _seconds(scan.slices):
            self._rows_per_second[scan.dataset] = rows / _seconds(scan.slices)


def _seconds(slices: Slices) -> float:
    return sum((run.end - run.start).total_seconds() for run in slices.runs)


def _per_span(counted: SliceCounts, scan: Scan) -> SliceCounts:
    if scan.slices is None:
        return counted
    fold = scan.slices.fold
    return SliceCounts(
        rows=fold(counted.rows),
        newest=scan.slices.newest(counted.newest),
        counts={feature: fold(counts) for feature, counts in counted.counts.items()},
    )


def _nothing(counters: Sequence[Counter], spans: tuple[Span, ...]) -> Reading:
    return Reading(
        spans=spans,
        rows=np.zeros(len(spans), dtype=np.int64),
        newest=(None,) * len(spans),
        counts={one.feature: np.zeros((len(spans), one.spec.size), dtype=np.int64) for one in counters},
        failed={},
        statements=0,
        seconds=0.0,
    )


def _no_time(_: object) -> None:
    return None
