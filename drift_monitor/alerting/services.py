"""Everything a use case needs from outside, handed over as one value by the composition root."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from drift_monitor.clock import Clock
from drift_monitor.config.schema import Config
from drift_monitor.notify.factory import Sender
from drift_monitor.sources.source import Source
from drift_monitor.store.connection import Store
from drift_monitor.telemetry.logs import StepObserver
from drift_monitor.telemetry.metrics import Telemetry


@dataclass(frozen=True, kw_only=True)
class PastProgress:
    """How far the evaluation of a monitor's past has come; `window_end` is the last window's, None before the first."""

    done: int
    total: int
    window_end: datetime | None


@dataclass(frozen=True, kw_only=True)
class Services:
    """One wired process. `owner` names this start of it: never a host name, which restarts would share."""

    config: Config
    store: Store
    sources: Mapping[str, Source]
    senders: Mapping[str, Sender]
    clock: Clock
    telemetry: Telemetry
    owner: str
    external_url: str
    observe_step: StepObserver
    # By monitor, while its past is being evaluated in this process: pages show it. The only part that changes.
    past: dict[str, PastProgress] = field(default_factory=dict)
