"""What every route of the API does alike: permission, media type, errors as JSON.

400  what was asked for can't be read: the message names the field or parameter, the value, and what to write
403  changing something needs authentication or `--web.enable-admin-api`
404  there is no such address, or nothing with that id        405  not with this method
409  it stands otherwise than the change needs                415  a body that is not declared as JSON
503  the store can't be read or written now; trying again may help
"""

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial

import anyio.to_thread
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from drift_monitor.errors import AlreadyOver, InputError, StoreError, UnknownId
from drift_monitor.queries.evaluations import JsonObject
from drift_monitor.queries.status import Readable
from drift_monitor.telemetry.logs import WARN, log_failure

_logger = logging.getLogger(__name__)
_RETRY_SECONDS = 5
NEEDS_PERMISSION = (
    "changing something over HTTP needs authentication (basic_auth_users or client certificates in "
    "--web.config.file), or the flag --web.enable-admin-api"
)
NEEDS_JSON = "the body must be JSON and say so; send the header Content-Type: application/json"


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request as handlers see it. `body` is empty for a request that only reads."""

    services: Readable
    path: Mapping[str, str]
    query: QueryParams
    body: bytes = b""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A document that is not answered with 200."""

    document: JsonObject
    status: int
    headers: Mapping[str, str]


Handler = Callable[[Call], JsonObject | Answer]
Endpoint = Callable[[Request], Awaitable[Response]]


def endpoint(services: Callable[[], Readable], handlers: Mapping[str, Handler], *, may_change: bool) -> Endpoint:
    """The endpoint of one address: a handler for each method. Whatever is no GET changes something."""

    async def answer(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        body = b"" if method == "GET" else await _body(request, may_change=may_change)
        # In a thread: a slow store does not hold up the health routes.
        return await anyio.to_thread.run_sync(partial(_answer, services, handlers[method], request, body))

    return answer


async def _body(request: Request, *, may_change: bool) -> bytes:
    if not may_change:
        raise HTTPException(403, NEEDS_PERMISSION)
    body = await request.body()  # the gate has limited and read it
    # A form of another site can declare no JSON, and send no other method than POST.
    if (body or request.method == "POST") and not _is_json(request.headers.get("content-type", "")):
        raise HTTPException(415, NEEDS_JSON)
    return body


def _answer(services: Callable[[], Readable], handle: Handler, request: Request, body: bytes) -> Response:
    try:
        made = handle(Call(services=services(), path=request.path_params, query=request.query_params, body=body))
    except InputError as error:
        raise HTTPException(_status(error), str(error)) from error
    except StoreError as error:
        log_failure(_logger, WARN, "api_unavailable", "A request could not be answered.", error)
        raise HTTPException(503, str(error), {"Retry-After": str(_RETRY_SECONDS)}) from error
    if isinstance(made, Answer):
        return json_response(made.document, made.status, made.headers)
    return json_response(made)


def failed(request: Request, error: Exception) -> Response:
    """What is told of an error: its own words where it was meant for the client, nothing of its insides otherwise."""
    if isinstance(error, HTTPException):
        return json_response({"error": _REWORDED.get(error.detail, error.detail)}, error.status_code, error.headers)
    return json_response({"error": "the service failed to answer; its log says why"}, 500)


def json_response(document: JsonObject, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # A name from elsewhere may hold what is no character.
    return Response(text.encode("utf-8", "replace"), status, dict(headers or {}), media_type="application/json")


_REWORDED = {  # what the router says of addresses
    "Not Found": "there is no such address below /api; the page on HTTP of the documentation lists them",
    "Method Not Allowed": "this address does not take this method; the header Allow says which",
}


def _status(error: InputError) -> int:
    match error:
        case UnknownId():
            return 404
        case AlreadyOver():
            return 409
        case _:
            return 400


def _is_json(content_type: str) -> bool:
    media_type, _, parameters = content_type.partition(";")
    charset = parameters.strip().lower().replace('"', "")
    return media_type.strip().lower() == "application/json" and charset in {"", "charset=utf-8"}
