"""Two CSV or Parquet files as frames whose columns can be compared.

A CSV file does not say what its columns are, and one word among numbers turns a whole column into texts. The reference
decides: where it has texts, live is read as texts too ("007" stays "007"); where it has numbers or truth values, each
live value that is one is read as one, and the others stay texts, which count as invalid.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from drift_monitor.errors import InputError

_TRUTHS = {"true": True, "false": False}


def read_files(reference: Path, live: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both frames. Raises InputError where a file can't be read."""
    reference_frame = _read(reference, {})
    texts = {name: "string" for name in reference_frame.columns if _is_text(reference_frame[name])}
    live_frame = _read(live, texts)
    for name in live_frame.columns.intersection(reference_frame.columns):
        if _is_text(live_frame[name]) and name not in texts:
            live_frame[name] = _like(live_frame[name], reference_frame[name])
    return reference_frame, live_frame


def _read(path: Path, dtypes: dict[str, str]) -> pd.DataFrame:
    readers: dict[str, Callable[[Path, dict[str, str]], pd.DataFrame]] = {
        ".parquet": _read_parquet,
        ".pq": _read_parquet,
        ".csv": _read_csv,
        ".tsv": _read_csv,
    }
    suffixes = [suffix.lower() for suffix in path.suffixes]
    reader = next((readers[suffix] for suffix in suffixes if suffix in readers), None)
    if reader is None:
        raise InputError(f"{path}: expected a file that ends in .csv, .csv.gz, .tsv or .parquet")
    try:
        return reader(path, dtypes)
    except ImportError:
        raise InputError('Parquet needs an extra: pip install "drift-monitor[parquet]"') from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or 'it can not be read'}") from error
    except (ValueError, EOFError) as error:  # pandas' and pyarrow's own errors are ValueErrors
        raise InputError(f"{path}: {str(error).strip() or 'it can not be read'}") from error


def _read_csv(path: Path, dtypes: dict[str, str]) -> pd.DataFrame:
    separator = "\t" if ".tsv" in [suffix.lower() for suffix in path.suffixes] else ","
    return pd.read_csv(path, sep=separator, dtype=dtypes, dtype_backend="numpy_nullable", low_memory=False)


def _read_parquet(path: Path, _: dict[str, str]) -> pd.DataFrame:
    return pd.read_parquet(path, engine="pyarrow", dtype_backend="pyarrow")


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
