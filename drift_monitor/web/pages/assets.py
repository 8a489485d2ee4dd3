"""Static files, read once into a map from name to bytes: no path of a request ever reaches the file system.

The name carries a hash of the content, so a file may be kept for ever and a new version has a new name.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import PurePosixPath
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

_TYPES: Final = {".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
_NAMES: Final = ("page.css", "icon.svg")


@dataclass(frozen=True)
class Asset:
    """One file, ready to be sent."""

    content: bytes
    media_type: str


def _hashed(name: str, content: bytes) -> str:
    path = PurePosixPath(name)
    return f"{path.stem}-{hashlib.sha256(content).hexdigest()[:12]}{path.suffix}"


def _read() -> tuple[Mapping[str, str], Mapping[str, Asset]]:
    names, assets = {}, {}
    for name in _NAMES:
        content = files("drift_monitor.web").joinpath("static", name).read_bytes()
        names[name] = _hashed(name, content)
        assets[names[name]] = Asset(content, _TYPES[PurePosixPath(name).suffix])
    return names, assets


ASSET_NAMES, _ASSETS = _read()


def asset_routes() -> list[BaseRoute]:
    """`/static/NAME`."""
    return [Route("/static/{name}", _static, methods=["GET"])]


def _static(request: Request) -> Response:
    asset = _ASSETS.get(request.path_params["name"])
    if asset is None:
        return PlainTextResponse("There is no such file.\n", 404)
    return Response(
        asset.content, media_type=asset.media_type, headers={"Cache-Control": "public, max-age=31536000, immutable"}
    )
