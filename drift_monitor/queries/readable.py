"""What pages and gauges read: the configuration, the store and the clock of the running service, and nothing else."""

from collections.abc import Mapping
from typing import Protocol

from drift_monitor.alerting.services import PastProgress
from drift_monitor.clock import Clock
from drift_monitor.config.schema import Config
from drift_monitor.store.connection import Store
from drift_monitor.telemetry.metrics import Telemetry


class Readable(Protocol):
    """`alerting.services.Services` as this room sees it: no source is read and no message sent to show a page."""

    @property
    def config(self) -> Config: ...

    @property
    def store(self) -> Store: ...

    @property
    def clock(self) -> Clock: ...

    @property
    def telemetry(self) -> Telemetry: ...

    @property
    def past(self) -> Mapping[str, PastProgress]: ...
