"""What Grafana does to a committed dashboard before it asks a data source: find queries, put values in, expand macros.

No Grafana can be had for tests, so this is the part of it that decides whether a panel shows data. Sources: Grafana's
documentation of variable formats and of the PostgreSQL data source's macros.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent.parent / "config" / "grafana" / "dashboards"
FILES = sorted(FOLDER.glob("*.json"))


@dataclass(frozen=True, kw_only=True)
class Target:
    """One query of a dashboard, with the panel or annotation it belongs to."""

    dashboard: str
    panel: str
    query: Mapping[str, Any]

    @property
    def name(self) -> str:
        return f"{self.dashboard}: {self.panel} {self.query['refId']}"


@dataclass(frozen=True, kw_only=True)
class Viewing:
    """What a user has chosen: values of variables, and the time."""

    values: Mapping[str, str]
    start: datetime
    end: datetime
    rate_interval: str = "4s"


def load(path: Path) -> dict[str, Any]:
    """The JSON of one dashboard."""
    return dict(json.loads(path.read_text(encoding="utf-8")))


def panels(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Those that show something; rows are headings."""
    return [panel for panel in document["panels"] if panel["type"] != "row"]


def targets(kind: str) -> Iterator[Target]:
    """Queries of panels and annotations whose data source is of this kind."""
    for path in FILES:
        document = load(path)
        found = [(panel["title"], target) for panel in panels(document) for target in panel["targets"]]
        found += [(one["name"], one["target"]) for one in document["annotations"].get("list") or [] if "target" in one]
        for title, target in found:
            if target["datasource"]["type"] == kind:
                yield Target(dashboard=path.stem, panel=title, query=target)


def promql(expression: str, viewing: Viewing) -> str:
    """As the Prometheus data source sends it."""
    text = expression.replace("$__rate_interval", viewing.rate_interval)
    for name, value in viewing.values.items():
        text = re.sub(rf"\$(?:{name}\b|\{{{name}\}})", lambda match, value=value: value, text)
    assert "$" not in text, f"a variable is left: {text}"
    return text


def sql(text: str, viewing: Viewing) -> str:
    """As the PostgreSQL data source sends it. Its macros end at the first closing parenthesis."""
    start, end = (moment.astimezone(UTC).strftime("'%Y-%m-%dT%H:%M:%SZ'") for moment in (viewing.start, viewing.end))
    text = re.sub(r"\$__timeFilter\(([^()]*)\)", rf"\1 BETWEEN {start} AND {end}", text)
    text = text.replace("$__timeFrom()", start).replace("$__timeTo()", end)
    for name, value in viewing.values.items():
        quoted = "'" + value.replace("'", "''") + "'"
        text = text.replace(f"${{{name}:sqlstring}}", quoted)
    assert "$" not in text, f"a variable or macro is left: {text}"
    return text
