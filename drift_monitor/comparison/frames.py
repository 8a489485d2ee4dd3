"""Compare two pandas frames: bins from the reference, both sides counted, every divergence with its noise.

Nothing is configured, stored or logged. Kinds and bins are those a monitor would use: 16 quantiles of the reference
with tail edges for numbers, its 30 most frequent labels for texts; see `columns` for what counts as missing.
"""

import difflib
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from drift_monitor.comparison.columns import ColumnValues, count, profile, read_column
from drift_monitor.comparison.report import ComparisonReport, make_report
from drift_monitor.core.binning import make_spec
from drift_monitor.core.distribution import Smoothing, SmoothingMethod
from drift_monitor.core.histogram import Histogram
from drift_monitor.errors import InputError

_NAMED = 8  # names in a message


def compare(
    reference_frame: pd.DataFrame,
    live_frame: pd.DataFrame,
    *,
    features: Iterable[Hashable] | None = None,
    smoothing: str = SmoothingMethod.ANCHORED,
    pseudocount: float = 0.5,
    min_rows: int = 1,
) -> ComparisonReport:
    """Compare live with reference, column by column.

    `features`: the columns to compare; all of them, which must be the same on both sides, where it is not given.
    `smoothing`, `pseudocount`: as for `compare_counts`. `min_rows`: with fewer rows on one side a feature is
    `insufficient_data` and has no divergences; monitors ask for 200, here the interval says how sure a value is.

    Columns that can't be binned (times, lists, a reference with infinite values only) are in `skipped`. Raises
    InputError (a ValueError) on anything but two frames with rows and with these columns.
    """
    chosen = make_smoothing(smoothing, pseudocount)
    _check_rows(min_rows)
    reference, live = _columns(reference_frame, "reference"), _columns(live_frame, "live")
    names = choose_features(list(reference), list(live), None if features is None else _names(features))
    sides: list[tuple[str, Histogram, Histogram]] = []
    skipped: dict[str, str] = {}
    for name in names:
        try:
            sides.append((name, *_counted(reference[name], live[name])))
        except InputError as error:
            skipped[name] = str(error)
    return make_report(sides, skipped, chosen, min_rows)


def make_smoothing(method: str, pseudocount: float) -> Smoothing:
    """The smoothing by its name; raises InputError."""
    if method not in list(SmoothingMethod):
        raise InputError(f"smoothing {method!r} is unknown; expected one of {', '.join(SmoothingMethod)}")
    return Smoothing(SmoothingMethod(method), pseudocount)


def choose_features(reference: Sequence[str], live: Sequence[str], features: Sequence[str] | None) -> Sequence[str]:
    """The columns to compare, which both sides must have; raises InputError naming those that are missing."""
    if features is None:
        extra = {"reference": _without(reference, live), "live": _without(live, reference)}
        if any(extra.values()):
            found = "; ".join(f"only {side} has {_listed(names)}" for side, names in extra.items() if names)
            raise InputError(f"the two sides have different columns: {found}; name the features to compare")
        return reference
    if not features:
        raise InputError("no features to compare: name at least one")
    for side, names in (("reference", reference), ("live", live)):
        absent = _without(features, names)
        if absent:
            raise InputError(f"{side} has no column {_listed(absent)}{_meant(absent[0], names)}")
    return list(dict.fromkeys(features))


def _counted(reference: "pd.Series[Any]", live: "pd.Series[Any]") -> tuple[Histogram, Histogram]:
    """Live and reference in the reference's bins."""
    reference_column = _read(reference, "reference")
    spec = make_spec(profile(reference_column))
    return count(_read(live, "live"), spec), count(reference_column, spec)


def _read(column: "pd.Series[Any]", side: str) -> ColumnValues:
    try:
        return read_column(column)
    except InputError as error:
        raise InputError(f"{side}: {error}") from None


def _columns(frame: Any, side: str) -> Mapping[str, "pd.Series[Any]"]:
    if not isinstance(frame, pd.DataFrame):
        raise InputError(f"{side} must be a pandas DataFrame, found {type(frame).__name__}")
    if frame.empty:
        raise InputError(f"{side} has no {'rows' if len(frame.columns) else 'columns'}: there is nothing to compare")
    columns: dict[str, pd.Series[Any]] = {}
    for position, label in enumerate(frame.columns):
        name = str(label)
        if name in columns:
            raise InputError(f"{side} has two columns named {name!r}; rename one of them")
        columns[name] = frame.iloc[:, position]
    return columns


def _check_rows(min_rows: Any) -> None:
    if isinstance(min_rows, bool) or not isinstance(min_rows, int) or min_rows < 1:
        raise InputError(f"min_rows {min_rows!r} is no number of rows; the least is 1")


def _names(features: Any) -> Sequence[str]:
    if isinstance(features, str) or not isinstance(features, Iterable):
        raise InputError(f"features must be a list of column names, found {features!r}")
    return [str(feature) for feature in features]


def _without(names: Sequence[str], others: Sequence[str]) -> Sequence[str]:
    known = set(others)
    return [name for name in names if name not in known]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(repr(name) for name in names[:_NAMED]) + more


def _meant(name: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
