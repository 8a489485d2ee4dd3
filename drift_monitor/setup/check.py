"""Does a configuration fit the databases it names? Asks every source and describes every dataset; changes nothing.

Each finding has the path of the configuration's key it is about, so that it can be told with its place in the file.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from drift_monitor.config.schema import Config, FixedTable, MonitorConfig
from drift_monitor.core.schedule import Span
from drift_monitor.errors import FeatureError, SourceError
from drift_monitor.evaluation.reference import (
    WatchedFeature,
    configured_features,
    live_dataset,
    reference_dataset,
    reference_source,
)
from drift_monitor.sources.dataset import Description
from drift_monitor.sources.source import Source

Path_ = tuple[str | int, ...]


@dataclass(frozen=True, kw_only=True)
class ConnectProblem:
    """One thing that was found, and the key it is about. `is_mistake` is False for what is only worth knowing."""

    path: Path_
    message: str
    is_mistake: bool = True


def check_sources(config: Config, sources: Mapping[str, Source], now: datetime) -> Iterator[ConnectProblem]:
    """Everything that would keep the monitors from reading, and what they will leave out."""
    silent: set[str] = set()
    for index, source in enumerate(config.sources):
        try:
            sources[source.name].ping()
        except SourceError as error:
            silent.add(source.name)
            yield ConnectProblem(path=("sources", index), message=str(error))
    for index, monitor in enumerate(config.monitors):
        if silent.isdisjoint({monitor.source, reference_source(config, monitor).name}):
            yield from _check_monitor(config, sources, index, now)


def _check_monitor(
    config: Config, sources: Mapping[str, Source], index: int, now: datetime
) -> Iterator[ConnectProblem]:
    monitor, path = config.monitors[index], ("monitors", index)
    source, dataset = sources[monitor.source], live_dataset(config, monitor)
    try:
        description = source.describe(dataset)
    except SourceError as error:
        is_time = f"time column {monitor.time_column!r}" in str(error)
        key = "time_column" if is_time else "table" if monitor.table is not None else "query"
        yield ConnectProblem(path=(*path, key), message=str(error))
        return
    features = configured_features(monitor, description.columns)
    found = source.describe_features(dataset, [feature.column for feature in features])
    for position, feature in enumerate(features):
        info = found[feature.name]
        if isinstance(info, FeatureError):
            place = (*path, "features") if monitor.features == "all" else (*path, "features", position)
            yield ConnectProblem(path=place, message=str(info))
    yield from _left_out(monitor, description, path)
    end = monitor.grid.last_settled(now, monitor.settle)
    try:
        source.read(dataset, [], [Span(monitor.grid.shift(end, -1), end)])
    except SourceError as error:
        yield ConnectProblem(path=(*path, "time_column"), message=str(error))
    if isinstance(monitor.reference, FixedTable):
        yield from _check_reference(config, sources, monitor, features, path)


def _check_reference(
    config: Config,
    sources: Mapping[str, Source],
    monitor: MonitorConfig,
    features: Sequence[WatchedFeature],
    path: Path_,
) -> Iterator[ConnectProblem]:
    source = sources[reference_source(config, monitor).name]
    dataset = reference_dataset(config, monitor)
    place = (*path, "reference")
    try:
        source.describe(dataset)
    except SourceError as error:
        yield ConnectProblem(path=place, message=f"reference: {error}")
        return
    found = source.describe_features(dataset, [feature.column for feature in features])
    for info in found.values():
        if isinstance(info, FeatureError):
            yield ConnectProblem(path=place, message=f"reference: {info}")


def _left_out(monitor: MonitorConfig, description: Description, path: Path_) -> Iterator[ConnectProblem]:
    """With `features: all`, the columns that are not watched though nobody said so."""
    if monitor.features != "all":
        return
    place = (*path, "features")
    wanted = {name: info for name, info in description.columns.items() if name not in monitor.exclude}
    for name, info in wanted.items():
        if info.kind is None and name != monitor.time_column:
            message = (
                f"monitor {monitor.name!r}: column {name!r} of type {info.sql_type} can't be watched and is left out"
            )
            yield ConnectProblem(path=place, message=message, is_mistake=False)
    for name in description.forbidden:
        if name not in monitor.exclude:
            message = f"monitor {monitor.name!r}: column {name!r} is not for our role to read and is left out"
            yield ConnectProblem(path=place, message=message, is_mistake=False)
    for name in monitor.exclude:
        if name not in description.columns and name not in description.forbidden:
            message = f"monitor {monitor.name!r}: excluded column {name!r} does not exist"
            yield ConnectProblem(path=(*path, "exclude"), message=message, is_mistake=False)
