"""What every route of the API does alike: permission, media type, errors as JSON; and all routes, below `/api`.

400  what was asked for can't be read: the message names the field or parameter, the value, and what to write
403  changing something needs authentication or `--web.enable-admin-api`
404  there is no such address, or nothing with that id        405  not with this method
409  it stands otherwise than the change needs                415  a body that is not declared as JSON
503  the store can't be read or written now; trying again may help
"""

import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import anyio.to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from drift_monitor.errors import AlreadyOver, InputError, StoreError, UnknownId
from drift_monitor.queries.status import Readable
from drift_monitor.telemetry.logs import WARN, log
from drift_monitor.web.api.resources import RESOURCES, Answer, Call, Handler

_logger = logging.getLogger(__name__)
_RETRY_SECONDS: Final = 5  # a store that restarts is back by then
NEEDS_PERMISSION: Final = (
    "changing something over HTTP needs authentication (basic_auth_users or client certificates in "
    "--web.config.file), or the flag --web.enable-admin-api"
)
NEEDS_JSON: Final = "the body must be JSON and say so; send the header Content-Type: application/json"
_REWORDED: Final = {  # what the router says of addresses
    "Not Found": "there is no such address below /api; the page on HTTP of the documentation lists them",
    "Method Not Allowed": "this address does not take this method; the header Allow says which",
}


def api_routes(services: Callable[[], Readable], *, may_change: Callable[[], bool]) -> Sequence[BaseRoute]:
    """All of them; `services` raises StoreUnavailable while the service is starting.

    `may_change`: clients prove who they are, or the operator has said that anybody may change things.
    """

    def endpoint(handlers: Mapping[str, Handler]) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            method = "GET" if request.method == "HEAD" else request.method
            body = b"" if method == "GET" else await _read_body(request, may_change=may_change())
            # In a thread: a slow store does not hold up the health routes.
            return await anyio.to_thread.run_sync(_answer, services, handlers[method], request, body)

        return answer

    routes = [Route(path, endpoint(handlers), methods=list(handlers)) for path, handlers in RESOURCES.items()]
    api = Starlette(routes=routes, exception_handlers={HTTPException: _failed, Exception: _failed})
    api.router.redirect_slashes = False  # a POST that is sent elsewhere may arrive without its body
    return [Mount("/api", app=api)]


async def _read_body(request: Request, *, may_change: bool) -> bytes:
    """The body of a request that changes something: whatever is no GET."""
    if not may_change:
        raise HTTPException(403, NEEDS_PERMISSION)
    body = await request.body()  # the middleware has limited and read it
    media_type, _, parameters = request.headers.get("content-type", "").lower().partition(";")
    charset = parameters.strip().replace('"', "")
    is_json = media_type.strip() == "application/json" and charset in {"", "charset=utf-8"}
    # A form of another site can declare no JSON, and send no other method than POST.
    if (body or request.method == "POST") and not is_json:
        raise HTTPException(415, NEEDS_JSON)
    return body


def _answer(services: Callable[[], Readable], handle: Handler, request: Request, body: bytes) -> Response:
    try:
        user = getattr(request.state, "user", None)
        call = Call(services=services(), path=request.path_params, query=request.query_params, body=body, user=user)
        made = handle(call)
    except InputError as error:
        status = 404 if isinstance(error, UnknownId) else 409 if isinstance(error, AlreadyOver) else 400
        raise HTTPException(status, str(error)) from error
    except StoreError as error:
        log(_logger, WARN, "api_unavailable", f"A request could not be answered: {error}")
        raise HTTPException(503, str(error), {"Retry-After": str(_RETRY_SECONDS)}) from error
    return _json(made if isinstance(made, Answer) else Answer(document=made, status=200))


def _failed(request: Request, error: Exception) -> Response:
    """What is said of an error: its own words where it was meant for the client, nothing of its insides otherwise."""
    if isinstance(error, HTTPException):
        document = {"error": _REWORDED.get(error.detail, error.detail)}
        return _json(Answer(document=document, status=error.status_code, headers=error.headers))
    return _json(Answer(document={"error": "the service failed to answer; its log says why"}, status=500))


def _json(answer: Answer) -> Response:
    text = json.dumps(answer.document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # A name from elsewhere may hold what is no character.
    content = text.encode("utf-8", "replace")
    return Response(content, answer.status, dict(answer.headers or {}), media_type="application/json")
