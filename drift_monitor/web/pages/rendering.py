"""Templates to answers: escaping on, unknown names are errors, links relative so that any prefix of a proxy works."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from drift_monitor import words
from drift_monitor.web.pages import phrases
from drift_monitor.web.pages.assets import ASSET_NAMES


class Links:
    """Addresses as seen from one page. Names of monitors and features are data: always quoted, never trusted."""

    def __init__(self, root: str) -> None:
        self.root = root

    def home(self) -> str:
        return self.root

    def asset(self, name: str) -> str:
        return f"{self.root}static/{ASSET_NAMES[name]}"

    def monitor(self, monitor: str) -> str:
        return f"{self.root}monitors/{quote(monitor, safe='')}"

    def feature(self, monitor: str, feature: str, **query: str | None) -> str:
        return f"{self.monitor(monitor)}/features/{quote(feature, safe='')}{query_text(query)}"


def query_text(query: Mapping[str, str | None]) -> str:
    """`?a=b`; keys without a value are left out."""
    given = {key: value for key, value in query.items() if value is not None}
    return f"?{urlencode(given)}" if given else ""


def raw_path(request: Request) -> str:
    """The path as the browser sent it: a quoted slash is part of a name, a plain one is not."""
    raw = request.scope.get("raw_path")
    path = raw.decode("latin-1") if raw else quote(request.url.path)
    return str(path).partition("?")[0]


def links_of(request: Request) -> Links:
    """Links that work from the requested address."""
    return Links("../" * (raw_path(request).count("/") - 1) or "./")


def render(request: Request, template: str, *, at: datetime, status: int = 200, **values: Any) -> HTMLResponse:
    """A page; `at` is the moment it shows."""
    page = _TEMPLATES.get_template(template)
    content = page.render(
        links=links_of(request),
        at=at,
        ago=lambda moment: phrases.ago_text(moment, at),
        age=lambda moment: words.age(at - moment),
        **values,
    )
    return HTMLResponse(content.encode("utf-8", "replace"), status)


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("drift_monitor.web", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(phrases=phrases, words=words)
    environment.filters.update(
        number=words.number,
        share=words.percent,
        count=words.count,
        instant=phrases.instant_text,
        iso=phrases.iso_text,
    )
    return environment


_TEMPLATES = _environment()
