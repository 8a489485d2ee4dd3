"""Sound sections -> the values of `model`: defaults of the fleet filled in, words of the file into words of `core`."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from pydantic import SecretStr

from drift_monitor.config import schema
from drift_monitor.config.document import Path_
from drift_monitor.config.outbound import OutboundConfig
from drift_monitor.config.receiver_sections import ReceiverSection, kind_of
from drift_monitor.config.receivers import ReceiverConfig
from drift_monitor.config.section import Section
from drift_monitor.config.sections import (
    BinsSection,
    FeatureSection,
    MonitorSection,
    ReferenceSection,
    RootSection,
    RuleSection,
    SourceSection,
    StoreSection,
)
from drift_monitor.config.timing import DEFAULT_EVERY, effective_pane
from drift_monitor.core.binning import Binning, Edges, Quantiles, Top, Uniform
from drift_monitor.core.distribution import Smoothing
from drift_monitor.core.rules import Comparand, Rule
from drift_monitor.core.times import parse_instant
from drift_monitor.errors import Problem


@dataclass(frozen=True, kw_only=True)
class Assembly:
    """Puts one configuration together. `secrets` holds what was read from files, by the path of the plain key."""

    root: RootSection
    secrets: Mapping[Path_, SecretStr]

    def config(self, path: Path | None, notes: tuple[Problem, ...]) -> schema.Config:
        root = self.root
        return schema.Config(
            store=self._store(root.store),
            sources=tuple(self._source(one, index) for index, one in enumerate(root.sources)),
            monitors=tuple(self._monitor(one) for one in root.monitors),
            receivers=tuple(self._receiver(one, index) for index, one in enumerate(root.receivers)),
            outbound=OutboundConfig(allow=root.outbound.allow),
            grafana_url=root.grafana_url,
            path=path,
            notes=notes,
        )

    def _secret(self, plain: SecretStr | None, path: Path_) -> SecretStr:
        return plain if plain is not None else self.secrets[path]

    def _store(self, section: StoreSection) -> schema.StoreConfig:
        return schema.StoreConfig(
            url=self._secret(section.url, ("store", "url")),
            retention=schema.Retention(panes=section.retention.panes, measurements=section.retention.measurements),
        )

    def _source(self, section: SourceSection, index: int) -> schema.SourceConfig:
        return schema.SourceConfig(
            name=section.name,
            url=self._secret(section.url, ("sources", index, "url")),
            max_connections=section.max_connections,
            statement_timeout=section.statement_timeout,
            time_zone=section.time_zone,
        )

    def _receiver(self, section: ReceiverSection, index: int) -> ReceiverConfig:
        written = kind_of(section)
        if written is None:
            return ReceiverConfig(name=section.name)
        kind, keys = written
        made = self._kind(keys, ("receivers", index, kind))
        return ReceiverConfig.model_validate(
            {"name": section.name, "repeat_interval": section.repeat_interval, kind: made}
        )

    def _kind(self, section: Section, path: Path_) -> Mapping[str, Any]:
        """The keys of a receiver's kind, with what was read from files in place of the files' names."""
        keys = {key: getattr(section, key) for key in type(section).model_fields}
        for key in section.secret_files:
            keys[key] = keys[key] or self.secrets.get((*path, key))
            del keys[f"{key}_file"]
        return keys

    def _monitor(self, section: MonitorSection) -> schema.MonitorConfig:
        rules = section.rules if section.rules is not None else self.root.rules
        everyone = tuple(receiver.name for receiver in self.root.receivers)
        return schema.MonitorConfig(
            name=section.name,
            source=section.source,
            table=section.table,
            query=section.query,
            where=section.where,
            time_column=section.time_column,
            every=None if section.cron is not None else section.every or DEFAULT_EVERY,
            cron=section.cron,
            time_zone=section.time_zone,
            pane=effective_pane(section),
            window=section.window,
            settle=section.settle,
            revise=section.revise,
            catch_up=section.catch_up,
            reference=_reference(section),
            features=_features(section),
            exclude=section.exclude,
            min_rows=section.min_rows,
            smoothing=Smoothing(section.smoothing.method, section.smoothing.pseudocount),
            rules=schema.DEFAULT_RULES if rules is None else tuple(_rule(rule) for rule in rules),
            receivers=everyone if section.receivers is None else section.receivers,
            labels=section.labels,
            annotations=section.annotations,
            grafana_url=self.root.grafana_url,
        )


def _reference(monitor: MonitorSection) -> schema.Reference:
    match monitor.reference:
        case ReferenceSection(from_=str(start), to=str(end)):
            return schema.FixedRange(
                from_=parse_instant(start, monitor.time_zone), to=parse_instant(end, monitor.time_zone)
            )
        case ReferenceSection(trailing=length) as section if length is not None:
            return schema.Trailing(trailing=length, gap=section.gap or timedelta(0))
        case ReferenceSection(same_period=period) if period is not None:
            return schema.SamePeriod(every=period.every, count=period.count)
        case section:
            return schema.FixedTable(
                table=section.table, query=section.query, where=section.where, source=section.source or monitor.source
            )


def _features(monitor: MonitorSection) -> Literal["all"] | tuple[schema.FeatureConfig, ...]:
    if isinstance(monitor.features, str):
        return "all"
    return tuple(_feature(feature) for feature in monitor.features)


def _feature(section: FeatureSection) -> schema.FeatureConfig:
    return schema.FeatureConfig(
        name=section.name,
        expression=section.expression,
        kind=section.kind,
        binning=_binning(section.bins) if section.bins is not None else None,
    )


def _binning(section: BinsSection) -> Binning | None:
    if section.quantiles is not None:
        return Quantiles(section.quantiles)
    if section.uniform is not None:
        return Uniform(section.uniform)
    if section.edges is not None:
        return Edges(section.edges)
    return Top(section.top) if section.top is not None else None


def _rule(section: RuleSection) -> Rule:
    return Rule(
        id=section.id,
        metric=section.metric,
        above=section.above,
        below=section.below,
        on=section.on or Comparand.LOWER_BOUND,
        for_windows=section.for_windows,
        keep_firing_for=section.keep_firing_for,
        severity=section.severity,
    )
