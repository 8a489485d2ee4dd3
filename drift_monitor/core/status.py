"""What became of a measurement, and how a monitor is doing. Neither is an alert state; neither ever reads as calm."""

from enum import StrEnum


class MeasurementStatus(StrEnum):
    """Whether one feature could be measured in one evaluation."""

    OK = "ok"  # both sides have rows enough: every value is there
    INSUFFICIENT_DATA = "insufficient_data"  # counted, but too few rows or too little of the reference to compare
    NO_DATA = "no_data"  # no live rows or no reference rows: nothing to say
    FAILED = "failed"  # the feature could not be read


class Health(StrEnum):
    """How the last evaluation of a monitor went."""

    UNKNOWN = "unknown"  # never evaluated
    OK = "ok"  # read, computed and stored
    ERROR = "error"  # the source or the store failed; alert states stay as they were
