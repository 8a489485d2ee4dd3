"""Which panes are not stored yet? Read those, and the last few again for late rows; all else comes from the store.

Counts per (feature, pane) are read once and merged ever after. Features whose panes are missing alike are counted by
one statement per chunk of features; a feature that was added later is filled on its own.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import accumulate

import numpy as np

from drift_monitor.alerting.services import Services
from drift_monitor.config.schema import MonitorConfig
from drift_monitor.core.distribution import Counts
from drift_monitor.core.schedule import Span
from drift_monitor.errors import FeatureError
from drift_monitor.evaluation.reference import Reference, dataset_definition, feature_definition, live_dataset
from drift_monitor.sources.dataset import Reading
from drift_monitor.store import panes as pane_store
from drift_monitor.store.connection import Transaction
from drift_monitor.store.panes import PaneCounts, PaneRows


@dataclass
class PaneTable:
    """Counts and row totals by pane, stored ones and those just read; `fresh_*` are still to be saved.

    `newest` are the newest times in each pane, `newest_before` the newest in all panes before these. `revisions`: how
    often late rows had changed panes of `span` when a table that serves many windows was made.
    """

    span: Span
    counts: dict[str, dict[Span, Counts]] = field(default_factory=lambda: defaultdict(dict))
    rows: dict[Span, int] = field(default_factory=dict)
    newest: dict[Span, datetime | None] = field(default_factory=dict)
    newest_before: datetime | None = None
    failed: dict[str, FeatureError] = field(default_factory=dict)
    fresh_counts: list[PaneCounts] = field(default_factory=list)
    fresh_rows: list[PaneRows] = field(default_factory=list)
    rows_read: int = 0
    revisions: int | None = None

    def is_outdated(self, conn: Transaction, monitor: MonitorConfig) -> bool:
        """Whether another process has found late rows in these panes since."""
        return self.revisions is not None and self.revisions != pane_store.revisions(conn, monitor.name, self.span)


class RunningTotals:
    """Sums over neighbouring panes, each the difference of two running totals: exact, for counts are whole numbers.

    A window that slides by a pane costs the same however many panes it has.
    """

    def __init__(self, table: PaneTable, panes: Sequence[Span], sizes: Mapping[str, int]) -> None:
        """`panes` follow one another without gaps; `sizes` are the numbers of bins of the features."""
        self._bounds = [*(pane.start for pane in panes), panes[-1].end]
        self._place = {bound: position for position, bound in enumerate(self._bounds)}
        self._rows = list(accumulate((table.rows.get(pane, 0) for pane in panes), initial=0))
        self._known: dict[str, list[int]] = {}
        self._counts: dict[str, Counts] = {}
        for feature, size in sizes.items():
            stored = table.counts.get(feature, {})
            counted = [stored.get(pane) for pane in panes]
            totals = np.zeros((len(panes) + 1, size), dtype=np.int64)
            for position, counts in enumerate(counted, start=1):
                if counts is not None:
                    totals[position] = counts
            self._counts[feature] = np.cumsum(totals, axis=0, out=totals)
            self._known[feature] = list(accumulate((counts is not None for counts in counted), initial=0))
        seen = sorted((pane.end, newest) for pane, newest in table.newest.items() if newest is not None)
        self._seen_until = [end for end, _ in seen]
        self._newest = list(accumulate((newest for _, newest in seen), max))
        self._newest_before = table.newest_before

    def counts(self, feature: str, spans: Sequence[Span]) -> Counts | None:
        """The counts of a feature in all panes of these spans; None where one of them was never counted."""
        known, totals = self._known[feature], self._counts[feature]
        summed: Counts = np.zeros(totals.shape[1], dtype=np.int64)
        for span in spans:
            first, last = self._place[span.start], self._place[span.end]
            if known[last] - known[first] != last - first:
                return None
            summed += totals[last] - totals[first]
        return summed

    def rows(self, span: Span) -> int:
        """All rows of the panes of a span."""
        return self._rows[self._place[span.end]] - self._rows[self._place[span.start]]

    def panes(self, spans: Sequence[Span]) -> int:
        """How many panes these spans have."""
        return sum(self._place[span.end] - self._place[span.start] for span in spans)

    def before(self, spans: Sequence[Span], moment: datetime) -> list[Span]:
        """What of these spans is in panes that end before this moment."""
        ended = bisect_left(self._bounds, moment) - 1
        last = self._bounds[max(ended, 0)]
        return [Span(span.start, min(span.end, last)) for span in spans if span.start < last]

    def empty_panes(self, spans: Sequence[Span]) -> int:
        """How many panes without rows these spans begin with."""
        empty = 0
        for span in spans:
            first, last = self._place[span.start], self._place[span.end]
            filled = bisect_right(self._rows, self._rows[first], lo=first)
            empty += min(filled - 1, last) - first
            if filled <= last:
                break
        return empty

    def newest(self, until: datetime) -> datetime | None:
        """The newest time of any row in panes that end by then."""
        position = bisect_right(self._seen_until, until)
        seen = self._newest[position - 1] if position else None
        return max(filter(None, (seen, self._newest_before)), default=None)


def read_panes(
    services: Services,
    monitor: MonitorConfig,
    reference: Reference,
    *,
    live: Sequence[Span],
    sliding: Sequence[Span] = (),
    revise: int,
) -> PaneTable:
    """Counts of every live and sliding reference pane for every feature with a bin spec.

    Where a live pane is new, the `revise` panes before it are read again for late rows, in the same statement; they
    may lie before the window. Raises SourceError when the source fails.
    """
    before: tuple[Span, ...] = ()
    if live and revise:
        before = monitor.grid.panes(Span(monitor.grid.shift(live[0].start, -revise), live[0].start))
    table = _stored(services, monitor, reference, (*before, *sliding, *live))
    again = _late(table, reference, before, live)
    wanted = tuple(dict.fromkeys((*again, *sliding, *live)))
    for spans, features in _missing(table, reference, wanted, again).items():
        counters = [reference.counter(feature) for feature in features]
        reading = services.sources[monitor.source].read(live_dataset(services.config, monitor), counters, spans)
        _take(services, monitor, reference, table, reading)
    return table


def _stored(services: Services, monitor: MonitorConfig, reference: Reference, wanted: Sequence[Span]) -> PaneTable:
    whole = Span(min(span.start for span in wanted), max(span.end for span in wanted))
    table = PaneTable(span=whole)
    dataset = dataset_definition(services.config, monitor)
    definitions = {
        name: (feature_definition(services.config, monitor, feature.watched), feature.spec.id)
        for name, feature in reference.features.items()
    }
    with services.store.read() as conn:
        table.counts.update(pane_store.stored(conn, monitor.name, definitions, whole))
        for row in pane_store.stored_rows(conn, monitor.name, dataset, whole):
            table.rows[row.span] = row.rows
            table.newest[row.span] = row.newest
        table.newest_before = pane_store.newest_row(conn, monitor.name, dataset, whole.start)
    return table


def _late(table: PaneTable, reference: Reference, before: Sequence[Span], live: Sequence[Span]) -> tuple[Span, ...]:
    """The panes to read again: as many as `before` has, up to the first new one, where they were read already."""
    known = [table.counts.get(feature, {}).keys() for feature in reference.features]
    for position, pane in enumerate(live):
        if pane not in table.rows or any(pane not in panes for panes in known):
            earlier = (*before, *live)[position : position + len(before)]
            return tuple(pane for pane in earlier if pane in table.rows)
    return ()


def _missing(
    table: PaneTable, reference: Reference, wanted: Sequence[Span], again: Sequence[Span]
) -> Mapping[tuple[Span, ...], Sequence[str]]:
    """Features grouped by the panes they lack. A pane without row totals is read for all of them."""
    groups: dict[tuple[Span, ...], list[str]] = defaultdict(list)
    for feature in reference.features:
        known = table.counts.get(feature, {})
        spans = tuple(span for span in wanted if span in again or span not in known or span not in table.rows)
        if spans:
            groups[spans].append(feature)
    if not reference.features:
        bare = tuple(span for span in wanted if span in again or span not in table.rows)
        if bare:
            groups[bare] = []
    return groups


def _take(services: Services, monitor: MonitorConfig, reference: Reference, table: PaneTable, reading: Reading) -> None:
    table.failed.update(reading.failed)
    table.rows_read += int(reading.rows.sum())
    definition = dataset_definition(services.config, monitor)
    for position, span in enumerate(reading.spans):
        rows, newest = int(reading.rows[position]), reading.newest[position]
        table.rows[span], table.newest[span] = rows, newest
        table.fresh_rows.append(PaneRows(segment="", definition=definition, span=span, rows=rows, newest=newest))
    for name, counts in reading.counts.items():
        feature = reference.features[name]
        feature_hash = feature_definition(services.config, monitor, feature.watched)
        for position, span in enumerate(reading.spans):
            table.counts[name][span] = counts[position]
            table.fresh_counts.append(
                PaneCounts(
                    feature=name,
                    segment="",
                    span=span,
                    spec_id=feature.spec.id,
                    definition=feature_hash,
                    counts=counts[position],
                )
            )
