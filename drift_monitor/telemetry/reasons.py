"""The closed vocabularies of `reason` labels, so that every series can start at 0 before the first failure."""

from enum import StrEnum

from drift_monitor.errors import FailureReason


class RunFailure(StrEnum):
    """Why an evaluation failed for a cause that is not the source's."""

    STORE = "store"  # our own database refused, was lost or busy
    LEASE_LOST = "lease_lost"  # another replica holds the work
    INTERNAL = "internal"  # an error of ours


class MissedReason(StrEnum):
    """Why a window was skipped for good."""

    DOWNTIME = "downtime"  # older than `catch_up` windows when the service came back


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
