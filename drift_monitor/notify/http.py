"""One POST to a URL that may be a secret: one total deadline, no second guesses.

Redirects are refused, proxies and netrc of the environment are ignored, at most 4 KiB of an answer are read, and the
deadline covers everything from the name to the last byte: a server that drips a byte a second can't hold a worker.
The URL may be the credential, so errors show scheme and host only, and an answer that repeats its path, or a
`secret` sent in the body, is not quoted.
"""

import asyncio
import json
import logging
import re
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cached_property
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx

from drift_monitor.config.outbound import OutboundConfig
from drift_monitor.core.times import clean_text
from drift_monitor.errors import DeliveryError, DeliveryFailure
from drift_monitor.notify.outbound import Destination, Resolver, resolve
from drift_monitor.telemetry.logs import WARN, origin
from drift_monitor.version import __version__

USER_AGENT = f"drift-monitor/{__version__}"
MAX_ANSWER_BYTES = 4096
MAX_QUOTED_CHARACTERS = 200  # of an answer: a sentence, and no page of it in the log
# Shorter parts of a path are words such as "hooks" or "v1", not credentials.
_MIN_SECRET_PART = 6
_RETRYABLE_CLIENT_ERRORS = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
_AUTH_ERRORS = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.PROXY_AUTHENTICATION_REQUIRED})


class Poster:
    """Posts documents to one URL."""

    def __init__(
        self,
        url: str,
        timeout: timedelta,
        outbound: OutboundConfig,
        resolver: Resolver | None = None,
        *,
        secret: str | None = None,
    ) -> None:
        self._url = url
        self._timeout = timeout.total_seconds()
        self._outbound = outbound
        self._resolver = resolver
        self._secret = secret
        for name in ("httpx", "httpcore"):
            # Below WARNING these print full URLs and headers, whatever the level of the rest.
            logging.getLogger(name).setLevel(WARN)

    def post(self, document: Any, at: datetime) -> None:
        """Post a document as JSON; see `post_bytes`."""
        self.post_bytes(self.encode(document), {}, at)

    def post_bytes(self, content: bytes, headers: Mapping[str, str], at: datetime) -> None:
        """Post JSON once; returns on 2xx, else DeliveryError. Blocks up to the deadline, in a thread without a loop."""
        asyncio.run(self._post(content, {"Content-Type": "application/json", "User-Agent": USER_AGENT, **headers}, at))

    def encode(self, document: Any) -> bytes:
        """The document as the bytes that are sent."""
        try:
            return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
        except (ValueError, TypeError):
            raise self._error("the notification is no JSON", DeliveryFailure.INVALID, retryable=False) from None

    async def _post(self, content: bytes, headers: dict[str, str], at: datetime) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                destination = await resolve(self._url, self._outbound, self._resolver)
                # An address that swallows packets must leave time for the next one.
                connect = self._timeout / len(destination.addresses)
                async with httpx.AsyncClient(
                    verify=self._tls if destination.url.scheme == "https" else False,
                    trust_env=False,
                    follow_redirects=False,
                    timeout=httpx.Timeout(self._timeout, connect=connect),
                ) as client:
                    answer, excerpt = await self._first_answer(client, destination, content, headers)
                self._judge(answer, excerpt, at)
        except TimeoutError:
            message = f"no complete answer within {self._timeout:g} s"
            raise self._error(message, DeliveryFailure.TIMEOUT, retryable=True) from None

    async def _first_answer(
        self, client: httpx.AsyncClient, destination: Destination, content: bytes, headers: dict[str, str]
    ) -> tuple[httpx.Response, str]:
        failure: httpx.TransportError | None = None
        for address in destination.addresses:
            request = client.build_request(
                "POST",
                destination.dial(address),
                content=content,
                headers={**headers, "Host": destination.host_header},
                extensions={"sni_hostname": destination.host},
            )
            try:
                answer = await client.send(request, stream=True)
                try:
                    return answer, await _read_excerpt(answer)
                finally:
                    await answer.aclose()
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failure = error  # nothing was sent: the next address may do
            except httpx.TransportError as error:
                failure = error
                break
        raise self._translate(failure) from None

    def _translate(self, failure: httpx.TransportError | None) -> DeliveryError:
        if isinstance(failure, httpx.TimeoutException):
            message = f"no answer within {self._timeout:g} s"
            return self._error(message, DeliveryFailure.TIMEOUT, retryable=True)
        name = type(failure).__name__
        cause: BaseException | None = failure
        while cause is not None:
            if isinstance(cause, ssl.SSLError):
                line = (str(failure).splitlines() or [name])[0][:MAX_QUOTED_CHARACTERS]
                return self._error(f"TLS failed: {line}", DeliveryFailure.TLS, retryable=True)
            cause = cause.__cause__ or cause.__context__
        return self._error(f"the connection failed ({name})", DeliveryFailure.NETWORK, retryable=True)

    def _judge(self, answer: httpx.Response, excerpt: str, at: datetime) -> None:
        status = answer.status_code
        if 200 <= status < 300:
            return
        if 300 <= status < 400:
            message = f"answered {status}, a redirect, which is never followed; configure the final URL"
            raise self._error(message, DeliveryFailure.REDIRECT, retryable=False, status_code=status)
        reason = DeliveryFailure.SERVER_ERROR if status >= 500 else DeliveryFailure.CLIENT_ERROR
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            reason = DeliveryFailure.RATE_LIMITED
        elif status in _AUTH_ERRORS:
            reason = DeliveryFailure.AUTH_ERROR
        raise self._error(
            f"answered {status}{self._quote(excerpt)}",
            reason,
            retryable=status >= 500 or status in _RETRYABLE_CLIENT_ERRORS or status < 200,
            status_code=status,
            retry_after=retry_after_seconds(answer.headers.get("Retry-After"), at),
        )

    def _quote(self, excerpt: str) -> str:
        text = " ".join(clean_text(excerpt).split())[:MAX_QUOTED_CHARACTERS]
        if not text:
            return ""
        parts = urlsplit(self._url)
        rest = f"{parts.path}/{parts.query}/{parts.fragment}/{parts.netloc.rpartition('@')[0]}"
        pieces = {piece for piece in re.split(r"[/?&=:;,.]", rest) if piece}
        pieces |= {unquote(piece) for piece in pieces}
        secrets = {piece for piece in pieces if len(piece) >= _MIN_SECRET_PART}
        if any(secret in excerpt for secret in (*secrets, self._secret) if secret):
            return " (the answer repeats a secret and is not shown)"
        return f": {text}"

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        # The system's authorities (SSL_CERT_FILE works), so that an internal one need not be configured twice.
        return ssl.create_default_context()

    def _error(
        self,
        message: str,
        reason: DeliveryFailure,
        *,
        retryable: bool,
        status_code: int | None = None,
        retry_after: float | None = None,
    ) -> DeliveryError:
        return DeliveryError(
            f"{origin(self._url)}: {message}",
            retryable=retryable,
            reason=reason,
            status_code=status_code,
            retry_after=retry_after,
        )


def retry_after_seconds(value: str | None, at: datetime) -> float | None:
    """`Retry-After` as seconds from `at`: given in seconds or as an HTTP date; None if absent or unreadable."""
    if value is None:
        return None
    if value.strip().isascii() and value.strip().isdigit():
        return float(value.strip()[:9])  # whatever the digits, a number
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - at).total_seconds())


async def _read_excerpt(answer: httpx.Response) -> str:
    # Raw bytes: a compressed answer is not unpacked, so 4 KiB stay 4 KiB.
    kept = bytearray()
    async for chunk in answer.aiter_raw():
        kept += chunk
        if len(kept) >= MAX_ANSWER_BYTES:
            break
    return bytes(kept[:MAX_ANSWER_BYTES]).decode("utf-8", "replace")
