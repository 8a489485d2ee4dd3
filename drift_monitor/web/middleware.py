"""What every request passes before it reaches a route, and every answer on its way out.

    size of the head (431) -> Host (421) -> credentials (401) -> foreign Origin (403) -> size of the body (413) -> route

`/-/healthy` and `/-/ready` need no credentials and say nothing but yes or no. Every answer, refusals included, carries
the security headers; those of the web configuration win over ours.
"""

from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from drift_monitor.config.web import WebConfig
from drift_monitor.web.access import BasicAuth, ListenAddress, allowed_hosts

HEALTH_PATHS = frozenset({"/-/healthy", "/-/ready"})
API_PATHS = "/api/"  # where refusals are JSON, like all other errors
MAX_HEAD_BYTES = 16 * 1024
MAX_BODY_BYTES = 256 * 1024
# Slow password checks at a time: guessing must not take the threads that serve everybody else.
_MAX_PASSWORD_CHECKS = 2
_READING = frozenset({"GET", "HEAD", "OPTIONS"})

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Middleware:
    """The outermost ASGI application: hosts, users and headers of a listener that answers at `address`."""

    def __init__(
        self, app: ASGIApp, web_config: WebConfig, address: ListenAddress, external_urls: Sequence[str]
    ) -> None:
        self._app = app
        self._hosts = allowed_hosts(address, external_urls)
        self._users = BasicAuth({name: value.get_secret_value().encode() for name, value in web_config.users.items()})
        urls = [urlsplit(url) for url in external_urls]
        # As a browser sends them in `Origin`: without credentials, path, and capitals.
        self._origins = {f"{url.scheme}://{url.netloc.rpartition('@')[2]}".lower() for url in urls}
        self._headers = {**SECURITY_HEADERS, **web_config.headers}
        self._checks = anyio.CapacityLimiter(_MAX_PASSWORD_CHECKS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def send_protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refused = await self._refuse(scope)
        if refused is None and scope["method"] not in _READING:
            body = await _read_body(receive)
            if body is None:
                refused = _refusal(scope, 413, "The body is too large.")
            else:
                receive = _replay(body, receive)
        await (refused or self._app)(scope, receive, send_protected)

    async def _refuse(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEAD_BYTES:
            return _refusal(scope, 431, "The header fields are too large.")
        if not self._hosts.allow(headers.get("host", "")):
            return _refusal(scope, 421, "This service does not answer to that host name; see --web.external-url.")
        if scope["path"] not in HEALTH_PATHS and not await self._authenticated(headers.get("authorization")):
            challenge = {"WWW-Authenticate": 'Basic realm="drift-monitor", charset="UTF-8"'}
            return _refusal(scope, 401, "Authentication is required.", challenge)
        if scope["method"] not in _READING and self._is_foreign(scope, headers):
            return _refusal(scope, 403, "Requests from another site are refused.")
        # A body without a length is counted while it is read.
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > MAX_BODY_BYTES:
            return _refusal(scope, 413, "The body is too large.")
        return None

    async def _authenticated(self, authorization: str | None) -> bool:
        known = self._users.recall(authorization)
        if known is not None:
            return known
        return await anyio.to_thread.run_sync(self._users.check, authorization, limiter=self._checks)

    def _is_foreign(self, scope: Scope, headers: Headers) -> bool:
        if headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}:
            return True
        origin = headers.get("origin")
        own = f"{scope['scheme']}://{headers.get('host', '')}"
        return origin is not None and origin.lower() != own.lower() and origin.lower() not in self._origins


def _refusal(scope: Scope, status: int, text: str, headers: Mapping[str, str] | None = None) -> Response:
    # Closed, since the rest of the request is not read.
    headers = {**(headers or {}), "Connection": "close"}
    if scope["path"].startswith(API_PATHS):
        return JSONResponse({"error": text}, status, headers)
    return PlainTextResponse(text + "\n", status, headers)


async def _read_body(receive: Receive) -> bytes | None:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            return None
        if not message.get("more_body", False):
            return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return pending.pop() if pending else await receive()

    return replay
