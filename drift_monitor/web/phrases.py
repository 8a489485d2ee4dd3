"""Words that only pages and labels need: datasets, references, reasons; all others are in `words`."""

from datetime import datetime
from typing import Final

from drift_monitor import words
from drift_monitor.alerting.annotations import SelfAlert
from drift_monitor.config.schema import FixedRange, FixedTable, Reference, SamePeriod, Trailing
from drift_monitor.core.times import format_duration, rfc3339
from drift_monitor.queries.status import Unmeasured

SELF_ALERT_TEXTS: Final = {
    SelfAlert.FAILING.value: "its evaluations fail",
    SelfAlert.RECEIVER.value: "one of its receivers accepts no message",
    SelfAlert.STALE.value: "nothing has evaluated it for more than three intervals",
}
UNMEASURED_TEXTS: Final = {
    Unmeasured.TOO_FEW_ROWS: "too few rows to compare",
    Unmeasured.NO_ROWS: "no rows on one side",
    Unmeasured.COLUMN_MISSING: "its column is missing",
    Unmeasured.TYPE_CHANGED: "its column changed its type",
    Unmeasured.UNSUPPORTED_TYPE: "its column has a type that can't be read",
    Unmeasured.INVALID_VALUES: "most values of its reference are none of its kind",
    Unmeasured.SOURCE_ERROR: "the source could not be read",
}


def dataset_text(table: str | None) -> str:
    """The table's name; a query has none."""
    return table or "query"


def reference_text(reference: Reference) -> str:
    """What live rows are compared with."""
    match reference:
        case FixedTable():
            return dataset_text(reference.table)
        case FixedRange():
            return f"{instant_text(reference.from_)} to {instant_text(reference.to)}"
        case Trailing():
            gap = f", gap {format_duration(reference.gap)}" if reference.gap else ""
            return f"trailing {format_duration(reference.trailing)}{gap}"
        case SamePeriod():
            return f"same period of {reference.count} times {format_duration(reference.every)}"


def instant_text(at: datetime) -> str:
    """A moment in UTC, to the minute."""
    return f"{words.minute(at)} UTC"


def ago_text(moment: datetime, at: datetime) -> str:
    """How long ago, or in how long."""
    length = words.age(at - moment)
    return f"{length} ago" if moment <= at else f"in {length}"


def iso_text(at: datetime) -> str:
    """A moment as links carry it."""
    return rfc3339(at, "seconds")
