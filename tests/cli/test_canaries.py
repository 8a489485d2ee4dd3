"""No secret shows anywhere: each that a configuration can have is a canary, and every output is searched for it.

In plain, and in the forms in which it travels. Receivers answer with all that they were sent, the ones that are
written wrongly are those that people mistype.
"""

import base64
import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote

import bcrypt
import httpx
import pytest
import yaml

from tests.cli.shop import Shop, fire, open_shop
from tests.ports import lasting_port

CORE = "zq7canary"
AROUND = "p%s {} & <\"'@:/#?+ü"  # what is special in URLs, YAML, logfmt, JSON, HTML or a shell


def secret(number: int) -> str:
    return AROUND.format(f"{CORE}{number}x")


def encoded(core: str) -> Iterator[str]:
    """The text in base64, however it lies in what was encoded: without the ends that depend on what is around."""
    for before in range(3):
        yield base64.b64encode(b"-" * before + core.encode() + b"--").decode()[4:-6]


def found(text: str) -> list[str]:
    return [form for form in (CORE, CORE.upper(), CORE.encode().hex(), *encoded(CORE)) if form in text]


def test_a_canary_is_found_in_every_form() -> None:
    whole = secret(3)
    for written in (whole, quote(whole, safe=""), json.dumps(whole), whole.encode().hex(), f"a:{whole}"):
        assert found(written)
    for before in ("", "a", "ab", "abc", "user:"):
        assert found(base64.b64encode((before + whole).encode()).decode()), before


class Echo(BaseHTTPRequestHandler):
    """Refuses, and says in words and body all that it was sent."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        said = f"{self.path} {dict(self.headers)} {body.decode('utf-8', 'replace')}"
        self.send_response(400, " ".join(said.split()).encode("ascii", "replace").decode()[:2000])
        self.end_headers()
        self.wfile.write(said.encode())

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@contextmanager
def echo() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def receivers(port: int, folder: Path) -> list[dict[str, Any]]:
    """One of each kind, with a secret in each place that can have one."""
    (folder / "key").write_text(secret(20))
    (folder / "hook").write_text(f"http://127.0.0.1:{port}/{quote(secret(21), safe='')}\n")
    own = f"127.0.0.1:{port}"

    def url(number: int) -> str:
        return f"http://user:{quote(secret(number), safe='')}@{own}/{quote(secret(number + 1), safe='')}?k={CORE}"

    return [
        {"name": "hook", "webhook": {"url": url(1), "secret": secret(3)}},
        {"name": "hook-file", "webhook": {"url_file": "hook", "secret_file": "key"}},
        {"name": "chat", "slack": {"webhook_url": url(4)}},
        {"name": "pager", "pagerduty": {"routing_key": secret(6), "url": url(7)}},
        {"name": "manager", "alertmanager": {"urls": [url(9)]}},
        {"name": "apprise", "apprise": {"urls": [f"json://user:{quote(secret(11), safe='')}@{own}/{CORE}"]}},
        {
            "name": "mail",
            "email": {
                "smarthost": own,
                "from": "a@example.org",
                "to": ["b@example.org"],
                "auth_username": "user",
                "auth_password": secret(13),
                "require_tls": False,
            },
        },
    ]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return fire(open_shop(tmp_path))


def with_secrets(shop: Shop, port: int) -> None:
    document = yaml.safe_load(shop.config.read_text())
    password = quote(secret(14), safe="")
    document["sources"].append({"name": "far", "url": f"postgresql://u:{password}@127.0.0.1:1/d?sslpassword={CORE}"})
    document["monitors"].append({**document["monitors"][0], "name": "far", "source": "far"})
    document["receivers"] = receivers(port, shop.folder)
    shop.config.write_text(yaml.safe_dump(document))


def said_by(shop: Shop, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "drift_monitor", *arguments],
        capture_output=True,
        timeout=300,
        check=False,
        cwd=shop.folder,
    )
    return (done.stdout + done.stderr).decode("utf-8", "replace")


def test_no_command_page_metric_log_line_or_row_shows_a_secret(shop: Shop) -> None:
    flag, port = f"--config.file={shop.config}", lasting_port()
    hashed = bcrypt.hashpw(secret(30).encode()[:72], bcrypt.gensalt(4)).decode()
    (shop.folder / "web.yml").write_text(f"basic_auth_users: {{ada: {hashed}}}\n")
    outputs: dict[str, str] = {}
    with echo() as receiver:
        with_secrets(shop, receiver)
        outputs["check-config"] = said_by(shop, "check-config", str(shop.config))
        outputs["check-config --connect"] = said_by(shop, "check-config", "--connect", str(shop.config))
        outputs["evaluate"] = said_by(shop, "evaluate", flag, "--log.level=debug")
        for name in ("hook", "hook-file", "chat", "pager", "manager", "apprise", "mail"):
            outputs[f"notify test {name}"] = said_by(shop, "notify", "test", name, flag, "--log.level=debug")
        with (shop.folder / "log").open("wb") as log:
            web = [f"--web.listen-address=127.0.0.1:{port}", f"--web.config.file={shop.folder / 'web.yml'}"]
            command = [sys.executable, "-m", "drift_monitor", "run", flag, "--log.level=debug", *web]
            with subprocess.Popen(command, stdout=log, stderr=log) as process:
                try:
                    with httpx.Client(
                        base_url=f"http://127.0.0.1:{port}", auth=("ada", secret(30).encode()[:72].decode()), timeout=60
                    ) as client:
                        outputs |= asked(client)
                finally:
                    process.terminate()
        outputs["log"] = (shop.folder / "log").read_text()
    with closing(sqlite3.connect(shop.store)) as store:
        outputs["store"] = "\n".join(store.iterdump())
    assert "event=started" in outputs["log"]
    assert "notification" in outputs["log"], "receivers refused"
    assert {name: found(text) for name, text in outputs.items() if found(text)} == {}
    hashes = {name for name, text in outputs.items() if hashed in text}
    assert hashes == set()


def asked(client: httpx.Client) -> dict[str, str]:
    """What every address shows, some time after the receivers have refused."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            if "drift_notifications_failed_total{" in (text := client.get("/metrics").text) and any(
                line.startswith("drift_notifications_failed_total{") and not line.endswith(" 0.0")
                for line in text.splitlines()
            ):
                break
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    client.get("/metrics", auth=("ada", f"{CORE} wrong"))
    client.get(f"/{CORE.replace('canary', '')}", headers={"Authorization": f"Bearer {CORE}{CORE}"})
    addresses = (
        *("/", "/metrics", "/monitors/orders", "/monitors/far", "/monitors/orders/features/amount", "/runbooks"),
        *(f"/api/v1/{name}" for name in ("alerts", "episodes", "notifications", "silences")),
    )
    return {address: str(client.get(address).headers) + client.get(address).text for address in addresses}


HALF = f"{CORE}@1/x#y?z"  # a password that nobody has quoted
MAIL = {"smarthost": "m:25", "from": "a@b.c", "to": ["a@b.c"]}
MISTYPED = [
    {"store": {"url": f"postgresql://u:{HALF}@db/drift"}},
    {"store": {"url": f"postgres://u:{CORE}@db:port/drift"}},
    {"store": {"url": f"postgresql:/u:{CORE}@db/drift"}},
    {"store": {"url": f"u:{CORE}@db"}},
    {"store": {"url": f"mysql://u:{CORE}@db/drift"}},
    {"store": {"url": f"postgresql://u:{CORE}@[db/drift"}},
    {"store": {"url": [f"postgresql://u:{CORE}@db/drift"]}},
    {"store": {"url": f"postgresql://u:${{NOT_SET:-{CORE}}}@[db"}},
    {"store": {"url": "sqlite:///x.db", "password": CORE}},
    {"store": f"postgresql://u:{CORE}@db/drift"},
    {"sources": [{"name": "s", "url": f"postgresql://u:{HALF}@db/x"}]},
    {"sources": [{"name": "s", "url": f"oracle+{CORE}://u@db/x"}]},
    {"sources": [{"name": f"postgresql://u:{CORE}@db/x", "url": "sqlite:///x.db"}]},
    {"sources": [{"name": "s", "url": f"postgresql://u:{CORE}@127.0.0.1:1/x?sslmode={CORE}"}]},
    {"receivers": [{"name": "r", "webhook": {"url": f"htp://{CORE}/x"}}]},
    {"receivers": [{"name": "r", "webhook": {"url": f"http://[{CORE}/x"}}]},
    {"receivers": [{"name": "r", "webhook": f"https://hooks.example/{CORE}"}]},
    {"receivers": [{"name": "r", "webhook": {"url": "https://h.example/", "secret": [CORE]}}]},
    {"receivers": [{"name": "r", "webhook": {"url": "https://h.example/", "secrt": CORE}}]},
    {"receivers": [{"name": "r", "slack": {"webhook_url": f"hooks.slack.example/{CORE}"}}]},
    {"receivers": [{"name": "r", "slack": {"webhook_url": {"x": CORE}}}]},
    {"receivers": [{"name": "r", "pagerduty": {"routing_key": {"key": CORE}}}]},
    {"receivers": [{"name": "r", "email": {**MAIL, "smarthost": f"u:{CORE}@mail:25"}}]},
    {
        "receivers": [
            {"name": "r", "email": {"smarthost": "m:25", "from": "a@b.c", "to": ["a@b.c"], "auth_password": [CORE]}}
        ]
    },
    {"receivers": [{"name": "r", "apprise": {"urls": [f"{CORE}://x"]}}]},
    {"receivers": [{"name": "r", "alertmanager": {"urls": [f"http//u:{CORE}@x"]}}]},
    {"outbound": {"allow": [f"https://u:{CORE}@h.example"]}},
    {"grafana_url": f"https://u:{CORE}@grafana.example"},
]


@pytest.mark.parametrize("wrong", MISTYPED, ids=range(len(MISTYPED)))
def test_no_mistake_is_told_with_the_secret_that_was_mistyped(shop: Shop, wrong: dict[str, Any]) -> None:
    document = yaml.safe_load(shop.config.read_text())
    shop.config.write_text(yaml.safe_dump({**document, **wrong}))
    for command in (["check-config", str(shop.config)], ["check-config", "--connect", str(shop.config)]):
        said = said_by(shop, *command)
        assert not found(said), said
        assert "Traceback" not in said
    said = said_by(shop, "run", f"--config.file={shop.config}", "--web.listen-address=nonsense")
    assert not found(said), said
