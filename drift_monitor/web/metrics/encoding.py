"""Gauges as text: the lines that are the same in the Prometheus text format and in OpenMetrics.

The client library's encoders make an object and a dictionary for every series and check each again; at 100,000 series
that is a second, and garbage for more. Here a family has a template, and a series is one formatting of it.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from drift_monitor.core.clean import clean_label
from drift_monitor.web.metrics.families import FAMILIES, Family

# Names of monitors and features recur in every series; this many different ones need not be cleaned anew.
_REMEMBERED: Final = 65_536


def _template(family: Family) -> str:
    labels = ",".join(f'{label}="%s"' for label in family.labels)
    return f"{family.name}{{{labels}}}"


_TEMPLATES: Final = {family.name: _template(family) for family in FAMILIES}


def series_text(family: Family, labels: tuple[str, ...]) -> str:
    """A series as it is written: name and labels, which are cleaned and escaped."""
    return _TEMPLATES[family.name] % tuple(map(_label_text, labels))


@lru_cache(maxsize=_REMEMBERED)
def _label_text(value: str) -> str:
    return clean_label(value).replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def encode(series: Mapping[str, float]) -> str:
    """Series with their values, each family under its head; without the end that OpenMetrics wants."""
    lines: dict[str, list[str]] = {family.name: [] for family in FAMILIES}
    for text, value in series.items():
        lines[text.partition("{")[0]].append(f"{text} {value!r}\n")
    return "".join(_head(family) + "".join(lines[family.name]) for family in FAMILIES if lines[family.name])


def _head(family: Family) -> str:
    return f"# HELP {family.name} {family.text}\n# TYPE {family.name} gauge\n"
