"""What all dashboards share: data sources, queries, panels that say what they show, layout.

Data sources are variables, so that the same JSON serves every installation. Results are aggregated `max without
(instance, pod)`: all replicas serve the same ones. The schema version is that of Grafana 10.0; later versions migrate
it as they load it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.runtime import UnknownDataquery
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.common import DataSourceRef
from grafana_foundation_sdk.models.prometheus import Dataquery as PromQuery
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SCHEMA_VERSION = 38
TAG = "drift-monitor"
# `postgres` is the plugin's name up to Grafana 10.2, and an alias of it since.
PROMETHEUS = DataSourceRef(type_val="prometheus", uid="${datasource}")
STORE = DataSourceRef(type_val="postgres", uid="${store}")

NATS = "suffix: nats"
RATIO = "percentunit"
COUNT = "short"
SECONDS = "s"
BYTES = "bytes"
PER_SECOND = "ops"
INDEX = "none"

GREEN, YELLOW, RED, BLUE, GREY = "green", "yellow", "red", "blue", "gray"


@dataclass(frozen=True)
class Prom:
    """A PromQL query; `table`: the present, one row a series."""

    expr: str
    legend: str = ""
    table: bool = False


@dataclass(frozen=True)
class Sql:
    """A query of the store's views; `time`: rows over time."""

    text: str
    time: bool = False


Query = Prom | Sql


@dataclass(frozen=True, kw_only=True)
class Size:
    """In units of Grafana's grid, which is 24 wide."""

    width: int = 12
    height: int = 8


Panels = Sequence[models.Panel]


class Made(Builder[models.Panel]):
    """A panel that is built already, for the layout of the dashboard's builder."""

    def __init__(self, panel: models.Panel) -> None:
        self._panel = panel

    def build(self) -> models.Panel:
        return self._panel


class MadeQuery(Builder[Dataquery]):
    """The same for the query of an annotation."""

    def __init__(self, query: Dataquery) -> None:
        self._query = query

    def build(self) -> Dataquery:
        return self._query


def panel(
    builder: Builder[models.Panel],
    *queries: Query,
    title: str,
    description: str,
    unit: str,
    size: Size | None = None,
) -> models.Panel:
    """A panel with everything a reader needs: what it shows, in which unit, from where."""
    made, size = builder.build(), size or Size()
    made.title, made.description = title, description
    made.datasource = PROMETHEUS if isinstance(queries[0], Prom) else STORE
    made.targets = [dataquery(query, chr(ord("A") + number)) for number, query in enumerate(queries)]
    made.grid_pos = models.GridPos(w=size.width, h=size.height)
    config = made.field_config or models.FieldConfigSource()
    config.defaults.unit = unit
    made.field_config = config
    return made


def dataquery(query: Query, ref: str) -> Dataquery:
    """As Grafana has it."""
    if isinstance(query, Prom):
        form = PromQueryFormat.TABLE if query.table else PromQueryFormat.TIME_SERIES
        return PromQuery(
            ref_id=ref,
            datasource=PROMETHEUS,
            expr=query.expr,
            format_val=form,
            instant=query.table,
            range_val=not query.table,
            legend_format=query.legend or "__auto",
        )
    return UnknownDataquery(
        {
            "refId": ref,
            "datasource": STORE.to_json(),
            "editorMode": "code",
            "format": "time_series" if query.time else "table",
            "rawQuery": True,
            "rawSql": query.text,
        }
    )


def steps(*levels: tuple[float | None, str]) -> builders.ThresholdsConfig:
    """Colours from values on; the first level has no lower end."""
    return (
        builders.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps([models.Threshold(value=value, color=colour) for value, colour in levels])
    )


def values(**texts: tuple[str, str]) -> list[models.ValueMapping]:
    """Words and colours for numbers; a name is `v` and the number."""
    return [
        models.ValueMap(
            {
                name.removeprefix("v"): models.ValueMappingResult(text=text, color=colour, index=index)
                for index, (name, (text, colour)) in enumerate(texts.items())
            }
        )
    ]


def columns(*hidden: str, **renamed: str) -> models.DataTransformerConfig:
    """Leave columns out of a table and give others a name."""
    return models.DataTransformerConfig(
        id_val="organize",
        options={"excludeByName": dict.fromkeys(hidden, True), "indexByName": {}, "renameByName": renamed},
    )


def link_to_feature(monitor: str, feature: str) -> builders.DashboardLink:
    """From a field to the dashboard of its feature; the arguments are Grafana's variables of the field."""
    return builders.DashboardLink("Feature").url(
        f"/d/drift-feature?var-monitor={monitor}&var-feature={feature}&${{datasource:queryparam}}&${{store:queryparam}}"
        "&${job:queryparam}&${__url_time_range}"
    )


def datasources(*, with_store: bool) -> list[Builder[models.VariableModel]]:
    """The variables every dashboard begins with."""
    found: list[Builder[models.VariableModel]] = [
        builders.DatasourceVariable("datasource").label("Data source").type("prometheus"),
    ]
    if with_store:
        found.append(builders.DatasourceVariable("store").label("Store").type("postgres"))
    return [*found, labels("job", "Job", "drift_build_info")]


def labels(label: str, title: str, series: str, *, several: bool = False) -> builders.QueryVariable:
    """A variable with the values a label of these series has; `several`: any number of them, all at first."""
    query = f"label_values({series}, {label})"
    made = (
        builders.QueryVariable(label)
        .label(title)
        .datasource(PROMETHEUS)
        .query({"query": query, "refId": "Labels"})
        .definition(query)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
    )
    if several:
        everything = models.VariableOption(text="All", value="$__all", selected=True)
        made = made.multi(True).include_all(True).current(everything)
    return made


def dashboard(
    uid: str,
    title: str,
    description: str,
    variables: Sequence[Builder[models.VariableModel]],
    rows: Sequence[tuple[str, Panels]],
    annotations: Sequence[Builder[models.AnnotationQuery]] = (),
) -> models.Dashboard:
    """The whole; panels are numbered in their order and laid out in rows."""
    builder = (
        builders.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG])
        .timezone("browser")
        .time("now-7d", "now")
        .refresh("1m")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .readonly()
        .variables(list(variables))
        .annotations(list(annotations))
        .link(
            builders.DashboardLink("drift-monitor")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(True)
            .include_vars(True)
            .keep_time(True)
        )
    )
    for name, panels in rows:
        builder = builder.with_row(builders.Row(name))
        for one in panels:
            builder = builder.with_panel(Made(one))
    made = builder.build()
    made.schema_version = SCHEMA_VERSION
    for number, any_panel in enumerate(made.panels or [], start=1):
        any_panel.id_val = number
    return made
