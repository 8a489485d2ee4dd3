"""Look at a table before anything is configured: which column is its time, since when it has rows, and how many a day.

A time column is found by its type first, then by its name: databases without a type for times hold them as texts or
seconds. What it says is checked by reading it; a column that can't be placed in time is not one. A few rows dated far
after all others, or in the future, don't hide the table.
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
_PLAUSIBLE = datetime(1990, 1, 1, tzinfo=UTC)  # what is older may be a small number, not a time
_FAR_MONTHS, _FEW = 3, 0.001  # so far from all others, so few of the rows: a mistyped date
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
    `later`: rows that are dated after all these, far from them or after now.
    """

    start: datetime
    end: datetime
    newest: datetime
    daily: tuple[int, ...]
    is_longer: bool
    later: int = 0

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
    is_daily: bool
    history: TableHistory


def inspect_table(source: Source, table: str, now: datetime, time_column: str | None = None) -> Inspection:
    """Find a table's time column and its history. Raises InputError with what to do where that can't be done."""
    description = _describe(source, table)
    columns = _ranked(source, table, description) if time_column is None else [_named(table, description, time_column)]
    reasons = []
    for column in columns:
        found = _inspected(source, table, description, column, now)
        if isinstance(found, Inspection):
            return found
        if column.is_time or sounds_like_time(column.name) or time_column is not None:
            reasons.append(found)
    if not source.read(_dataset(table), [], None).rows.sum():
        raise InputError(f"table {table!r} is empty: there is nothing yet that bins could be made from")
    raise InputError(f"table {table!r}: {_without_time(reasons)}")


def _ranked(source: Source, table: str, description: Description) -> list[ColumnInfo]:
    """The columns that may hold times, the likeliest first."""
    indexed = source.indexed_columns(_dataset(table))
    ranked = []
    for position, info in enumerate(description.columns.values()):
        rank = _name_rank(info.name)
        sounds = rank < len(_TIME_NAMES)
        if info.is_time or info.kind is Kind.CATEGORICAL or (sounds and info.kind is Kind.NUMERIC):
            later = re.fullmatch(_LATER_TIMES, info.name, re.IGNORECASE) is not None
            ranked.append(((not info.is_time, later, rank, info.name not in indexed, position), info))
    return [info for _, info in sorted(ranked, key=lambda item: item[0])]


def _named(table: str, description: Description, name: str) -> ColumnInfo:
    if name in description.columns:
        return description.columns[name]
    raise InputError(f"table {table!r} has no column {name!r}; {_near(name, list(description.columns))}")


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


def _inspected(
    source: Source, table: str, description: Description, column: ColumnInfo, now: datetime
) -> Inspection | str:
    """The table by this time column, or why it is none."""
    dataset = _dataset(table, column.name, _UTC)
    try:
        told = source.describe(dataset)
        if not told.time_is_naive:
            dataset = _dataset(table, column.name)
        found = latest_rows(source, dataset, now)
        if found.newest is None:
            return f"{column.name!r}: no row has a time in it from {_PLAUSIBLE.year} until now"
        history = _history(source, dataset, found, is_daily=told.time_is_daily)
    except DatasetError as error:
        return str(error).removeprefix(f"{dataset}: ")
    return Inspection(
        dataset=dataset,
        description=description,
        time_column=column,
        is_naive=told.time_is_naive,
        is_daily=told.time_is_daily,
        history=history,
    )


@dataclass(frozen=True, kw_only=True)
class LatestRows:
    """The newest row that has others near it, and how many rows are dated later: far from the others, or after now."""

    newest: datetime | None
    later: int
    latest: datetime | None


def latest_rows(source: Source, dataset: Dataset, now: datetime) -> LatestRows:
    """Look at all rows of a dataset by months. Raises SourceError."""
    until = now + DAY
    months = [Span(_EVER.start, _PLAUSIBLE)]
    while months[-1].end < until:
        months.append(Span(months[-1].end, min(months[-1].end + 30 * DAY, until)))
    reading = source.read(dataset, [], [*months[1:], Span(until, _EVER.end)])
    *rows, future = reading.rows.tolist()
    last = _last_month(rows)
    return LatestRows(
        newest=None if last is None else reading.newest[last],
        later=future + (0 if last is None else sum(rows[last + 1 :])),
        latest=max((at for at in reading.newest if at is not None), default=None),
    )


def _last_month(rows: Sequence[int]) -> int | None:
    """The last one with rows; a few that stand alone far after all others, as mistyped dates do, are not looked at."""
    filled = [number for number, count in enumerate(rows) if count]
    while len(filled) > 1 and filled[-1] - filled[-2] > _FAR_MONTHS and rows[filled[-1]] <= _FEW * sum(rows):
        filled.pop()
    return filled[-1] if filled else None


def _history(source: Source, dataset: Dataset, found: LatestRows, *, is_daily: bool) -> TableHistory:
    newest = found.newest
    assert newest is not None  # the caller has looked
    end = newest.replace(hour=0, minute=0, second=0, microsecond=0) + DAY
    if not is_daily:
        end = newest.replace(minute=0, second=0, microsecond=0) + HOUR
    hourly = 0 if is_daily else _HOURLY_DAYS
    hours = [Span(end - (hour + 1) * HOUR, end - hour * HOUR) for hour in range(hourly * 24)]
    days = [Span(end - (day + 1) * DAY, end - day * DAY) for day in range(hourly, _DAILY_DAYS)]
    *rows, older_rows = source.read(dataset, [], [*hours, *days, Span(_EVER.start, days[-1].start)]).rows.tolist()
    filled = [span for span, count in zip([*hours, *days], rows, strict=True) if count]
    daily = [sum(rows[24 * day : 24 * day + 24]) for day in range(hourly)] + rows[len(hours) :]
    start = days[-1].start if older_rows else filled[-1].start
    kept = -((start - end) // DAY)
    return TableHistory(
        start=start,
        end=end,
        newest=newest,
        daily=tuple(reversed(daily[:kept])),
        is_longer=bool(older_rows),
        later=found.later,
    )


def _without_time(reasons: Sequence[str]) -> str:
    found = "; ".join(reasons) or "no column says when a row was recorded"
    return (
        f"{found}. A monitor needs such a column: name it with --time-column, make one in a view, or write a "
        "configuration with a `query` that has one; two tables without times can be compared with "
        "`drift-monitor compare REFERENCE LIVE --source URL`"
    )
