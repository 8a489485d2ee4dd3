"""Templates to answers: escaping on, unknown names are errors, links relative so that any prefix of a proxy works.

Static files are read once into a map from name to bytes: no path of a request ever reaches the file system. Their names
carry a hash of the content, so a file may be kept for ever and a new version has a new name.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from importlib.resources import files
from typing import Any, Final
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from drift_monitor import words
from drift_monitor.core.times import escape_unprintable
from drift_monitor.web import phrases

_TYPES: Final = {"page.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml"}
_FILES: Final = {name: files("drift_monitor.web").joinpath("static", name).read_bytes() for name in _TYPES}
_HASHED: Final = {
    name: f"{name.partition('.')[0]}-{hashlib.sha256(content).hexdigest()[:12]}.{name.partition('.')[2]}"
    for name, content in _FILES.items()
}
_ASSETS: Final = {_HASHED[name]: (content, _TYPES[name]) for name, content in _FILES.items()}


def static_file(request: Request) -> Response:
    """`/static/NAME`."""
    content, media_type = _ASSETS.get(request.path_params["name"], (None, ""))
    if content is None:
        return PlainTextResponse("There is no such file.\n", 404)
    return Response(content, media_type=media_type, headers={"Cache-Control": "public, max-age=31536000, immutable"})


class Links:
    """Addresses as seen from one page. Names of monitors and features are data: always quoted, never trusted."""

    def __init__(self, root: str) -> None:
        self.root = root

    def home(self) -> str:
        return self.root

    def asset(self, name: str) -> str:
        return f"{self.root}static/{_HASHED[name]}"

    def monitor(self, monitor: str, **query: str | None) -> str:
        return f"{self.root}monitors/{quote(monitor, safe='')}{query_text(query)}"

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
    content = _TEMPLATES.get_template(template).render(
        links=links_of(request),
        at=at,
        store_problem=getattr(request.state, "store_problem", None),
        ago=lambda moment: phrases.ago_text(moment, at),
        age=lambda moment: words.age(at - moment),
        **values,
    )
    # A name from elsewhere may hold what is no character, turns the text around, or is a terminal's escape code.
    return HTMLResponse(content.translate(_VISIBLE).encode("utf-8", "replace"), status)


_CONTROLS: Final = (*range(9), *range(11, 32), *range(127, 160))
_DIRECTIONS: Final = (0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))
_VISIBLE: Final = {code: escape_unprintable(chr(code)) for code in (*_CONTROLS, *_DIRECTIONS)}
_TEMPLATES: Final = Environment(
    loader=PackageLoader("drift_monitor.web", "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.globals.update(words=words)
_TEMPLATES.filters.update(
    number=words.number, share=words.percent, count=words.count, instant=phrases.instant_text, iso=phrases.iso_text
)
