"""Which panes are not stored yet? Read those, and the last few again for late rows; all else comes from the store.

Counts per (feature, pane) are read once and merged ever after. Features whose panes are missing alike are counted by
one statement per chunk of features; a feature that was added later is filled on its own.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from drift_monitor.alerting.services import Services
from drift_monitor.config.schema import MonitorConfig
from drift_monitor.core.bins import BinSpec
from drift_monitor.core.histogram import Counts, Histogram
from drift_monitor.core.panes import Span
from drift_monitor.errors import FeatureError
from drift_monitor.evaluation.definition import dataset_definition, feature_definition, live_dataset
from drift_monitor.evaluation.reference import Reference
from drift_monitor.sources.dataset import Reading
from drift_monitor.store import panes as pane_store
from drift_monitor.store.panes import PaneCounts, PaneRows


@dataclass
class PaneTable:
    """Counts and row totals by pane, stored ones and those just read; `fresh_*` are still to be saved.

    `newest` are the newest times in each pane, `newest_before` the newest in all panes before these.
    """

    counts: dict[str, dict[Span, Counts]] = field(default_factory=lambda: defaultdict(dict))
    rows: dict[Span, int] = field(default_factory=dict)
    newest: dict[Span, datetime | None] = field(default_factory=dict)
    newest_before: datetime | None = None
    failed: dict[str, FeatureError] = field(default_factory=dict)
    fresh_counts: list[PaneCounts] = field(default_factory=list)
    fresh_rows: list[PaneRows] = field(default_factory=list)
    rows_read: int = 0

    def merged(self, feature: str, spec: BinSpec, spans: Sequence[Span]) -> Histogram | None:
        """All these panes of a feature as one histogram; None where one of them was never counted."""
        known = self.counts.get(feature, {})
        if any(span not in known for span in spans):
            return None
        stacked = [known[span] for span in spans]
        total: Counts = np.add.reduce(stacked) if stacked else np.zeros(spec.size, dtype=np.int64)
        return Histogram(spec, np.array(total))


def read_panes(
    services: Services,
    monitor: MonitorConfig,
    reference: Reference,
    *,
    live: Sequence[Span],
    sliding: Sequence[Span] = (),
    revise: int = 0,
) -> PaneTable:
    """Counts of every live and sliding reference pane for every feature with a bin spec.

    Where a live pane is new, the `revise` panes before it are read again for late rows, in the same statement; they
    may lie before the window. Raises SourceError when the source fails.
    """
    before = _panes_before(monitor, live, revise)
    table = _stored(services, monitor, reference, (*before, *sliding, *live))
    again = _late(table, reference, before, live)
    wanted = tuple(dict.fromkeys((*again, *sliding, *live)))
    for spans, features in _missing(table, reference, wanted, again).items():
        counters = [reference.counter(feature) for feature in features]
        reading = services.sources[monitor.source].read(live_dataset(services.config, monitor), counters, spans)
        _take(services, monitor, reference, table, reading)
    return table


def _stored(services: Services, monitor: MonitorConfig, reference: Reference, wanted: Sequence[Span]) -> PaneTable:
    table = PaneTable()
    if not wanted:
        return table
    whole = Span(min(span.start for span in wanted), max(span.end for span in wanted))
    definitions = {
        name: (feature_definition(services.config, monitor, one.watched), one.spec.id)
        for name, one in reference.features.items()
    }
    with services.store.read() as conn:
        table.counts.update(pane_store.stored(conn, monitor.name, definitions, whole))
        for row in pane_store.stored_rows(conn, monitor.name, dataset_definition(services.config, monitor), whole):
            table.rows[row.span] = row.rows
            table.newest[row.span] = row.newest
        table.newest_before = pane_store.newest_row(
            conn, monitor.name, dataset_definition(services.config, monitor), whole.start
        )
    return table


def _panes_before(monitor: MonitorConfig, live: Sequence[Span], count: int) -> tuple[Span, ...]:
    if not live or not count:
        return ()
    return monitor.grid.panes(Span(monitor.grid.shift(live[0].start, -count), live[0].start))


def _late(table: PaneTable, reference: Reference, before: Sequence[Span], live: Sequence[Span]) -> tuple[Span, ...]:
    """The panes to read again: as many as `before` has, up to the first new one, where they were read already."""
    known = [table.counts.get(feature, {}).keys() for feature in reference.features]
    for position, pane in enumerate(live):
        if pane not in table.rows or any(pane not in panes for panes in known):
            earlier = (*before, *live)[position : position + len(before)]
            return tuple(one for one in earlier if one in table.rows)
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
        table.fresh_rows.append(PaneRows(definition=definition, span=span, rows=rows, newest=newest))
    for feature, counts in reading.counts.items():
        one = reference.features[feature]
        feature_hash = feature_definition(services.config, monitor, one.watched)
        for position, span in enumerate(reading.spans):
            table.counts[feature][span] = counts[position]
            table.fresh_counts.append(
                PaneCounts(
                    feature=feature,
                    segment="",
                    span=span,
                    spec_id=one.spec.id,
                    definition=feature_hash,
                    counts=counts[position],
                )
            )
