"""Does a configuration fit the databases it names? Every dataset is described, a pane counted, and nothing changed.

Each finding has the path of the configuration's key it is about, so that it can be told with its place in the file.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from drift_monitor.config.schema import Config, FixedTable, MonitorConfig
from drift_monitor.core.bins import BinSpec, BooleanBins, CategoricalBins, Kind, NumericBins, ValueType
from drift_monitor.core.distribution import Histogram
from drift_monitor.core.schedule import Span
from drift_monitor.errors import FeatureError, SourceError, SourceTimeout
from drift_monitor.evaluation.reference import (
    WatchedFeature,
    configured_features,
    live_dataset,
    reference_dataset,
    reference_source,
)
from drift_monitor.setup.inspection import LatestRows, latest_rows
from drift_monitor.sources.dataset import Counter, Dataset, Description
from drift_monitor.sources.dialects.base import ColumnInfo
from drift_monitor.sources.source import Source
from drift_monitor.words import minute

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
            continue
        for risk in sources[source.name].risks():
            yield ConnectProblem(path=("sources", index), message=risk, is_mistake=False)
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
    counters = [_counter(feature, info) for feature in features if isinstance(info := found[feature.name], ColumnInfo)]
    try:
        yield from _counted(source, monitor, dataset, counters, path, now)
    except SourceError as error:
        yield ConnectProblem(path=(*path, "time_column"), message=str(error))
    if isinstance(monitor.reference, FixedTable):
        yield from _check_reference(config, sources, monitor, features, path)


def _counter(feature: WatchedFeature, info: ColumnInfo) -> Counter:
    """Counts a feature into the fewest bins of its kind: what is asked is whether the statement works at all."""
    column = feature.column
    specs: Mapping[Kind, BinSpec] = {
        Kind.NUMERIC: NumericBins((0.0, 1.0), ValueType.FLOAT),
        Kind.BOOLEAN: BooleanBins(),
    }
    spec = specs.get(info.kind or Kind.CATEGORICAL, CategoricalBins(()))
    return Counter(feature=feature.name, column=column.column, expression=column.expression, spec=spec)


def _counted(
    source: Source, monitor: MonitorConfig, dataset: Dataset, counters: Sequence[Counter], path: Path_, now: datetime
) -> Iterator[ConnectProblem]:
    """Run the counting statement over one pane, the last one with rows. Raises SourceError."""
    end = monitor.grid.last_settled(now, monitor.settle)
    pane = Span(monitor.grid.shift(end, -1), end)
    reading = source.read(dataset, counters, [pane])
    try:
        rows = latest_rows(source, dataset, now)
        yield from _remarks_on_times(monitor, rows, path, now)
        if not reading.rows[0] and rows.newest is not None:
            start = monitor.grid.last_settled(rows.newest, timedelta(0))
            pane = Span(start, monitor.grid.shift(start, 1))
            reading = source.read(dataset, counters, [pane])
    except SourceTimeout as error:
        message = f"monitor {monitor.name!r}: not all rows were looked at: {error}"
        yield ConnectProblem(path=(*path, "time_column"), message=message, is_mistake=False)
    bare = source.read(dataset, [], [pane]).rows[0] if counters else reading.rows[0]
    if bare > reading.rows[0]:
        message = (
            f"monitor {monitor.name!r}: {bare:,} rows become {reading.rows[0]:,} when its features are read: "
            "an expression aggregates them; write it without sum(), max() and the like"
        )
        yield ConnectProblem(path=(*path, "features"), message=message)
    positions = {} if monitor.features == "all" else {each.name: at for at, each in enumerate(monitor.features)}
    for counter in counters:
        place: Path_ = (*path, "features")
        if counter.feature in positions:
            place = (*place, positions[counter.feature])
        if counter.feature in reading.failed:
            yield ConnectProblem(path=place, message=str(reading.failed[counter.feature]))
            continue
        found = Histogram(counter.spec, reading.counts[counter.feature][0])
        if found.invalid_rows > (found.rows - found.missing_rows) / 2:
            message = (
                f"monitor {monitor.name!r}, feature {counter.feature!r}: {found.invalid_rows:,} of {found.rows:,} rows "
                f"are no {counter.spec.kind.value} values"
            )
            yield ConnectProblem(path=place, message=message, is_mistake=False)


def _remarks_on_times(monitor: MonitorConfig, rows: LatestRows, path: Path_, now: datetime) -> Iterator[ConnectProblem]:
    """What is odd about when the rows of a dataset are dated."""
    if rows.newest is None and not rows.later:
        messages = ["it has no rows at all"]
    else:
        messages = []
        if rows.newest is None or now - rows.newest > monitor.window:
            last = "there is none before now" if rows.newest is None else f"the newest is of {minute(rows.newest)}"
            messages.append(f"the last window has no rows, {last}: evaluations of now find no data")
        if rows.later and rows.latest is not None:
            messages.append(f"rows dated later: {rows.later:,}, up to {minute(rows.latest)}; nothing sees them")
    for message in messages:
        yield ConnectProblem(
            path=(*path, "time_column"), message=f"monitor {monitor.name!r}: {message}", is_mistake=False
        )


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
        if name == monitor.time_column:
            continue
        if info.is_time and info.kind is not None:
            message = f"monitor {monitor.name!r}: column {name!r} holds dates and is left out unless it is named"
            yield ConnectProblem(path=place, message=message, is_mistake=False)
        elif info.kind is None:
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
