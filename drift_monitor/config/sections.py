"""What may be written in a configuration: one model a section, and no other key.

A `description` says what a key is for; mistakes about a missing key quote it.
"""

from datetime import timedelta
from typing import Annotated, Any, ClassVar
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from drift_monitor.config.fields import (
    AnnotationName,
    CronText,
    DatabaseUrl,
    Destination,
    Duration,
    Label,
    Name,
    Number,
    PageUrl,
    PositiveDuration,
    Text,
    Threshold,
    Zone,
    mistake,
)
from drift_monitor.config.receiver_sections import ReceiverSection
from drift_monitor.config.section import Section
from drift_monitor.core.bins import Kind
from drift_monitor.core.distribution import SmoothingMethod
from drift_monitor.core.divergence import Metric
from drift_monitor.core.rules import Comparand, Severity


class RetentionSection(Section):
    panes: PositiveDuration = timedelta(days=90)
    measurements: PositiveDuration = timedelta(days=400)


class StoreSection(Section):
    exactly_one = (("url", "url_file"),)

    url: DatabaseUrl | None = None
    url_file: Text | None = None
    retention: RetentionSection = RetentionSection()


class SourceSection(Section):
    exactly_one = (("url", "url_file"),)
    placeholders: ClassVar = {"name": "placeholder"}

    name: Name = Field(description="what monitors call this database")
    url: DatabaseUrl | None = None
    url_file: Text | None = None
    max_connections: int = Field(default=2, ge=1, le=64)
    statement_timeout: PositiveDuration = timedelta(seconds=30)
    time_zone: Zone | None = None


class BinsSection(Section):
    exactly_one = (("quantiles", "uniform", "edges", "top"),)

    quantiles: int | None = Field(default=None, ge=2, le=1000)
    uniform: int | None = Field(default=None, ge=1, le=1000)
    edges: tuple[Number, ...] | None = Field(default=None, min_length=2, max_length=1001)
    top: int | None = Field(default=None, ge=1, le=1000)


class FeatureSection(Section):
    placeholders: ClassVar = {"name": "placeholder"}

    name: Text = Field(description="the column, or what an expression is called")
    expression: Text | None = None
    kind: Kind | None = None
    bins: BinsSection | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value


class SamePeriodSection(Section):
    every: PositiveDuration = Field(description="the period, such as 7d")
    count: int = Field(ge=1, le=1000, description="how many periods to look back")


class ReferenceSection(Section):
    exactly_one = (("table", "query", "from", "trailing", "same_period"),)

    table: Text | None = None
    query: Text | None = None
    where: Text | None = None
    source: Name | None = None
    from_: Text | None = Field(default=None, alias="from")
    to: Text | None = None
    trailing: PositiveDuration | None = None
    gap: Duration | None = None
    same_period: SamePeriodSection | None = None


class SmoothingSection(Section):
    method: SmoothingMethod = SmoothingMethod.ANCHORED
    pseudocount: float = Field(default=0.5, gt=0, le=1000, allow_inf_nan=False)


class RuleSection(Section):
    exactly_one = (("above", "below"),)
    placeholders: ClassVar = {"metric": "psi"}

    name: Name | None = None
    metric: Metric = Field(description="what is compared with the threshold")
    above: Threshold | None = None
    below: Threshold | None = None
    on: Comparand | None = None
    for_windows: int = Field(default=1, alias="for", ge=1, le=10_000)
    keep_firing_for: int = Field(default=0, ge=0, le=10_000)
    severity: Severity = Severity.WARNING

    @property
    def id(self) -> str:
        return self.name or f"{self.metric.value}:{self.severity.value}"


def _features_form(value: Any) -> str:
    return "all" if isinstance(value, str) else "listed"


def _all(value: str) -> str:
    if value != "all":
        raise mistake("must be a list of features, or all")
    return value


Features = Annotated[
    Annotated[str, AfterValidator(_all), Tag("all")]
    | Annotated[Annotated[tuple[FeatureSection, ...], Field(min_length=1)], Tag("listed")],
    Discriminator(_features_form),
]


class MonitorSection(Section):
    exactly_one = (("table", "query"),)
    at_most_one = (("every", "cron"),)
    placeholders: ClassVar = {
        "name": "placeholder",
        "source": "placeholder",
        "time_column": "placeholder",
        "reference": {"table": "placeholder"},
        "features": "all",
    }

    name: Name = Field(description="what metrics, alerts and pages call this monitor")
    source: Name = Field(description="the name of one of the sources")
    table: Text | None = None
    query: Text | None = None
    where: Text | None = None
    time_column: Text = Field(description="the column that says when a row was recorded: it cuts live rows into panes")
    every: PositiveDuration | None = None
    cron: CronText | None = None
    time_zone: Zone = ZoneInfo("UTC")
    pane: PositiveDuration | None = None
    window: PositiveDuration = timedelta(hours=24)
    settle: Duration = timedelta(minutes=5)
    revise: int = Field(default=1, ge=0, le=1000)
    catch_up: int = Field(default=24, ge=1, le=100_000)
    reference: ReferenceSection = Field(description="what live rows are compared with")
    features: Features = Field(description="the columns to watch: a list, or all")
    exclude: tuple[Text, ...] = ()
    min_rows: int = Field(default=200, ge=1, le=10**12)
    smoothing: SmoothingSection = SmoothingSection()
    rules: tuple[RuleSection, ...] | None = None
    receivers: tuple[Name, ...] | None = None
    labels: dict[Label, str] = Field(default_factory=dict)
    annotations: dict[AnnotationName, str] = Field(default_factory=dict)


class OutboundSection(Section):
    """Where connections to receivers may go."""

    allow: tuple[Destination, ...] | None = Field(default=None, min_length=1, max_length=1000)


class RootSection(Section):
    """The whole file."""

    store: StoreSection = Field(description="where the service keeps its own history")
    sources: tuple[SourceSection, ...] = Field(description="the databases to read")
    monitors: tuple[MonitorSection, ...] = Field(description="what to watch")
    rules: tuple[RuleSection, ...] | None = None
    receivers: tuple[ReceiverSection, ...] = ()
    outbound: OutboundSection = OutboundSection()
    grafana_url: PageUrl | None = None
