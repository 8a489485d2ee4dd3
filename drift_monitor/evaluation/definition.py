"""What exactly is counted: the datasets of a monitor, its features, and the content hash of each.

Counts are stored under the hash of their definition, so that counts made with another table, filter or expression
are never merged with today's. Connection details are not part of it: a new password changes no counts.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from drift_monitor.config.schema import Config, FixedRange, FixedTable, MonitorConfig, SourceConfig
from drift_monitor.core.binning import Binning, Edges, Quantiles, Top, Uniform
from drift_monitor.sources.dataset import Dataset, FeatureColumn
from drift_monitor.sources.dialects.base import ColumnInfo


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
            if name not in left_out and info.kind is not None
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


def _hash(*parts: object) -> str:
    text = json.dumps(parts, default=str, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:32]
