"""Compare two tables of a source: described, profiled and counted in the database, no row is loaded."""

from collections.abc import Sequence

from drift_monitor.comparison.frames import choose_features, of_one_side
from drift_monitor.comparison.report import ComparisonReport, make_report
from drift_monitor.core.binning import is_key, make_spec
from drift_monitor.core.distribution import Histogram, Smoothing
from drift_monitor.errors import FeatureError, InputError
from drift_monitor.sources.dataset import Counter, Dataset, FeatureColumn
from drift_monitor.sources.source import Source


def compare_tables(
    source: Source, reference: str, live: str, *, features: Sequence[str] | None = None
) -> ComparisonReport:
    """Live compared with reference, column by column, as `compare` does with frames.

    Raises InputError where they have no column in common or a table is empty, and SourceError where one can't be read.
    """
    tables = Dataset(table=reference), Dataset(table=live)
    known = [source.describe(table).columns for table in tables]
    names = choose_features(list(known[0]), list(known[1]), features)
    skipped = of_one_side(list(known[0]), list(known[1])) if features is None else {}
    skipped |= {
        name: f"values of type {known[0][name].sql_type or 'unknown'} have no bins"
        for name in names
        if known[0][name].kind is None
    }
    keys: set[str] = set()
    counters = _counters(source, tables[0], [name for name in names if name not in skipped], skipped, keys)
    readings = [source.read(table, counters, None) for table in tables]
    for table, reading in zip(tables, readings, strict=True):
        if not reading.rows.sum():
            raise InputError(f"{table} has no rows: there is nothing to compare")
    sides: list[tuple[str, Histogram, Histogram]] = []
    for counter in counters:
        failed = [reading.failed[counter.feature] for reading in readings if counter.feature in reading.failed]
        if failed:
            skipped[counter.feature] = str(failed[0])
            continue
        counted = [Histogram(counter.spec, reading.counts[counter.feature][0]) for reading in readings]
        sides.append((counter.feature, counted[1], counted[0]))
    return make_report(sides, skipped, Smoothing(), min_rows=1, keys=keys)


def _counters(
    source: Source, reference: Dataset, names: Sequence[str], skipped: dict[str, str], keys: set[str]
) -> list[Counter]:
    """The bins of each feature, from the reference; what has none is added to `skipped`, what is a key to `keys`."""
    profiles = source.profile(reference, [FeatureColumn(feature=name, column=name) for name in names], None)
    counters = []
    for name, found in profiles.items():
        try:
            if isinstance(found, FeatureError):
                raise found
            counters.append(Counter(feature=name, column=name, spec=make_spec(found)))
            if is_key(name, found):
                keys.add(name)
        except (FeatureError, InputError) as error:
            skipped[name] = str(error)
    return counters
