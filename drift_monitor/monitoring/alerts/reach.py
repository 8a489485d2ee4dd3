"""What a silence could keep back: the labels that the alerts of a configuration can have, firing or not.

Alerts of monitors that have left the configuration are not thought of, nor features that were renamed.
"""

from collections.abc import Iterator, Mapping, Sequence

from drift_monitor.config.fields import RESERVED_LABELS
from drift_monitor.config.model import Config, MonitorConfig
from drift_monitor.core.matching import Matcher, match_all
from drift_monitor.monitoring.alerts.labels import drift_labels, self_labels
from drift_monitor.monitoring.alerts.wellbeing import Ailment

OWN_LABELS = RESERVED_LABELS | {"rule"}


def label_names(config: Config) -> frozenset[str]:
    """The labels that an alert may have: ours, and those of the configured monitors."""
    return OWN_LABELS.union(*(monitor.labels for monitor in config.monitors))


def reaches(config: Config, matchers: Sequence[Matcher]) -> bool:
    """Whether an alert of a configured monitor could be meant."""
    return any(_reaches(monitor, matchers) for monitor in config.monitors)


def _reaches(monitor: MonitorConfig, matchers: Sequence[Matcher]) -> bool:
    if monitor.features != "all":
        return any(match_all(matchers, labels) for labels in _alerts(monitor, [one.name for one in monitor.features]))
    # What its features are called is known only to the database: any name is possible.
    others = [one for one in matchers if one.name != "feature"]
    return any(match_all(others, labels) for labels in _alerts(monitor, [""]))


def _alerts(monitor: MonitorConfig, features: Sequence[str]) -> Iterator[Mapping[str, str]]:
    """The labels of each alert that this monitor can have."""
    for rule in monitor.rules:
        for feature in [""] if rule.metric.is_of_monitor else features:
            yield drift_labels(monitor, feature, "", rule)
    for ailment in Ailment:
        yield self_labels(monitor, ailment.value)
