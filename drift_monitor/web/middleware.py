"""What every request passes before it reaches a route, and every answer on its way out.

    size of the head (431) -> Host (421) -> credentials (401, 429) -> foreign Origin (403) -> size of the body (413)
        -> a free place (503) -> route

`/-/healthy` and `/-/ready` need no credentials and no place, and say nothing but yes or no. Every answer, refusals
included, carries the security headers; those of the web configuration win over ours.

Few requests are worked on at a time: whoever reads must not starve the evaluations of the same process. An answer is
complete before it is sent, so a client that takes it slowly keeps no place.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from drift_monitor.config.web import WebConfig
from drift_monitor.errors import RequestRefusal
from drift_monitor.telemetry.logs import WARN, log
from drift_monitor.web.access import BasicAuth, ListenAddress, allowed_hosts

_logger = logging.getLogger(__name__)
HEALTH_PATHS = frozenset({"/-/healthy", "/-/ready"})
API_PATHS = "/api/"  # where refusals are JSON, like all other errors
METRICS_PATH = "/metrics"
MAX_HEAD_BYTES = 16 * 1024
MAX_BODY_BYTES = 256 * 1024
# Slow password checks at a time: guessing must not take the threads that serve everybody else.
_MAX_PASSWORD_CHECKS = 2
_MAX_GUESSES_WAITING = 8
_RETRY = {"Retry-After": "5"}
_DIGITS = 20  # of a length: Python takes quadratic time for longer numbers
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


class Places:
    """At most so many requests of one kind at a time, and so many more that wait for their turn."""

    def __init__(self, inside: int, waiting: int) -> None:
        self.limiter = anyio.CapacityLimiter(inside)
        self._waiting = waiting

    @property
    def are_taken(self) -> bool:
        """Whether not even waiting makes sense."""
        return self.limiter.statistics().tasks_waiting >= self._waiting


class Middleware:
    """The outermost ASGI application: hosts, users and headers of a listener that answers at `address`."""

    def __init__(
        self,
        app: ASGIApp,
        web_config: WebConfig,
        address: ListenAddress,
        external_urls: Sequence[str],
        on_refused: Callable[[RequestRefusal], None],
    ) -> None:
        self._app = app
        self._on_refused = on_refused
        self._hosts = allowed_hosts(address, external_urls)
        self.protect(web_config)
        urls = [urlsplit(url) for url in external_urls]
        # As a browser sends them in `Origin`: without credentials, path, and capitals.
        self._origins = {f"{url.scheme}://{url.netloc.rpartition('@')[2]}".lower() for url in urls}
        self._guesses = Places(_MAX_PASSWORD_CHECKS, _MAX_GUESSES_WAITING)
        self._places = Places(2, 16)

    def protect(self, web_config: WebConfig) -> None:
        """Users and headers from now on; no answer about a password is remembered from before."""
        self._users = BasicAuth({name: value.get_secret_value().encode() for name, value in web_config.users.items()})
        self._headers = {**SECURITY_HEADERS, **web_config.headers}

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
                refused = self._refusal(RequestRefusal.BODY_SIZE, scope, 413, "The body is too large.")
            else:
                receive = _replay(body, receive)
        if refused is None and scope["path"] not in HEALTH_PATHS:
            if scope["path"] == METRICS_PATH:  # has one place of its own, and shares answers
                await self._app(scope, receive, send_protected)
                return
            if self._places.are_taken:
                refused = self._refusal(RequestRefusal.OVERLOAD, scope, 503, "Too many requests at a time.", _RETRY)
            else:
                answer: list[Message] = []

                async def keep(message: Message) -> None:
                    answer.append(message)

                try:
                    async with self._places.limiter:
                        await self._app(scope, receive, keep)
                finally:  # of an error, too, there is an answer
                    for message in answer:
                        await send_protected(message)
                return
        await (refused or self._app)(scope, receive, send_protected)

    async def _refuse(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEAD_BYTES:
            return self._refusal(RequestRefusal.HEAD_SIZE, scope, 431, "The header fields are too large.")
        if not self._hosts.allow(headers.get("host", "")):
            text = "This service does not answer to that host name; see --web.external-url."
            return self._refusal(RequestRefusal.HOST, scope, 421, text)
        if scope["path"] not in HEALTH_PATHS:
            refused = await self._authenticate(scope, headers.get("authorization"))
            if refused is not None:
                return refused
        if scope["method"] not in _READING and self._is_foreign(scope, headers):
            return self._refusal(RequestRefusal.ORIGIN, scope, 403, "Requests from another site are refused.")
        # A body without a length is counted while it is read.
        length = headers.get("content-length", "0")
        if not length.isdigit() or len(length) > _DIGITS or int(length) > MAX_BODY_BYTES:
            return self._refusal(RequestRefusal.BODY_SIZE, scope, 413, "The body is too large.")
        return None

    async def _authenticate(self, scope: Scope, authorization: str | None) -> Response | None:
        """Who asks is noted as `state.user`; a refusal where nobody may ask so."""
        users = self._users
        accepted = users.recall(authorization)
        if accepted is None:
            if self._guesses.are_taken:
                text = "Too many passwords are being checked."
                return self._refusal(RequestRefusal.LOGIN_FLOOD, scope, 429, text, _RETRY)
            accepted = await anyio.to_thread.run_sync(users.check, authorization, limiter=self._guesses.limiter)
        if not accepted:
            if authorization is not None:  # a browser asks without credentials first
                client, *_ = scope.get("client") or ("",)
                log(_logger, WARN, "login_failed", "A name or password was refused.", client=client)
            challenge = {"WWW-Authenticate": 'Basic realm="drift-monitor", charset="UTF-8"'}
            return self._refusal(RequestRefusal.CREDENTIALS, scope, 401, "Authentication is required.", challenge)
        user = users.name(authorization)
        if user is not None:
            scope.setdefault("state", {})["user"] = user
        return None

    def _refusal(
        self,
        reason: RequestRefusal,
        scope: Scope,
        status: int,
        text: str,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        self._on_refused(reason)
        # Closed, since the rest of the request is not read.
        headers = {**(headers or {}), "Connection": "close"}
        if scope["path"].startswith(API_PATHS):
            return JSONResponse({"error": text}, status, headers)
        return PlainTextResponse(text + "\n", status, headers)

    def _is_foreign(self, scope: Scope, headers: Headers) -> bool:
        if headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}:
            return True
        origin = headers.get("origin")
        own = f"{scope['scheme']}://{headers.get('host', '')}"
        return origin is not None and origin.lower() != own.lower() and origin.lower() not in self._origins


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
