"""Compare two pandas frames: bins from the reference, both sides counted, every divergence with its noise.

Nothing is configured, stored or logged. Kinds and bins are those a monitor would use: 16 quantiles of the reference
with tail edges for numbers, its 30 most frequent labels for texts; see `columns` for what counts as missing.

A CSV file does not say what its columns are, and one word among numbers turns a whole column into texts. The reference
decides: where it has texts, live is read as texts too ("007" stays "007"); where it has numbers or truth values, each
live value that is one is read as one, and the others stay texts, which count as invalid.
"""

import difflib
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from drift_monitor.comparison.columns import ColumnValues, count, profile, read_column
from drift_monitor.comparison.report import ComparisonReport, make_report
from drift_monitor.core.binning import is_key, make_spec
from drift_monitor.core.distribution import Histogram, chosen_smoothing
from drift_monitor.errors import InputError

_NAMED = 8  # names in a message
_TRUTHS = {"true": True, "false": False}
_CSV, _PARQUET = (".csv", ".tsv"), (".parquet", ".pq")


def compare(
    reference_frame: pd.DataFrame,
    live_frame: pd.DataFrame,
    *,
    features: Iterable[Hashable] | None = None,
    smoothing: str | None = None,
    pseudocount: float | None = None,
    min_rows: int = 1,
) -> ComparisonReport:
    """Compare live with reference, column by column.

    `features`: the columns to compare; those that both sides have, where it is not given.
    `smoothing`, `pseudocount`: as for `compare_counts`. `min_rows`: with fewer rows on one side a feature is
    `insufficient_data` and has no divergences; monitors ask for 200, here the interval says how sure a value is.

    Columns that only one side has and those that can't be binned (times, lists, a reference with infinite values only)
    are in `skipped`, keys in `keys`. Raises InputError (a ValueError) on anything but two frames with rows and with
    these columns.
    """
    chosen = chosen_smoothing(smoothing, pseudocount)
    least: Any = min_rows
    if isinstance(least, bool) or not isinstance(least, int) or least < 1:
        raise InputError(f"min_rows {min_rows!r} is no number of rows; the least is 1")
    reference, live = _columns(reference_frame, "reference"), _columns(live_frame, "live")
    wanted: Any = features  # whatever a notebook hands in
    if wanted is not None:
        if isinstance(wanted, str) or not isinstance(wanted, Iterable):
            raise InputError(f"features must be a list of column names, found {wanted!r}")
        wanted = [str(feature) for feature in wanted]
    names = choose_features(list(reference), list(live), wanted)
    sides: list[tuple[str, Histogram, Histogram]] = []
    skipped = of_one_side(list(reference), list(live)) if wanted is None else {}
    keys = set()
    for name in names:
        try:
            reference_column = _read_column(reference[name], "reference")
            found = profile(reference_column)
            spec = make_spec(found)
            if is_key(name, found):
                keys.add(name)
            live_column = _read_column(live[name], "live")
            sides.append((name, count(live_column, spec), count(reference_column, spec)))
        except InputError as error:
            skipped[name] = str(error)
    return make_report(sides, skipped, chosen, min_rows, keys)


def read_files(reference: Path, live: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both frames. Raises InputError where a file can't be read."""
    reference_frame = _read(reference, {})
    texts = {name: "string" for name in reference_frame.columns if _is_text(reference_frame[name])}
    live_frame = _read(live, texts)
    for name in live_frame.columns.intersection(reference_frame.columns):
        if _is_text(live_frame[name]) and name not in texts:
            live_frame[name] = _like(live_frame[name], reference_frame[name])
    return reference_frame, live_frame


def _read(path: Path, texts: Mapping[str, str]) -> pd.DataFrame:
    """A file as a frame; `texts` are the columns of a CSV that are taken for texts, whatever they look like."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    kind = next((suffix for suffix in suffixes if suffix in (*_CSV, *_PARQUET)), None)
    if kind is None:
        raise InputError(f"{path}: expected a file that ends in .csv, .csv.gz, .tsv or .parquet")
    try:
        if kind in _PARQUET:
            return pd.read_parquet(path, engine="pyarrow", dtype_backend="pyarrow")
        separator = "\t" if ".tsv" in suffixes else ","
        return pd.read_csv(path, sep=separator, dtype=texts, dtype_backend="numpy_nullable", low_memory=False)
    except ImportError:
        raise InputError('Parquet needs an extra: pip install "drift-monitor[parquet]"') from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or 'it can not be read'}") from error
    except (ValueError, EOFError) as error:  # pandas' and pyarrow's own errors are ValueErrors
        raise InputError(f"{path}: {str(error).strip() or 'it can not be read'}") from error


def _is_text(column: "pd.Series[Any]") -> bool:
    """Texts; a column without values is not one."""
    return bool(pd.api.types.is_string_dtype(column.dtype) and column.notna().any())


def _like(texts: "pd.Series[Any]", reference: "pd.Series[Any]") -> "pd.Series[Any]":
    """Each text as the number or truth value it is, if the reference has such."""
    values = texts.astype(object)
    if pd.api.types.is_bool_dtype(reference.dtype):
        return values.map(lambda value: _TRUTHS.get(str(value).lower(), value))
    if not pd.api.types.is_numeric_dtype(reference.dtype):
        return texts
    numbers = pd.to_numeric(values, errors="coerce").astype(object)
    return numbers.where(numbers.notna(), values)


def choose_features(reference: Sequence[str], live: Sequence[str], features: Sequence[str] | None) -> Sequence[str]:
    """The columns to compare, by default those that both sides have; raises InputError naming what is missing."""
    if features is None:
        alone = set(_without(reference, live))
        common = [name for name in reference if name not in alone]
        if not common:
            sides = f"reference has {_listed(reference)}, live has {_listed(live)}"
            raise InputError(f"the two sides have no column in common: {sides}")
        return common
    if not features:
        raise InputError("no features to compare: name at least one")
    for side, names in (("reference", reference), ("live", live)):
        absent = _without(features, names)
        if absent:
            close = difflib.get_close_matches(absent[0], names, n=1)
            meant = f" (did you mean {close[0]!r}?)" if close else ""
            raise InputError(f"{side} has no column {_listed(absent)}{meant}")
    return list(dict.fromkeys(features))


def of_one_side(reference: Sequence[str], live: Sequence[str]) -> dict[str, str]:
    """The columns that only one side has, with the reason why they are not compared."""
    return {
        **dict.fromkeys(_without(reference, live), "only the reference has it"),
        **dict.fromkeys(_without(live, reference), "only live has it"),
    }


def _read_column(column: "pd.Series[Any]", side: str) -> ColumnValues:
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


def _without(names: Sequence[str], others: Sequence[str]) -> Sequence[str]:
    known = set(others)
    return [name for name in names if name not in known]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(repr(name) for name in names[:_NAMED]) + more
