"""What a driver's error means to us, and the sentence people read about it.

Drivers' messages may hold values of the user's rows ("invalid input syntax: ..."), so only messages about names and
syntax are passed on; of the others the class of the error is told.
"""

from dataclasses import dataclass
from enum import StrEnum

from drift_monitor.errors import DatasetError, FailureReason, FeatureError
from drift_monitor.sources.dataset import Dataset, FeatureColumn


class ErrorKind(StrEnum):
    """Kinds of errors of a driver, as a dialect classifies them."""

    UNAVAILABLE = "unavailable"
    TIMEOUT = "timeout"
    CONFLICT = "conflict"
    TABLE_MISSING = "table_missing"
    COLUMN_MISSING = "column_missing"
    PERMISSION = "permission"
    QUERY = "query"


@dataclass(frozen=True)
class Failure:
    """What is wrong, and what to do next."""

    reason: FailureReason
    detail: str
    hint: str


class StatementRefused(Exception):
    """A statement the database would not run. It never leaves this room: who knows its subject gives it a name."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.detail)
        self.failure = failure


REASONS = {
    ErrorKind.TABLE_MISSING: FailureReason.TABLE_MISSING,
    ErrorKind.COLUMN_MISSING: FailureReason.COLUMN_MISSING,
    ErrorKind.PERMISSION: FailureReason.PERMISSION,
    ErrorKind.QUERY: FailureReason.QUERY_FAILED,
}

HINTS = {
    FailureReason.TABLE_MISSING: "check the name in the configuration, and the schema if it is not the default one",
    FailureReason.COLUMN_MISSING: "check the name in the configuration, or restore the column",
    FailureReason.PERMISSION: "grant SELECT on it to the role of the source's URL",
    FailureReason.QUERY_FAILED: "run the same SQL by hand to see what it makes of the rows",
}


def dataset_error(dataset: Dataset, failure: Failure) -> DatasetError:
    """The failure of a dataset, with its names."""
    return DatasetError(f"monitor {dataset.monitor!r}, {dataset}: {failure.detail}; {failure.hint}", failure.reason)


def feature_error(dataset: Dataset, column: FeatureColumn, failure: Failure) -> FeatureError:
    """The failure of one feature, with its names."""
    subject = f"monitor {dataset.monitor!r}, feature {column.feature!r}, {column} of {dataset}"
    return FeatureError(column.feature, f"{subject}: {failure.detail}; {failure.hint}", failure.reason)
