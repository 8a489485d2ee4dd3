"""The configuration as the program uses it: checked, defaults filled in, nothing left to look up.

Values are frozen. Secrets are `SecretStr`: they never show in a repr, and neither in `public()` nor in a hash.
"""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar
from zoneinfo import ZoneInfo

from pydantic import Field, InstanceOf, SecretStr

from drift_monitor.config import public
from drift_monitor.config.outbound import ANYWHERE, OutboundConfig
from drift_monitor.config.receivers import ReceiverConfig
from drift_monitor.config.value import Value
from drift_monitor.core.binning import Edges, Quantiles, Top, Uniform
from drift_monitor.core.bins import Kind
from drift_monitor.core.distribution import Smoothing, SmoothingMethod
from drift_monitor.core.divergence import Metric
from drift_monitor.core.panes import PaneGrid
from drift_monitor.core.rules import Comparand, Rule, Severity
from drift_monitor.core.schedule import Cron, Every, Schedule
from drift_monitor.core.times import rfc3339
from drift_monitor.errors import InputError, Problem

Binning = InstanceOf[Quantiles] | InstanceOf[Uniform] | InstanceOf[Edges] | InstanceOf[Top]


class Retention(Value):
    """How long history is kept."""

    panes: timedelta = timedelta(days=90)
    measurements: timedelta = timedelta(days=400)

    def public(self) -> dict[str, Any]:
        return {"panes": public.duration(self.panes), "measurements": public.duration(self.measurements)}


class StoreConfig(Value):
    """The service's own database."""

    url: SecretStr
    retention: Retention = Retention()

    def public(self) -> dict[str, Any]:
        return {"url": public.SECRET, "retention": self.retention.public()}


class SourceConfig(Value):
    """A user's database."""

    name: str
    url: SecretStr
    max_connections: int = 2
    statement_timeout: timedelta = timedelta(seconds=30)
    time_zone: ZoneInfo | None = None

    def public(self) -> dict[str, Any]:
        return public.given(
            name=self.name,
            url=public.SECRET,
            max_connections=self.max_connections,
            statement_timeout=public.duration(self.statement_timeout),
            time_zone=self.time_zone and self.time_zone.key,
        )


class FixedTable(Value):
    """A table or query of its own, read once; `source` is the monitor's where none is given."""

    table: str | None = None
    query: str | None = None
    where: str | None = None
    source: str

    def public(self) -> dict[str, Any]:
        return public.given(table=self.table, query=self.query, where=self.where, source=self.source)


class FixedRange(Value):
    """The monitor's own dataset between two instants (UTC)."""

    from_: datetime
    to: datetime

    def public(self) -> dict[str, Any]:
        return {"from": rfc3339(self.from_), "to": rfc3339(self.to)}


class Trailing(Value):
    """[window_start - gap - trailing, window_start - gap), sliding with the window."""

    trailing: timedelta
    gap: timedelta = timedelta(0)

    def public(self) -> dict[str, Any]:
        return {"trailing": public.duration(self.trailing), "gap": public.duration(self.gap)}


class SamePeriod(Value):
    """The window shifted back by 1, 2, ... `count` times `every`."""

    every: timedelta
    count: int

    def public(self) -> dict[str, Any]:
        return {"same_period": {"every": public.duration(self.every), "count": self.count}}


Reference = FixedTable | FixedRange | Trailing | SamePeriod


class FeatureConfig(Value):
    """A watched column or expression. None: `kind` and `binning` come from the column and the reference."""

    name: str
    expression: str | None = None
    kind: Kind | None = None
    binning: Binning | None = None

    def public(self) -> dict[str, Any]:
        return public.given(
            name=self.name,
            expression=self.expression,
            kind=self.kind and self.kind.value,
            bins=self.binning and public.bins(self.binning),
        )


DEFAULT_RULES = tuple(
    Rule(
        id=f"psi:{severity.value}",
        metric=Metric.PSI,
        above=threshold,
        below=None,
        on=Comparand.LOWER_BOUND,
        for_windows=1,
        keep_firing_for=0,
        severity=severity,
    )
    for threshold, severity in ((0.1, Severity.WARNING), (0.25, Severity.CRITICAL))
)


class MonitorConfig(Value):
    """One monitor. `rules` and `receivers` are those in effect, fleet defaults included."""

    name: str
    source: str
    table: str | None = None
    query: str | None = None
    where: str | None = None
    time_column: str
    every: timedelta | None = timedelta(hours=1)
    cron: str | None = None
    time_zone: ZoneInfo = ZoneInfo("UTC")
    pane: timedelta = timedelta(hours=1)
    window: timedelta = timedelta(hours=24)
    settle: timedelta = timedelta(minutes=5)
    revise: int = 1
    catch_up: int = 24
    reference: Reference
    features: Literal["all"] | tuple[FeatureConfig, ...]
    exclude: tuple[str, ...] = ()
    min_rows: int = 200
    smoothing: InstanceOf[Smoothing] = Smoothing(SmoothingMethod.ANCHORED, 0.5)
    rules: tuple[InstanceOf[Rule], ...] = DEFAULT_RULES
    receivers: tuple[str, ...] = ()
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    grafana_url: str | None = None  # the file's; links are no part of what a monitor is, nor of its hash

    @property
    def schedule(self) -> Schedule:
        if self.cron is not None:
            return Cron(self.cron, self.time_zone)
        if self.every is None:
            raise InputError(f"monitor {self.name!r} has neither every nor cron")
        return Every(self.every, self.time_zone)

    @property
    def grid(self) -> PaneGrid:
        return PaneGrid(self.pane, self.time_zone)

    @property
    def hash(self) -> str:
        """Content hash of everything that belongs to this monitor; no secret enters it."""
        return public.content_hash(self.public())

    def public(self) -> dict[str, Any]:
        """The monitor as it could be written, defaults filled in."""
        features = self.features if self.features == "all" else [feature.public() for feature in self.features]
        return public.given(
            name=self.name,
            source=self.source,
            table=self.table,
            query=self.query,
            where=self.where,
            time_column=self.time_column,
            every=self.every and public.duration(self.every),
            cron=self.cron,
            time_zone=self.time_zone.key,
            pane=public.duration(self.pane),
            window=public.duration(self.window),
            settle=public.duration(self.settle),
            revise=self.revise,
            catch_up=self.catch_up,
            reference=self.reference.public(),
            features=features,
            exclude=list(self.exclude) or None,
            min_rows=self.min_rows,
            smoothing={"method": self.smoothing.method.value, "pseudocount": self.smoothing.pseudocount},
            rules=[public.rule(rule) for rule in self.rules],
            receivers=list(self.receivers),
            labels=self.labels,
            annotations=self.annotations,
        )


NamedT = TypeVar("NamedT", SourceConfig, MonitorConfig, ReceiverConfig)


class Config(Value):
    """A whole configuration. `notes` are remarks for `check-config`; they are no mistakes."""

    store: StoreConfig
    sources: tuple[SourceConfig, ...] = ()
    monitors: tuple[MonitorConfig, ...] = ()
    receivers: tuple[ReceiverConfig, ...] = ()
    outbound: OutboundConfig = ANYWHERE
    grafana_url: str | None = None
    path: Path | None = None
    notes: tuple[InstanceOf[Problem], ...] = ()

    @property
    def hash(self) -> str:
        """Content hash of the effective configuration; secrets and the file's name do not enter it."""
        return public.content_hash(self.public())

    def public(self) -> dict[str, Any]:
        """The effective configuration as a document; secrets are "<secret>"."""
        return public.given(
            store=self.store.public(),
            sources=[source.public() for source in self.sources],
            monitors=[monitor.public() for monitor in self.monitors],
            receivers=[receiver.public() for receiver in self.receivers],
            outbound=self.outbound.public(),
            grafana_url=self.grafana_url,
        )

    def source(self, name: str) -> SourceConfig:
        """The source of that name; raises InputError, as do the next two."""
        return _named(self.sources, "source", name)

    def monitor(self, name: str) -> MonitorConfig:
        return _named(self.monitors, "monitor", name)

    def receiver(self, name: str) -> ReceiverConfig:
        return _named(self.receivers, "receiver", name)


def _named(values: tuple[NamedT, ...], kind: str, name: str) -> NamedT:
    for value in values:
        if value.name == name:
            return value
    known = ", ".join(value.name for value in values) or "none"
    raise InputError(f"no {kind} is called {name!r}; configured: {known}")
