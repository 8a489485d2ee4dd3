"""The webhook sender against real servers on local sockets."""

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from drift_monitor.config.outbound import ANYWHERE
from drift_monitor.errors import DeliveryError
from drift_monitor.notify.http import retry_after_seconds
from drift_monitor.notify.outbound import Resolver
from drift_monitor.notify.webhook import WebhookSender, signature, signing_key
from tests.notify.receivers import Receiver, raw_server, receiver, refusing
from tests.notify.samples import configured

CERTIFICATES = Path(__file__).parents[1] / "certificates"
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
ID = "0b6b2a1e-55a8-5a52-9b0b-7f0c5a1f5d9e"
BODY: dict[str, Any] = {"version": "4", "alerts": [{"labels": {"feature": "größe"}}]}


def a_sender(url: str, resolver: Resolver | None = None, **keys: Any) -> WebhookSender:
    return WebhookSender(configured("webhook", url=url, **keys), ANYWHERE, resolver)


def failure_of(sender: WebhookSender) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        sender.send(ID, BODY, NOON)
    return caught.value


def test_body_arrives_as_json_with_its_id() -> None:
    with receiver() as hook:
        a_sender(hook.url).send(ID, BODY, NOON)
    (request,) = hook.received
    assert json.loads(request.body) == BODY
    assert request.path == "/hook"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["webhook-id"] == request.headers["idempotency-key"] == ID
    assert request.headers["webhook-timestamp"] == "1795176000"  # 2026-11-20T12:00:00Z
    assert "webhook-signature" not in request.headers


def test_webhook_gets_version_4_and_not_the_bins_that_are_stored_beside_it() -> None:
    with receiver() as hook:
        a_sender(hook.url).send(ID, {"alerts": [{"status": "firing", "bins": [{"label": "a"}]}]}, NOON)
    assert json.loads(hook.received[0].body) == {"alerts": [{"status": "firing"}]}


@pytest.mark.parametrize(
    ("secret", "key"),
    [
        ("plain words", b"plain words"),
        ("whsec_" + base64.b64encode(b"\x00\xffkey").decode(), b"\x00\xffkey"),
        ("whsec_no base64!", b"whsec_no base64!"),
    ],
)
def test_signature_is_verified_by_the_receivers_own_sum(secret: str, key: bytes) -> None:
    with receiver() as hook:
        a_sender(hook.url, secret=secret).send(ID, BODY, NOON)
    (request,) = hook.received
    headers = request.headers
    content = b".".join([headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), request.body])
    version, _, given = headers["webhook-signature"].partition(",")
    assert version == "v1"
    assert base64.b64decode(given) == hmac.digest(key, content, hashlib.sha256)


def test_signature_equals_the_example_of_standard_webhooks() -> None:
    # The published test vector of the Standard Webhooks reference libraries.
    key = signing_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signed = signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_every_success_is_accepted(status: int) -> None:
    with receiver(status=status) as hook:
        a_sender(hook.url).send(ID, BODY, NOON)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (408, "client_error"),
        (425, "client_error"),
        (429, "rate_limited"),
        (500, "server_error"),
        (502, "server_error"),
        (503, "server_error"),
        (504, "server_error"),
    ],
)
def test_answers_that_may_change_are_tried_again(status: int, reason: str) -> None:
    with receiver(status=status, headers={"Retry-After": "17"}) as hook:
        failure = failure_of(a_sender(hook.url))
    assert (failure.retryable, failure.reason, failure.status_code) == (True, reason, status)
    assert failure.retry_after == 17


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (400, "client_error"),
        (401, "auth_error"),
        (403, "auth_error"),
        (404, "client_error"),
        (410, "client_error"),
        (422, "client_error"),
    ],
)
def test_refusals_are_dead_at_once(status: int, reason: str) -> None:
    with receiver(status=status, answer=b"no such hook") as hook:
        failure = failure_of(a_sender(hook.url))
    assert (failure.retryable, failure.reason, failure.status_code) == (False, reason, status)
    assert str(failure) == f"http://127.0.0.1:{hook.port}: answered {status}: no such hook"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_is_refused_and_never_followed(status: int) -> None:
    with receiver() as internal, receiver(status=status, headers={"Location": internal.url}) as hook:
        failure = failure_of(a_sender(hook.url))
    assert (failure.retryable, failure.reason) == (False, "redirect")
    assert len(hook.received) == 1
    assert internal.received == []


@pytest.mark.parametrize(
    ("first", "drip"),
    [
        (b"", b""),  # accepts and says nothing
        (b"HTTP/1.1 200 OK\r\n", b"x"),  # drips headers
        (b"HTTP/1.1 500 No\r\nContent-Length: 100000\r\n\r\n", b"x"),  # drips the body
    ],
)
def test_deadline_is_total_and_not_per_byte(first: bytes, drip: bytes) -> None:
    with raw_server(first, drip, pause=0.02) as port:
        started = time.monotonic()
        failure = failure_of(a_sender(f"http://127.0.0.1:{port}/hook", timeout=timedelta(seconds=0.4)))
        took = time.monotonic() - started
    assert (failure.retryable, failure.reason) == (True, "timeout")
    assert 0.3 < took < 60


def test_deadline_covers_a_name_server_that_hangs() -> None:
    async def hang(host: str, port: int) -> tuple[str, ...]:
        await never.wait()
        return ()

    never = asyncio.Event()
    sender = a_sender("http://hooks.example/x", timeout=timedelta(seconds=0.1), resolver=hang)
    assert failure_of(sender).reason == "timeout"


def test_hanging_system_name_server_does_not_hold_the_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def hang(*_: object, **__: object) -> list[Any]:
        released.wait(300)
        raise OSError("late")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    started = time.monotonic()
    failure = failure_of(a_sender("http://hooks.example/x", timeout=timedelta(seconds=0.2)))
    took = time.monotonic() - started
    released.set()
    assert failure.reason == "timeout"
    assert took < 60


def test_endless_answer_is_read_to_four_kilobytes_only() -> None:
    head = b"HTTP/1.1 500 No\r\nContent-Length: 1000000000\r\n\r\n"
    with raw_server(head, b"y" * 65536, pause=0.001) as port:
        failure = failure_of(a_sender(f"http://127.0.0.1:{port}/hook"))
    assert failure.status_code == 500
    assert len(str(failure)) < 300


def test_connection_refused_is_tried_again() -> None:
    with refusing() as port:
        failure = failure_of(a_sender(f"http://127.0.0.1:{port}/hook"))
    assert (failure.retryable, failure.reason) == (True, "network")


def test_lost_answer_is_tried_again() -> None:
    listening = socket.create_server(("127.0.0.1", 0))

    def hang_up() -> None:
        connection, _ = listening.accept()
        connection.recv(65536)
        connection.close()

    thread = threading.Thread(target=hang_up)
    thread.start()
    failure = failure_of(a_sender(f"http://127.0.0.1:{listening.getsockname()[1]}/hook"))
    thread.join()
    listening.close()
    assert (failure.retryable, failure.reason) == (True, "network")


def test_next_address_of_the_name_is_dialled_when_one_refuses() -> None:
    async def two(host: str, port: int) -> tuple[str, ...]:
        return ("127.0.0.2", "127.0.0.1")

    with receiver() as hook:  # listens on 127.0.0.1 only
        a_sender(f"http://hooks.example:{hook.port}/hook", resolver=two).send(ID, BODY, NOON)
    (request,) = hook.received
    assert request.headers["host"] == f"hooks.example:{hook.port}"


def test_name_is_resolved_once_and_the_checked_address_is_dialled() -> None:
    asked = []

    async def rebind(host: str, port: int) -> tuple[str, ...]:
        asked.append(host)
        return ("127.0.0.1",) if len(asked) == 1 else ("169.254.169.254",)

    with receiver() as hook:
        a_sender(f"http://hooks.example:{hook.port}/hook", resolver=rebind).send(ID, BODY, NOON)
    assert asked == ["hooks.example"]
    assert len(hook.received) == 1


@pytest.mark.parametrize("address", ["169.254.169.254", "[fd00:ec2::254]", "[::ffff:169.254.169.254]", "0.0.0.0"])
def test_refused_address_is_never_dialled(address: str) -> None:
    with receiver() as hook:  # 0.0.0.0 would reach it
        failure = failure_of(a_sender(f"http://{address}:{hook.port}/hook"))
    assert (failure.retryable, failure.reason) == (False, "address_refused")
    assert hook.received == []


def test_environment_proxy_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as proxy, receiver() as hook:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("http_proxy", proxy.url)
        a_sender(hook.url).send(ID, BODY, NOON)
    assert (len(proxy.received), len(hook.received)) == (0, 1)


def test_tls_handshake_with_a_plain_server_is_a_tls_failure() -> None:
    with receiver() as hook:
        failure = failure_of(a_sender(hook.url.replace("http:", "https:")))
    assert (failure.retryable, failure.reason) == (True, "tls")


@contextmanager
def tls_receiver(certificate: str = "server") -> Iterator[Receiver]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / f"{certificate}.pem", CERTIFICATES / f"{certificate}.key")
    with receiver(tls=context) as hook:
        yield hook


def test_certificate_is_checked_against_the_name_though_an_address_is_dialled(monkeypatch: pytest.MonkeyPatch) -> None:
    async def local(host: str, port: int) -> tuple[str, ...]:
        return ("127.0.0.1",)

    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATES / "ca.pem"))
    with tls_receiver() as hook:
        a_sender(f"https://hooks.example:{hook.port}/hook", resolver=local).send(ID, BODY, NOON)
        failure = failure_of(a_sender(f"https://other.example:{hook.port}/hook", resolver=local))
    assert len(hook.received) == 1
    assert failure.reason == "tls"
    assert "other.example" in str(failure)


def test_unknown_authority_is_a_tls_failure() -> None:
    with tls_receiver() as hook:
        failure = failure_of(a_sender(f"https://127.0.0.1:{hook.port}/hook"))
    assert (failure.retryable, failure.reason) == (True, "tls")
    assert hook.received == []


CANARIES = ("T0CANARY1path", "canary2query", "canary3user", "canary4password", "canary5signing")


@pytest.mark.parametrize("status", [200, 302, 404, 500])
def test_no_part_of_the_secrets_is_in_errors_or_logs(status: int, caplog: pytest.LogCaptureFixture) -> None:
    path, query, user, password, signing = CANARIES
    echo = f"Cannot POST /services/{path}?key={query}".encode()
    with caplog.at_level(logging.DEBUG), receiver(status=status, answer=echo) as hook:
        url = f"http://{user}:{password}@127.0.0.1:{hook.port}/services/{path}?key={query}"
        sender = a_sender(url, secret=signing)
        shown = "" if status == 200 else str(failure_of(sender))
        if status == 200:
            sender.send(ID, BODY, NOON)
    assert hook.received[0].path == f"/services/{path}?key={query}"
    for canary in CANARIES:
        assert canary not in shown + caplog.text + repr(sender)


def test_failed_connection_shows_no_secret_either(caplog: pytest.LogCaptureFixture) -> None:
    with refusing() as port, caplog.at_level(logging.DEBUG):
        failure = failure_of(a_sender(f"http://canary3user:canary4password@127.0.0.1:{port}/T0CANARY1path"))
    chain = repr(failure) + repr(failure.__cause__) + caplog.text
    assert not any(canary in chain for canary in CANARIES)
    assert str(failure).startswith(f"http://127.0.0.1:{port}: the connection failed")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("120", 120.0),
        (" 5 ", 5.0),
        ("Fri, 20 Nov 2026 12:01:30 GMT", 90.0),
        ("Fri, 20 Nov 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("-3", None),
        ("9" * 400, 999999999.0),
    ],
)
def test_retry_after_is_read_in_both_its_forms(value: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(value, NOON) == seconds


def test_number_that_is_no_json_is_refused_before_sending() -> None:
    with receiver() as hook, pytest.raises(DeliveryError) as caught:
        a_sender(hook.url).send(ID, {"value": float("nan")}, NOON)
    assert not caught.value.retryable
    assert hook.received == []
