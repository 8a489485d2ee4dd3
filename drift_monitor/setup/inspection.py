"""Look at a table before anything is configured: which column is its time, since when it has rows, and how many a day.

A time column is found by its type first, then by its name: databases without a type for times hold them as texts or
seconds. What it says is checked by reading it; a column that can't be placed in time is not one.
"""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from drift_monitor.core.bins import Kind
from drift_monitor.core.schedule import Span
from drift_monitor.errors import DatasetError, FailureReason, InputError
from drift_monitor.sources.dataset import Dataset, Description
from drift_monitor.sources.dialects.base import ColumnInfo
from drift_monitor.sources.source import Source

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
_UTC = ZoneInfo("UTC")
_EVER = Span(datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC))
_PLAUSIBLE = datetime(1990, 1, 1, tzinfo=UTC)  # a newest row before that is a small number, not a time
_HOURLY_DAYS = 14  # the newest days are looked at hour by hour
_DAILY_DAYS = 90  # the others day by day; what is older is only known to be there
_NEAR_NAMES = 8

# Best first: when something happened or was written. Then what only sounds like it.
_TIME_NAMES = (
    r"(ts|time|timestamp|datetime|event_?time|occurred(_?at)?|recorded(_?at)?|happened_?at|created(_?at)?|inserted(_?at)?)",
    r".*(_at|_ts|_time|_timestamp|_datetime|At|Time)",
    r".*(date|day|time|stamp)",
)
_LATER_TIMES = r".*(updat|modif|chang|delet|birth|dob|due|expir|valid|until|end|clos|ship|deliver|cancel).*"


@dataclass(frozen=True, kw_only=True)
class TableHistory:
    """Rows of a table over time. `daily`: the 24 hours each before `end`, newest last, empty ones at the start cut off.

    `start`: when the rows begin, to the hour or the day; `is_longer` where there are older ones than were looked at.
    """

    start: datetime
    end: datetime
    newest: datetime
    daily: tuple[int, ...]
    is_longer: bool

    @property
    def length(self) -> timedelta:
        return self.end - self.start

    @property
    def rows(self) -> int:
        return sum(self.daily)


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """A table with its time column and its rows over time; `dataset` can be read."""

    dataset: Dataset
    description: Description
    time_column: ColumnInfo
    is_naive: bool
    history: TableHistory


def inspect_table(source: Source, table: str) -> Inspection:
    """Find a table's time column and its history. Raises InputError with what to do where that can't be done."""
    description = _describe(source, table)
    indexed = source.indexed_columns(_dataset(table))
    ranked = []
    for position, info in enumerate(description.columns.values()):
        rank = _name_rank(info.name)
        if info.is_time or (rank < len(_TIME_NAMES) and info.kind in (Kind.NUMERIC, Kind.CATEGORICAL)):
            later = re.fullmatch(_LATER_TIMES, info.name, re.IGNORECASE) is not None
            ranked.append(((not info.is_time, later, rank, info.name not in indexed, position), info))
    columns = [info for _, info in sorted(ranked, key=lambda item: item[0])]
    for column in columns:
        found = _inspected(source, table, description, column)
        if found is not None:
            return found
    raise InputError(f"table {table!r}: {_without_time(columns)}")


def _describe(source: Source, table: str) -> Description:
    try:
        return source.describe(_dataset(table))
    except DatasetError as error:
        if error.reason is FailureReason.TABLE_MISSING:
            raise InputError(f"table {table!r} does not exist; {_near(table, source.tables())}") from error
        raise InputError(str(error)) from error


def _near(table: str, names: Sequence[str]) -> str:
    if not names:
        return "the role of this URL can see no table at all"
    folded = {name.casefold(): name for name in names}
    close = difflib.get_close_matches(table.casefold(), folded, n=_NEAR_NAMES, cutoff=0.5)
    if close:
        return f"near that are {', '.join(repr(folded[name]) for name in close)}"
    more = f" and {len(names) - _NEAR_NAMES} more" if len(names) > _NEAR_NAMES else ""
    return f"there are {', '.join(map(repr, names[:_NEAR_NAMES]))}{more}"


def _dataset(table: str, time_column: str | None = None, time_zone: ZoneInfo | None = None) -> Dataset:
    return Dataset(table=table, time_column=time_column, time_zone=time_zone)


def _name_rank(name: str) -> int:
    ranks = (rank for rank, pattern in enumerate(_TIME_NAMES) if re.fullmatch(pattern, name, re.IGNORECASE))
    return next(ranks, len(_TIME_NAMES))


def sounds_like_time(name: str) -> bool:
    """Whether a column of this name holds times, if its values are almost all different."""
    return _name_rank(name) < len(_TIME_NAMES)


def _inspected(source: Source, table: str, description: Description, column: ColumnInfo) -> Inspection | None:
    """The table by this time column; None where its values are no times, or there are none."""
    try:
        is_naive = source.describe(_dataset(table, column.name)).time_is_naive
        dataset = _dataset(table, column.name, _UTC if is_naive else None)
        newest = source.read(dataset, [], [_EVER]).newest[0]
        if newest is None or newest < _PLAUSIBLE:
            return None
        end = newest.replace(minute=0, second=0, microsecond=0) + HOUR
        hours = [Span(end - (hour + 1) * HOUR, end - hour * HOUR) for hour in range(_HOURLY_DAYS * 24)]
        days = [Span(end - (day + 1) * DAY, end - day * DAY) for day in range(_HOURLY_DAYS, _DAILY_DAYS)]
        older = Span(_EVER.start, days[-1].start)
        *rows, older_rows = source.read(dataset, [], [*hours, *days, older]).rows.tolist()
        filled = [span for span, count in zip([*hours, *days], rows, strict=True) if count]
        daily = [sum(rows[24 * day : 24 * day + 24]) for day in range(_HOURLY_DAYS)] + rows[len(hours) :]
        start = days[-1].start if older_rows else filled[-1].start
        kept = -((start - end) // DAY)
        history = TableHistory(
            start=start, end=end, newest=newest, daily=tuple(reversed(daily[:kept])), is_longer=bool(older_rows)
        )
    except DatasetError:
        return None
    return Inspection(dataset=dataset, description=description, time_column=column, is_naive=is_naive, history=history)


def _without_time(tried: Sequence[ColumnInfo]) -> str:
    columns = ", ".join(repr(info.name) for info in tried)
    found = f"no row has a time in {columns}" if tried else "no column says when a row was recorded"
    return (
        f"{found}, and a monitor needs one. Make one in a view, or write a configuration with a `query` that has one; "
        "two tables without times can be compared with `drift-monitor compare REFERENCE LIVE --source URL`"
    )
