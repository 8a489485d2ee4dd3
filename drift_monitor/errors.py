"""Every error the package raises on purpose, as one tree.

    DriftMonitorError
    ├── InputError               (also ValueError) numbers or frames that are no distribution, counts or table
    │   ├── OutOfRange           a time at an end of the calendar
    │   ├── UnknownId            nothing in the store has this id
    │   └── AlreadyOver          what was to be changed has ended, or was never so
    ├── ConfigError              a configuration with its `problems`, all of them at once
    ├── SourceError              something about a user's database; `reason` is a FailureReason
    │   ├── SourceUnavailable    refused, lost, authentication; trying again may help
    │   ├── SourceTimeout        a statement ran into its limit; trying again may help
    │   ├── DatasetError         table, view, query or time column missing, forbidden or of the wrong type
    │   ├── FeatureError         one column missing, of the wrong type, forbidden or failing; the others go on
    │   └── InconsistentCounts   the bins did not add up to the rows: a reading that must not be used
    ├── StoreError               something about our own store
    │   ├── StoreUnavailable     refused, lost, full; trying again may help
    │   │   └── StoreBusy        another transaction holds the write lock of the SQLite file
    │   ├── StoreOutdated        the schema is older or newer than this program
    │   ├── StoreLocked          another daemon owns this SQLite file
    │   └── LeaseLost            another replica holds the work: nothing was written
    └── DeliveryError            a notification was not accepted; `retryable` and `retry_after` say what next

The message names the thing at fault, the value found and the next step. Foreign exceptions (SQLAlchemy, httpx, YAML)
are translated once, at the edge of the room that met them.

The closed vocabularies of `reason` labels, so that every series can start at 0 before the first failure.
"""

from dataclasses import dataclass
from enum import StrEnum


class FailureReason(StrEnum):
    """Why a source could not be read, as metrics and the store name it."""

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    TABLE_MISSING = "table_missing"
    COLUMN_MISSING = "column_missing"
    TYPE_CHANGED = "type_changed"
    UNSUPPORTED_TYPE = "unsupported_type"
    INVALID_VALUES = "invalid_values"
    PERMISSION = "permission"
    NAIVE_TIME = "naive_time"
    QUERY_FAILED = "query_failed"
    INCONSISTENT = "inconsistent"


class DriftMonitorError(Exception):
    """Root of the tree."""


class InputError(DriftMonitorError, ValueError):
    """Numbers or frames that can't be compared."""


class OutOfRange(InputError):
    """A time that is one, at an end of the calendar where nothing can be reckoned."""


class UnknownId(InputError):
    """Nothing in the store has the id that was named."""


class AlreadyOver(InputError):
    """What was named stands otherwise than the change needs: it has ended, or was never so."""


@dataclass(frozen=True)
class Problem:
    """One mistake in a configuration file: where, what was found, what to do."""

    file: str
    line: int
    column: int
    message: str
    hint: str = ""

    def __str__(self) -> str:
        hint = f" ({self.hint})" if self.hint else ""
        return f"{self.file}:{self.line}:{self.column}: {self.message}{hint}"


class ConfigError(DriftMonitorError):
    """A configuration that can't be used; `problems` holds every mistake found."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class SourceError(DriftMonitorError):
    """A user's database could not be read."""

    retryable = False

    def __init__(self, message: str, reason: FailureReason) -> None:
        super().__init__(message)
        self.reason = reason


class SourceUnavailable(SourceError):
    """The database can't be reached, or refuses us."""

    retryable = True

    def __init__(self, message: str) -> None:
        super().__init__(message, FailureReason.UNREACHABLE)


class SourceTimeout(SourceError):
    """A statement ran into its time limit."""

    retryable = True

    def __init__(self, message: str) -> None:
        super().__init__(message, FailureReason.TIMEOUT)


class DatasetError(SourceError):
    """The table, view or query of a monitor can't be read as configured."""


class FeatureError(SourceError):
    """One feature can't be read; the others of its monitor go on."""

    def __init__(self, feature: str, message: str, reason: FailureReason) -> None:
        super().__init__(message, reason)
        self.feature = feature


class InconsistentCounts(SourceError):
    """Bins that don't add up to the row count of the same statement."""

    retryable = True

    def __init__(self, message: str) -> None:
        super().__init__(message, FailureReason.INCONSISTENT)


class StoreError(DriftMonitorError):
    """Our own store failed."""


class StoreUnavailable(StoreError):
    """The store can't be reached, is busy, or is full."""


class StoreBusy(StoreUnavailable):
    """Another transaction holds the write lock of the SQLite file."""


class StoreOutdated(StoreError):
    """The store's schema is older or newer than this program understands."""


class StoreLocked(StoreError):
    """Another daemon owns this SQLite store."""


class LeaseLost(StoreError):
    """The right to this piece of work has passed to another replica."""


class DeliveryError(DriftMonitorError):
    """A notification was not accepted by its receiver."""

    def __init__(
        self,
        message: str,
        *,
        retryable: bool,
        reason: str,
        status_code: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.reason = reason
        self.status_code = status_code
        self.retry_after = retry_after


class RunFailure(StrEnum):
    """Why an evaluation failed for a cause that is not the source's."""

    STORE = "store"  # our own database refused, was lost or busy
    LEASE_LOST = "lease_lost"  # another replica holds the work
    INTERNAL = "internal"  # an error of ours


class MissedReason(StrEnum):
    """Why a window was skipped for good."""

    DOWNTIME = "downtime"  # older than `catch_up` windows when the service came back


class RequestRefusal(StrEnum):
    """Why an HTTP request was refused before it reached a page."""

    HEAD_SIZE = "head_size"
    HOST = "host"
    CREDENTIALS = "credentials"
    LOGIN_FLOOD = "login_flood"
    ORIGIN = "origin"
    BODY_SIZE = "body_size"
    OVERLOAD = "overload"


class DeliveryFailure(StrEnum):
    """Why a notification was not accepted."""

    TIMEOUT = "timeout"  # the total deadline passed
    DNS = "dns"  # the name did not resolve
    NETWORK = "network"  # refused, reset, unreachable, no HTTP
    TLS = "tls"  # handshake or certificate
    ADDRESS_REFUSED = "address_refused"  # the outbound guard said no
    REDIRECT = "redirect"  # 3xx; never followed
    AUTH_ERROR = "auth_error"  # 401, 403, 407
    RATE_LIMITED = "rate_limited"  # 429
    CLIENT_ERROR = "client_error"  # other 4xx
    SERVER_ERROR = "server_error"  # 5xx
    INVALID = "invalid"  # a body or an address that can't be sent at all


RUN_FAILURE_REASONS: tuple[str, ...] = (*FailureReason, *RunFailure)
