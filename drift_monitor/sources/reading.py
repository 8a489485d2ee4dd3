"""One reading: chunks of features, one statement each; a bad feature is found, named and left out.

A statement that the database refuses may be about the dataset or about one of its features. First the columns are
described anew (gone? forbidden? another type?); if nothing is found, the dataset is read without features; if that
works, one of the features is guilty, and halves find it (an expression that divides by zero says so only then).
"""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from drift_monitor.clock import Clock
from drift_monitor.core.distribution import Counts
from drift_monitor.core.schedule import Span
from drift_monitor.errors import FailureReason, FeatureError, InconsistentCounts
from drift_monitor.sources.catalog import Catalog, count_problem
from drift_monitor.sources.dataset import Counter, Dataset, Reading, Scan, Slices, dataset_error, feature_error
from drift_monitor.sources.dialects.base import ColumnInfo, Failure, PushAxis, PushDialect, StatementRefused
from drift_monitor.sources.session import Session
from drift_monitor.sources.statements import SliceCounts, check_totals, count_statement, parts_of, tally
from drift_monitor.sources.stream import StreamTally, stream_statement

MANY_ROWS = 100_000  # from here on a statement is worth compiling, and features are worth packing into one key
LARGEST_RESULT = 250_000  # bins times slices of one statement, at most, whatever the number of features
SHORTEST_DAY = timedelta(hours=23)  # the one on which clocks are set forward
ATTEMPTS = 3  # at one reading, when rows changed between its statements


class Reader:
    """Reads counts from one source."""

    def __init__(self, session: Session, catalog: Catalog, clock: Clock) -> None:
        self._session = session
        self._catalog = catalog
        self._clock = clock
        self._rows_per_second: dict[Dataset, float] = {}  # as earlier readings of a dataset saw it

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
        axis = self._catalog.axis(dataset)
        shortest = min((span.end - span.start for span in spans if span.start < span.end), default=SHORTEST_DAY)
        if axis.is_daily and shortest < SHORTEST_DAY:
            detail = f"time column {dataset.time_column!r} holds dates only, and a pane is shorter than a day"
            hint = "set `pane`, `every` and `window` to whole days, such as 1d"
            raise dataset_error(dataset, Failure(FailureReason.UNSUPPORTED_TYPE, detail, hint))
        return Scan(dataset=dataset, origin=origin, axis=axis, slices=Slices(tuple(spans)))

    def _read(self, dataset: Dataset, counters: Sequence[Counter], spans: Sequence[Span] | None) -> Reading:
        started = self._clock.monotonic()
        found = Findings(dataset)
        if spans is not None and not any(span.start < span.end for span in spans):
            counts = {of.feature: np.zeros((len(spans), of.spec.size), dtype=np.int64) for of in counters}
            found.add(SliceCounts(rows=np.zeros(len(spans), np.int64), newest=[None] * len(spans), counts=counts))
            return found.reading(spans, 0.0)
        good = self._examined(found, counters)
        for chunk in self._chunks(good, spans) or [[]]:
            self._count(found, chunk, spans, refreshed=False)
        if found.rows is None:  # every feature of every chunk was refused
            self._count(found, [], spans, refreshed=True)
        return found.reading(spans, self._clock.monotonic() - started)

    def _examined(self, found: "Findings", counters: Sequence[Counter]) -> list[Counter]:
        """The counters whose columns are there and fit; the others are noted as failed."""
        described = self._catalog.features(found.dataset, [counter.target for counter in counters])
        good = []
        for counter in counters:
            info = described[counter.feature]
            problem = info if isinstance(info, FeatureError) else count_problem(found.dataset, counter, info)
            if problem is None and isinstance(info, ColumnInfo):
                found.infos[counter.feature] = info
                good.append(counter)
            elif problem is not None:
                found.failed[counter.feature] = problem
        return good

    def _chunks(self, counters: Sequence[Counter], spans: Sequence[Span] | None) -> list[list[Counter]]:
        slices = 1 if spans is None else max(1, Slices(tuple(spans)).size)
        largest = max((counter.spec.size for counter in counters), default=1)
        size = min(self._session.dialect.features_per_statement, max(1, LARGEST_RESULT // (slices * largest)))
        return [list(counters[first : first + size]) for first in range(0, len(counters), size)]

    def _count(
        self, found: "Findings", counters: Sequence[Counter], spans: Sequence[Span] | None, *, refreshed: bool
    ) -> None:
        """Count a chunk; where that is refused, find out why, once for the dataset and then by halves."""
        try:
            # Counts of one statement for each run of spans, which add up.
            scan = self.scan(found.dataset, spans)
            found.statements += 1
            counted = self._counted(scan, counters, found.infos)
            if scan.slices is not None:
                slices = scan.slices
                if seconds := _seconds(slices):
                    self._rows_per_second[scan.dataset] = int(counted.rows.sum()) / seconds
                counted = SliceCounts(
                    rows=slices.fold(counted.rows),
                    newest=slices.newest(counted.newest),
                    counts={feature: slices.fold(counts) for feature, counts in counted.counts.items()},
                )
            check_totals(found.dataset, counted.rows, counted.counts)
            found.add(counted)
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

    def _counted(self, scan: Scan, counters: Sequence[Counter], infos: Mapping[str, ColumnInfo]) -> SliceCounts:
        dialect = self._session.dialect
        if not isinstance(dialect, PushDialect):
            statement = stream_statement(scan, [counter.target.value for counter in counters])
            return self._session.run(statement, lambda result: StreamTally(scan, counters).take(result))
        many_rows = self._expected_rows(scan) >= MANY_ROWS
        parts = parts_of(counters, slices=scan.size, many_rows=many_rows)
        statement = count_statement(dialect, scan, parts, infos)
        axis = scan.axis

        def instant(value: object) -> datetime | None:
            return axis.instant(value) if isinstance(axis, PushAxis) else None

        return self._session.run(
            statement, lambda result: tally(result, parts, scan.size, instant), many_rows=many_rows
        )

    def _expected_rows(self, scan: Scan) -> float:
        """Rows of a scan by the pace of earlier readings or the catalog; infinite where nothing is known."""
        entry = scan.origin.entry
        everything = float(entry.estimated_rows) if entry is not None and entry.estimated_rows else math.inf
        if scan.slices is None or scan.dataset not in self._rows_per_second:
            return everything
        return min(everything, self._rows_per_second[scan.dataset] * _seconds(scan.slices))


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
                f"{self.dataset.of(str(self.dataset))}: its rows changed between two statements of one "
                "reading, which is thrown away; a longer `settle` leaves late rows time to come"
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


def _seconds(slices: Slices) -> float:
    return sum((run.end - run.start).total_seconds() for run in slices.runs)
