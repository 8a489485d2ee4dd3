"""Build a reference and its bin specs once, freeze them under their content hash, and use them ever after.

A fixed table or range is counted once, with the same statement as live rows, and kept. A sliding reference freezes
only its bin specs, made from the first range that holds rows enough; its counts are sums of panes. Nothing that is
written to the user's table later moves a frozen reference.

What exactly is counted: the datasets of a monitor, its features, and the content hash of each.

Counts are stored under the hash of their definition, so that counts made with another table, filter or expression are
never merged with today's. Connection details are not part of it: a new password changes no counts.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Final

from drift_monitor.alerting.services import Services
from drift_monitor.config.schema import (
    Config,
    FixedRange,
    FixedTable,
    MonitorConfig,
    SamePeriod,
    SourceConfig,
    Trailing,
)
from drift_monitor.core.binning import Binning, Edges, Profile, Quantiles, Top, Uniform, make_spec
from drift_monitor.core.bins import BinSpec
from drift_monitor.core.distribution import Histogram, histogram
from drift_monitor.core.schedule import Span
from drift_monitor.errors import FailureReason, FeatureError, InputError
from drift_monitor.sources.dataset import Counter, Dataset, FeatureColumn
from drift_monitor.sources.dialects.base import ColumnInfo
from drift_monitor.store import references as reference_store
from drift_monitor.store.references import StoredReference


@dataclass(frozen=True, kw_only=True)
class WatchedFeature:
    """A feature with the column it is read from and the way it is to be binned."""

    column: FeatureColumn
    binning: Binning | None = None

    @property
    def name(self) -> str:
        return self.column.feature


def live_dataset(config: Config, monitor: MonitorConfig) -> Dataset:
    """The table, view or query whose live rows are watched."""
    source = config.source(monitor.source)
    return Dataset(
        monitor=monitor.name,
        table=monitor.table,
        query=monitor.query,
        where=monitor.where,
        time_column=monitor.time_column,
        time_zone=source.time_zone,
    )


def reference_dataset(config: Config, monitor: MonitorConfig) -> Dataset:
    """What the reference rows are read from: a fixed table of its own, otherwise the live dataset."""
    reference = monitor.reference
    if not isinstance(reference, FixedTable):
        return live_dataset(config, monitor)
    return Dataset(
        monitor=monitor.name,
        table=reference.table,
        query=reference.query,
        where=reference.where,
        time_column=None,
        time_zone=reference_source(config, monitor).time_zone,
    )


def reference_source(config: Config, monitor: MonitorConfig) -> SourceConfig:
    """The source that holds the reference rows."""
    reference = monitor.reference
    own = reference.source if isinstance(reference, FixedTable) else None
    return config.source(own or monitor.source)


def configured_features(monitor: MonitorConfig, columns: Mapping[str, ColumnInfo]) -> tuple[WatchedFeature, ...]:
    """The features of a monitor; `all` takes every supported column but the time column and the excluded ones."""
    if monitor.features == "all":
        left_out = {monitor.time_column, *monitor.exclude}
        return tuple(
            WatchedFeature(column=FeatureColumn(feature=name, column=name, expression=None, kind=None))
            for name, info in columns.items()
            if name not in left_out and info.kind is not None and not info.is_time
        )
    return tuple(
        WatchedFeature(
            column=FeatureColumn(
                feature=feature.name,
                column=None if feature.expression else feature.name,
                expression=feature.expression,
                kind=feature.kind,
            ),
            binning=feature.bins,
        )
        for feature in monitor.features
    )


def dataset_definition(config: Config, monitor: MonitorConfig) -> str:
    """Hash of the rows that are counted."""
    source = config.source(monitor.source)
    return _hash(source.name, monitor.table, monitor.query, monitor.where, monitor.time_column, _zone_name(source))


def feature_definition(config: Config, monitor: MonitorConfig, feature: WatchedFeature) -> str:
    """Hash of the rows and of the value that is counted in each of them."""
    column = feature.column
    return _hash(dataset_definition(config, monitor), column.column, column.expression, column.kind)


def reference_definition(config: Config, monitor: MonitorConfig, feature: WatchedFeature) -> str:
    """Hash of what a frozen reference was made from; a change makes a new reference."""
    reference = monitor.reference
    made_from: tuple[object, ...]
    match reference:
        case FixedTable():
            source = reference_source(config, monitor)
            made_from = ("table", source.name, reference.table, reference.query, reference.where, _zone_name(source))
        case FixedRange():
            made_from = ("range", reference.from_.isoformat(), reference.to.isoformat())
        case _:
            made_from = ("sliding",)
    return _hash(feature_definition(config, monitor, feature), _binning_text(feature.binning), *made_from)


def _binning_text(binning: Binning | None) -> str:
    """How a way of binning is written into a hash.

    These words are in every store's hashes and never change, whatever the classes are called: another text would make
    all references anew.
    """
    match binning:
        case None:
            return "None"
        case Quantiles(count):
            return f"Quantiles(count={count})"
        case Uniform(count):
            return f"Uniform(count={count})"
        case Edges(edges):
            return f"Edges(edges={tuple(edges)!r})"
        case Top(count):
            return f"Top(count={count})"


def _zone_name(source: SourceConfig) -> str | None:
    return source.time_zone.key if source.time_zone else None


@lru_cache(maxsize=16384)  # every window asks for the same ones
def _hash(*parts: object) -> str:
    text = json.dumps(parts, default=str, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:32]


# What stores call the kinds: part of each reference's id, so these words never change, whatever the classes are called.
REFERENCE_KINDS: Final[Mapping[type, str]] = {
    FixedTable: "FixedTable",
    FixedRange: "FixedRange",
    Trailing: "Trailing",
    SamePeriod: "SamePeriod",
}


@dataclass(frozen=True, kw_only=True)
class FeatureReference:
    """One feature's frozen reference; `counts` is None where the reference slides."""

    watched: WatchedFeature
    spec: BinSpec
    counts: Histogram | None
    built_at: datetime


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The frozen references of a monitor's features, and the features that have none: why, or with how few rows."""

    features: Mapping[str, FeatureReference]
    failed: Mapping[str, FeatureError]
    waiting: Mapping[str, int] = field(default_factory=dict)

    def counter(self, feature: str) -> Counter:
        """How this feature is counted."""
        one = self.features[feature]
        column = one.watched.column
        return Counter(feature=feature, column=column.column, expression=column.expression, spec=one.spec)


def reference_spans(monitor: MonitorConfig, window: Span) -> tuple[Span, ...]:
    """The spans a sliding reference covers for a window; empty for a fixed one."""
    grid = monitor.grid
    match monitor.reference:
        case Trailing() as trailing:
            end = grid.shift(window.start, -(trailing.gap // grid.length))
            return (grid.window(end, trailing.trailing),)
        case SamePeriod() as periods:
            step = periods.every // grid.length
            return tuple(
                Span(grid.shift(window.start, -step * back), grid.shift(window.end, -step * back))
                for back in range(periods.count, 0, -1)
            )
        case _:
            return ()


def ensure_reference(services: Services, monitor: MonitorConfig, window: Span) -> Reference:
    """The frozen references, building those that do not exist yet; raises SourceError when the source fails."""
    stored = _stored(services, monitor)
    features = _features(services, monitor, stored)
    definitions = {one.name: reference_definition(services.config, monitor, one) for one in features}
    known = {
        one.name: _load(one, stored[one.name])
        for one in features
        if one.name in stored and stored[one.name].definition == definitions[one.name]
    }
    missing = [one for one in features if one.name not in known]
    if not missing:
        return Reference(features=known, failed={})
    made = _build(services, monitor, window, missing, definitions)
    everything = {**known, **made.features}
    ordered = {one.name: everything[one.name] for one in features if one.name in everything}
    return Reference(features=ordered, failed=made.failed, waiting=made.waiting)


def rebuild_reference(services: Services, monitor: MonitorConfig, window: Span, only: str | None) -> Reference:
    """Build the frozen references anew, of all features or of one, from the rows that are there now.

    The one before stays in force where that fails. Raises InputError for an unknown feature, SourceError, StoreError.
    """
    features = _features(services, monitor, _stored(services, monitor))
    chosen = [one for one in features if only in (None, one.name)]
    if not chosen:
        names = ", ".join(one.name for one in features)
        raise InputError(f"monitor {monitor.name!r} has no feature {only!r}; it has {names}")
    definitions = {one.name: reference_definition(services.config, monitor, one) for one in chosen}
    return _build(services, monitor, window, chosen, definitions)


@dataclass(frozen=True, kw_only=True)
class _Site:
    """Where reference rows are: the dataset in its source, the span to profile and the spans to count."""

    dataset: Dataset
    source: str
    profiled: Span | None
    counted: tuple[Span, ...] | None
    slides: bool


def _site(services: Services, monitor: MonitorConfig, window: Span) -> _Site:
    dataset = reference_dataset(services.config, monitor)
    source = reference_source(services.config, monitor).name
    match monitor.reference:
        case FixedTable():
            return _Site(dataset=dataset, source=source, profiled=None, counted=None, slides=False)
        case FixedRange() as fixed:
            span = Span(fixed.from_, fixed.to)
            return _Site(dataset=dataset, source=source, profiled=span, counted=(span,), slides=False)
        case _:
            spans = reference_spans(monitor, window)
            whole = Span(spans[0].start, spans[-1].end)
            return _Site(dataset=dataset, source=source, profiled=whole, counted=(), slides=True)


def _stored(services: Services, monitor: MonitorConfig) -> Mapping[str, StoredReference]:
    with services.store.read() as conn:
        return reference_store.current(conn, monitor.name)


def _features(
    services: Services, monitor: MonitorConfig, stored: Mapping[str, StoredReference]
) -> Sequence[WatchedFeature]:
    """With `features: all`, the columns the table had when the reference was made."""
    if monitor.features != "all":
        return configured_features(monitor, {})
    watched = [WatchedFeature(column=FeatureColumn(feature=name, column=name)) for name in stored]
    current = [
        one
        for one in watched
        if stored[one.name].definition == reference_definition(services.config, monitor, one)
        and one.name not in monitor.exclude
    ]
    if current:
        return current
    dataset = live_dataset(services.config, monitor)
    return configured_features(monitor, services.sources[monitor.source].describe(dataset).columns)


def _load(watched: WatchedFeature, stored: StoredReference) -> FeatureReference:
    return FeatureReference(
        watched=watched,
        spec=stored.spec,
        counts=histogram(stored.spec, stored.counts) if stored.counts is not None else None,
        built_at=stored.built_at,
    )


def _build(
    services: Services,
    monitor: MonitorConfig,
    window: Span,
    features: Sequence[WatchedFeature],
    definitions: Mapping[str, str],
) -> Reference:
    """Profile, make specs, count once, freeze. A feature with too few reference rows waits for more."""
    site = _site(services, monitor, window)
    profiles = services.sources[site.source].profile(site.dataset, [one.column for one in features], site.profiled)
    failed = {name: one for name, one in profiles.items() if isinstance(one, FeatureError)}
    usable = {name: one for name, one in profiles.items() if not isinstance(one, FeatureError)}
    waiting = {name: one.rows for name, one in usable.items() if one.rows < monitor.min_rows}
    specs: dict[str, BinSpec] = {}
    for feature in features:
        if feature.name in usable and feature.name not in waiting:
            made = _spec(monitor, feature, usable[feature.name])
            if isinstance(made, FeatureError):
                failed[feature.name] = made
            else:
                specs[feature.name] = made
    counts = _count(services, site, features, specs, failed)
    now = services.clock.now()
    built = {
        feature.name: FeatureReference(
            watched=feature, spec=specs[feature.name], counts=counts.get(feature.name), built_at=now
        )
        for feature in features
        if feature.name in specs and feature.name not in failed
    }
    _freeze(services, monitor, site, built, definitions)
    return Reference(features=built, failed=failed, waiting=waiting)


def _spec(monitor: MonitorConfig, feature: WatchedFeature, profile: Profile) -> BinSpec | FeatureError:
    try:
        return make_spec(profile, feature.binning)
    except InputError as error:
        message = f"monitor {monitor.name}, feature {feature.name}: no bins can be made from the reference: {error}"
        return FeatureError(feature.name, message, FailureReason.UNSUPPORTED_TYPE)


def _count(
    services: Services,
    site: _Site,
    features: Sequence[WatchedFeature],
    specs: Mapping[str, BinSpec],
    failed: dict[str, FeatureError],
) -> Mapping[str, Histogram]:
    if site.slides or not specs:
        return {}
    counters = [
        Counter(feature=one.name, column=one.column.column, expression=one.column.expression, spec=specs[one.name])
        for one in features
        if one.name in specs
    ]
    reading = services.sources[site.source].read(site.dataset, counters, site.counted)
    failed.update(reading.failed)
    return {name: Histogram(specs[name], counts[0]) for name, counts in reading.counts.items()}


def _freeze(
    services: Services,
    monitor: MonitorConfig,
    site: _Site,
    built: Mapping[str, FeatureReference],
    definitions: Mapping[str, str],
) -> None:
    rows = [
        StoredReference(
            monitor=monitor.name,
            feature=name,
            segment="",
            definition=definitions[name],
            kind=REFERENCE_KINDS[type(monitor.reference)],
            span=site.profiled,
            spec=one.spec,
            counts=tuple(one.counts.counts.tolist()) if one.counts else None,
            built_at=one.built_at,
        )
        for name, one in built.items()
    ]
    if rows:
        services.store.transact(lambda conn: reference_store.save(conn, rows))


def window_of(monitor: MonitorConfig, window_end: datetime) -> Span:
    """The live window that ends there."""
    return monitor.grid.window(window_end, monitor.window)
