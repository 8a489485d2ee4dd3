"""The configuration: what may be written, and what the program uses.

One model a section. A `description` says what a key is for; mistakes about a missing key quote it. `resolved` fills in
what a monitor leaves to the file: after it nothing is left to look up. Values are frozen. Secrets are `SecretStr`:
they never show in a repr, and neither in `public()` nor in a hash.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar
from zoneinfo import ZoneInfo

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    InstanceOf,
    SerializerFunctionWrapHandler,
    Tag,
    model_serializer,
    model_validator,
)

from drift_monitor.config.fields import (
    AnnotationName,
    CronText,
    DatabaseUrl,
    Duration,
    Label,
    Moment,
    Name,
    Named,
    PageUrl,
    PositiveDuration,
    Section,
    Text,
    WrittenAs,
    Zone,
    mistake,
)
from drift_monitor.config.outbound import ANYWHERE, OutboundConfig
from drift_monitor.config.receivers import ReceiverConfig
from drift_monitor.config.values import BinsSection, RuleSection, SmoothingSection
from drift_monitor.core.binning import Binning
from drift_monitor.core.bins import Kind
from drift_monitor.core.distribution import Smoothing
from drift_monitor.core.divergence import Metric
from drift_monitor.core.rules import Rule, Severity
from drift_monitor.core.schedule import Cron, Every, PaneGrid, Schedule, interval
from drift_monitor.core.times import parse_instant
from drift_monitor.errors import InputError, Problem

HOUR = timedelta(hours=1)


def content_hash(document: Mapping[str, Any]) -> str:
    """32 hex digits over the canonical JSON of a document."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:32]


class Retention(Section):
    """How long history is kept."""

    panes: PositiveDuration = timedelta(days=90)
    measurements: PositiveDuration = timedelta(days=400)


class StoreConfig(Section):
    """The service's own database."""

    placeholders: ClassVar = {"url": "sqlite://"}

    url: DatabaseUrl
    url_file: Text | None = Field(default=None, exclude=True)
    retention: Retention = Retention()


class SourceConfig(Section):
    """A user's database."""

    placeholders: ClassVar = {"name": "placeholder", "url": "sqlite://"}

    name: Name = Field(description="what monitors call this database")
    url: DatabaseUrl
    url_file: Text | None = Field(default=None, exclude=True)
    max_connections: int = Field(default=2, ge=1, le=64)
    statement_timeout: PositiveDuration = timedelta(seconds=30)
    time_zone: Zone | None = None


class FeatureConfig(Named):
    """A watched column or expression. None: `kind` and `bins` come from the column and the reference."""

    name: Text = Field(description="the column, or what an expression is called")
    expression: Text | None = None
    kind: Kind | None = None
    bins: Annotated[Binning, WrittenAs(BinsSection)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value


class ReferenceSection(Section):
    """What live rows are compared with: one of four forms, told apart by their keys."""


class FixedTable(ReferenceSection):
    """A table or query of its own, read once; in the monitor's source where none is given."""

    table: Text | None = None
    query: Text | None = None
    where: Text | None = None
    source: Name | None = None


class FixedRange(ReferenceSection):
    """The monitor's own dataset between two moments; after `resolved` they are in UTC."""

    placeholders: ClassVar = {"from": "2000-01-01", "to": "2000-01-02"}
    needs: ClassVar = {"from": "to"}

    from_: Moment = Field(alias="from")
    to: Moment = Field(description="where the range ends")


class Trailing(ReferenceSection):
    """[window_start - gap - trailing, window_start - gap), sliding with the window."""

    placeholders: ClassVar = {"trailing": "1d"}

    trailing: PositiveDuration
    gap: Duration = timedelta(0)


class Period(Section):
    """How far apart the windows of `SamePeriod` are, and how many of them there are."""

    every: PositiveDuration = Field(description="the period, such as 7d")
    count: int = Field(ge=1, le=1000, description="how many periods to look back")


class SamePeriod(ReferenceSection):
    """The window shifted back by 1, 2, ... `count` times `every`."""

    placeholders: ClassVar = {"same_period": {"every": "1d", "count": 1}}

    same_period: Period

    @property
    def every(self) -> timedelta:
        return self.same_period.every

    @property
    def count(self) -> int:
        return self.same_period.count


Reference = FixedTable | FixedRange | Trailing | SamePeriod
FORMS: Mapping[str, type[Reference]] = {
    "table": FixedTable,
    "query": FixedTable,
    "from": FixedRange,
    "trailing": Trailing,
    "same_period": SamePeriod,
}
ReferenceSection.exactly_one = (tuple(FORMS),)


def form_of(written: Any) -> type[Reference]:
    """The form of a reference as it is written; a table where nothing says so, since it needs no key."""
    if isinstance(written, Reference):
        return type(written)
    keys = written if isinstance(written, Mapping) else ()
    return next((form for key, form in FORMS.items() if key in keys), FixedTable)


Rules = tuple[Annotated[Rule, WrittenAs(RuleSection)], ...]
DEFAULT_RULES = tuple(
    RuleSection(metric=Metric.PSI, above=threshold, severity=severity).used()
    for threshold, severity in ((0.1, Severity.WARNING), (0.25, Severity.CRITICAL))
)


SURPRISE_QUIET = timedelta(hours=6)


def _all(value: str) -> str:
    if value != "all":
        raise mistake("must be a list of features, or all")
    return value


class MonitorConfig(Section):
    """One monitor. After `resolved`, `rules`, `receivers` and `pane` are those in effect."""

    exactly_one = (("table", "query"),)
    at_most_one = (("every", "cron"),)
    placeholders: ClassVar = {
        "name": "placeholder",
        "source": "placeholder",
        "time_column": "placeholder",
        "reference": {"table": "placeholder"},
        "features": "all",
    }
    filled_in = frozenset({"grafana_url"})

    name: Name = Field(description="what metrics, alerts and pages call this monitor")
    source: Name = Field(description="the name of one of the sources")
    table: Text | None = None
    query: Text | None = None
    where: Text | None = None
    time_column: Text = Field(description="the column that says when a row was recorded: it cuts live rows into panes")
    every: PositiveDuration | None = HOUR
    cron: CronText | None = None
    time_zone: Zone = ZoneInfo("UTC")
    pane: PositiveDuration = HOUR
    window: PositiveDuration = timedelta(hours=24)
    settle: Duration = timedelta(minutes=5)
    revise: int = Field(default=1, ge=0, le=1000)
    catch_up: int = Field(default=24, ge=1, le=100_000)
    reference: Annotated[
        Annotated[FixedTable, Tag("FixedTable")]
        | Annotated[FixedRange, Tag("FixedRange")]
        | Annotated[Trailing, Tag("Trailing")]
        | Annotated[SamePeriod, Tag("SamePeriod")],
        Discriminator(lambda written: form_of(written).__name__),
    ] = Field(description="what live rows are compared with")
    features: Annotated[
        Annotated[Literal["all"], BeforeValidator(_all), Tag("all")]
        | Annotated[tuple[FeatureConfig, ...], Field(min_length=1), Tag("listed")],
        Discriminator(lambda written: "all" if isinstance(written, str) else "listed"),
    ] = Field(description="the columns to watch: a list, or all")
    exclude: tuple[Text, ...] = ()
    min_rows: int = Field(default=200, ge=1, le=10**12)
    smoothing: Annotated[Smoothing, WrittenAs(SmoothingSection)] = SmoothingSection().used()
    rules: Rules = DEFAULT_RULES
    receivers: tuple[Name, ...] = ()
    labels: dict[Label, str] = Field(default_factory=dict)
    annotations: dict[AnnotationName, str] = Field(default_factory=dict)
    # The file's: links are no part of what a monitor is, nor of its hash.
    grafana_url: str | None = Field(default=None, exclude=True)

    @property
    def interval(self) -> timedelta:
        """The usual time between two evaluations."""
        return interval(self.schedule)

    @property
    def effective_pane(self) -> timedelta:
        """`pane`; where none is written the interval, at most an hour. Raises InputError where `cron` is none."""
        usual = min(self.interval, HOUR)
        return self.pane if "pane" in self.model_fields_set else usual

    @property
    def schedule(self) -> Schedule:
        if self.cron is not None:
            return Cron(self.cron, self.time_zone)
        return Every(self.every or HOUR, self.time_zone)

    @property
    def surprise_rule(self) -> Rule | None:
        """The rule that keeps a budget of false alarms, if there is one."""
        return next((rule for rule in self.rules if rule.metric is Metric.SURPRISE), None)

    @property
    def grid(self) -> PaneGrid:
        return PaneGrid(self.pane, self.time_zone)

    @property
    def hash(self) -> str:
        """Content hash of everything that belongs to this monitor; no secret enters it."""
        return content_hash(self.public())

    @model_serializer(mode="wrap")
    def _without_empty_keys(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        document: dict[str, Any] = write(self)
        if not self.exclude:
            document.pop("exclude", None)
        return document


NamedT = TypeVar("NamedT", SourceConfig, MonitorConfig, ReceiverConfig)


class Config(Section):
    """A whole configuration. `notes` are remarks for `check-config`; they are no mistakes."""

    filled_in = frozenset({"path", "notes"})

    store: StoreConfig = Field(description="where the service keeps its own history")
    sources: tuple[SourceConfig, ...] = Field(description="the databases to read")
    monitors: tuple[MonitorConfig, ...] = Field(description="what to watch")
    rules: Rules = Field(default=DEFAULT_RULES, exclude=True)  # public where they hold: in the monitors
    receivers: tuple[ReceiverConfig, ...] = ()
    outbound: OutboundConfig = ANYWHERE
    grafana_url: PageUrl | None = None
    path: Path | None = Field(default=None, exclude=True)
    notes: tuple[InstanceOf[Problem], ...] = Field(default=(), exclude=True)

    @property
    def hash(self) -> str:
        """Content hash of the effective configuration; secrets and the file's name do not enter it."""
        return content_hash(self.public())

    def source(self, name: str) -> SourceConfig:
        """The source of that name; raises InputError, as do the next two."""
        return _named(self.sources, "source", name)

    def monitor(self, name: str) -> MonitorConfig:
        return _named(self.monitors, "monitor", name)

    def receiver(self, name: str) -> ReceiverConfig:
        return _named(self.receivers, "receiver", name)

    @model_serializer(mode="wrap")
    def _without_empty_keys(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        document: dict[str, Any] = write(self)
        if self.outbound.allow is None:
            document.pop("outbound", None)
        return document


def _named(values: tuple[NamedT, ...], kind: str, name: str) -> NamedT:
    for value in values:
        if value.name == name:
            return value
    known = ", ".join(value.name for value in values) or "none"
    raise InputError(f"no {kind} is called {name!r}; configured: {known}")


def resolved(root: Config, path: Path | None, notes: tuple[Problem, ...]) -> Config:
    """The configuration in effect: each monitor with what it leaves to the file, and what follows from its keys."""
    sharing = sum("rules" not in monitor.model_fields_set for monitor in root.monitors)
    rules = tuple(_shared(rule, sharing) for rule in root.rules)
    fleet = {"rules": rules, "receivers": tuple(receiver.name for receiver in root.receivers)}
    monitors = tuple(
        monitor.model_copy(
            update={
                **{key: value for key, value in fleet.items() if key not in monitor.model_fields_set},
                "every": monitor.every if monitor.cron is None else None,
                "pane": monitor.effective_pane,
                "reference": _resolved_reference(monitor),
                "grafana_url": root.grafana_url,
            }
        )
        for monitor in root.monitors
    )
    monitors = tuple(
        monitor.model_copy(update={"rules": tuple(_ended(rule, monitor) for rule in monitor.rules)})
        for monitor in monitors
    )
    return root.model_copy(update={"monitors": monitors, "path": path, "notes": notes})


def _shared(rule: Rule, monitors: int) -> Rule:
    """A rule of the file as one of so many monitors has it: a budget of false alarms is for all of them together."""
    return rule if rule.false_alarms is None else replace(rule, false_alarms=rule.false_alarms.shared_by(monitors))


def _ended(rule: Rule, monitor: MonitorConfig) -> Rule:
    """An alert on surprise ends after six hours below its level, and at least one evaluation."""
    if rule.false_alarms is None:
        return rule
    return replace(rule, keep_firing_for=max(0, math.ceil(SURPRISE_QUIET / monitor.interval) - 1))


def _resolved_reference(monitor: MonitorConfig) -> Reference:
    match monitor.reference:
        case FixedTable() as table:
            return table.model_copy(update={"source": table.source or monitor.source})
        case FixedRange() as dates:
            bounds = {"from_": dates.from_, "to": dates.to}
            return dates.model_copy(
                update={key: parse_instant(bound.isoformat(), monitor.time_zone) for key, bound in bounds.items()}
            )
        case sliding:
            return sliding
