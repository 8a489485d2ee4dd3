"""What every request passes: hosts, credentials, origins, sizes."""

import base64
from collections.abc import Iterator

import bcrypt
import pytest
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from drift_monitor.config.web import HttpConfig, WebConfig
from drift_monitor.web.access import BasicAuth, ListenAddress, allowed_hosts, bind_problem, parse_address
from tests.web import http
from tests.web.serving import serving

PASSWORD = "correct horse"
HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
WITH_USERS = WebConfig(basic_auth_users={"scraper": SecretStr(HASH)})


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "LOCALHOST", "[::1]:{port}", "drift.example"])
def test_own_names_are_answered(host: str) -> None:
    with serving(external_urls=("https://drift.example/monitoring",)) as service:
        answer = http.get(f"{service.url}/-/healthy", headers={"Host": host.format(port=service.port)})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "10.0.0.1:8765", "", "[::1", "127.0.0.1.evil.example"]
)
def test_other_names_are_misdirected(host: str) -> None:
    with serving(external_urls=("https://drift.example",)) as service:
        answer = service.raw(b"GET /metrics HTTP/1.1\r\nHost: %s\r\n\r\n" % host.encode())
    assert answer.startswith(b"HTTP/1.1 421 ")
    assert b"drift_" not in answer


def test_wildcard_answers_to_addresses_but_not_to_unknown_names() -> None:
    hosts = allowed_hosts(ListenAddress("0.0.0.0", 8765), ())
    assert hosts.allow("10.1.2.3:8765")
    assert hosts.allow("[fd00::1]:8765")
    assert not hosts.allow("rebound.example:8765")
    assert not allowed_hosts(ListenAddress("10.1.2.3", 8765), ()).allow("10.9.9.9")


@pytest.mark.parametrize(
    "path", ["/metrics", "/-/reload", "/", "/nothing", "//-/healthy", "/-/healthy/", "/-/healthy/../metrics"]
)
@pytest.mark.parametrize(
    "credentials", [None, ("scraper", "wrong"), ("nobody", PASSWORD), ("", ""), ("scraper", "x" * 100)]
)
def test_every_route_but_health_needs_credentials(path: str, credentials: tuple[str, str] | None) -> None:
    with serving(WITH_USERS) as service:
        answer = http.get(service.url + path, auth=credentials)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Basic ")
    assert "drift_kl" not in answer.text


@pytest.mark.parametrize(
    "header",
    [
        "Basic",
        "Basic !!",
        "Basic " + base64.b64encode(b"nocolon").decode(),
        "Bearer x",
        "Basic " + base64.b64encode(b"\xff:\xff").decode(),
        "Basic " + base64.b64encode(b"scraper:a\0b").decode(),
    ],
)
def test_malformed_credentials_are_refused_not_an_error(header: str) -> None:
    with serving(WITH_USERS) as service:
        assert http.get(f"{service.url}/metrics", headers={"Authorization": header}).status_code == 401


def test_right_credentials_and_health_without_any_pass() -> None:
    with serving(WITH_USERS) as service:
        assert http.get(f"{service.url}/metrics", auth=("scraper", PASSWORD)).status_code == 200
        assert http.get(f"{service.url}/metrics", auth=("scraper", PASSWORD)).status_code == 200
        for path in ("/-/healthy", "/-/ready"):
            assert http.get(service.url + path).status_code == 200


def test_slow_password_check_is_done_once_and_a_flood_of_guesses_keeps_the_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checked = []
    real = bcrypt.checkpw

    def count(password: bytes, hashed: bytes) -> bool:
        checked.append(hashed)
        return real(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", count)
    auth = BasicAuth({"scraper": HASH.encode()})

    def header(password: str) -> str:
        return "Basic " + base64.b64encode(f"scraper:{password}".encode()).decode()

    assert auth.check(header(PASSWORD))
    for guess in range(300):
        assert not auth.check(header(f"guess {guess}"))
    assert auth.recall(header(PASSWORD)) is True
    assert len(checked) == 301


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://127.0.0.1:{port}"}, 200),
        ({"Origin": "https://drift.example"}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
    ],
)
def test_requests_that_change_something_must_come_from_our_own_pages(headers: dict[str, str], status: int) -> None:
    with serving(reload=lambda: None, external_urls=("https://drift.example/x",)) as service:
        sent = {name: value.format(port=service.port) for name, value in headers.items()}
        assert http.post(f"{service.url}/-/reload", headers=sent).status_code == status


async def echo(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


def test_body_up_to_the_limit_reaches_its_route_and_a_larger_one_is_refused() -> None:
    def chunks(size: int) -> Iterator[bytes]:
        return (b"x" * 1024 for _ in range(size // 1024))

    with serving(routes=(Route("/echo", echo, methods=["POST"]),)) as service:
        url = f"{service.url}/echo"
        assert http.post(url, content=b"x" * 256 * 1024).text == str(256 * 1024)
        assert http.post(url, content=chunks(256 * 1024)).text == str(256 * 1024)
        assert service.raw(b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 262145\r\n\r\n").startswith(
            b"HTTP/1.1 413 "
        )
        head = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert service.raw(head + b"40001\r\n" + b"x" * 0x40001 + b"\r\n").startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("length", [17_000, 60_000, 200_000])
def test_oversized_head_is_refused(length: int) -> None:
    with serving() as service:
        answer = service.raw(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"x" * length + b"\r\n\r\n")
    assert answer[:12] in {b"HTTP/1.1 400", b"HTTP/1.1 431", b""}  # b"": reset while we still sent


def test_headers_of_the_web_configuration_win() -> None:
    config = WebConfig(
        http_server_config=HttpConfig(
            headers={"X-Frame-Options": "SAMEORIGIN", "Strict-Transport-Security": "max-age=60"}
        )
    )
    with serving(config) as service:
        headers = http.get(f"{service.url}/-/healthy").headers
    assert headers.get_list("x-frame-options") == ["SAMEORIGIN"]
    assert headers["strict-transport-security"] == "max-age=60"
    assert "server" not in headers


@pytest.mark.parametrize(
    "address", ["127.0.0.1:8765", "localhost:8765", "[::1]:0", "127.9.9.9:1", "[::ffff:127.0.0.1]:1"]
)
def test_loopback_needs_no_authentication(address: str) -> None:
    assert bind_problem(address, WebConfig(), allow_unauthenticated=False) is None


@pytest.mark.parametrize(
    "address", ["0.0.0.0:8765", ":8765", "[::]:8765", "10.0.0.1:80", "drift.example:80", "[fe80::1]:1"]
)
def test_other_addresses_need_authentication_or_an_explicit_word(address: str) -> None:
    problem = bind_problem(address, WebConfig(), allow_unauthenticated=False)
    assert problem is not None
    assert address in problem
    assert "--web.allow-unauthenticated" in problem
    assert bind_problem(address, WITH_USERS, allow_unauthenticated=False) is None
    assert bind_problem(address, WebConfig(), allow_unauthenticated=True) is None


@pytest.mark.parametrize("text", ["", "8765", "host:", "host:http", "host:70000", "::1:80", "host:-1", "host:٣"])
def test_broken_listen_address_says_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match=r"\[::1\]"):
        parse_address(text)
    assert "is no listen address" in (bind_problem(text, WebConfig(), allow_unauthenticated=True) or "")
