"""The flags of commands that serve, followed into a service that runs: who may change something over HTTP."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bcrypt
import click
import httpx
import pytest

from drift_monitor.app import ServeOptions, Service
from drift_monitor.cli.run import WebFlags, web_flags
from drift_monitor.config.loading import load

PATIENCE_SECONDS = 120
SILENCE = {"matchers": ["team=risk"], "duration": "2h", "author": "ada", "comment": "load test"}
PASSWORD = "correct horse"


def options_of(*flags: str) -> ServeOptions:
    """What a serving command makes of these flags."""
    taken: list[ServeOptions] = []

    @click.command()
    @web_flags
    def command(flags: WebFlags) -> None:
        taken.append(flags.options())

    command.main(["--web.listen-address=127.0.0.1:0", *flags], standalone_mode=False)
    return taken[0]


@contextmanager
def serving(folder: Path, *flags: str) -> Iterator[str]:
    """A whole service without monitors; the URL of its API, once its store answers."""
    config = folder / "drift.yaml"
    config.write_text(f"store: {{url: sqlite:///{folder}/drift.db}}\nsources: []\nmonitors: []\nreceivers: []\n")
    service = Service(load(config), options_of(*flags))
    listening, ports = threading.Event(), list[int]()

    def on_listening(port: int) -> None:
        ports.append(port)
        listening.set()

    thread = threading.Thread(target=service.run, args=(on_listening,))
    thread.start()
    try:
        assert listening.wait(PATIENCE_SECONDS)
        wait_until_ready(f"http://127.0.0.1:{ports[0]}/-/ready")
        yield f"http://127.0.0.1:{ports[0]}/api/v1"
    finally:
        service.end()
        thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()


def wait_until_ready(url: str) -> None:
    pause = threading.Event()
    for _ in range(PATIENCE_SECONDS * 10):
        if httpx.get(url, timeout=PATIENCE_SECONDS).status_code == 200:
            return
        pause.wait(0.1)
    pytest.fail("the service never became ready")


def status(url: str, credentials: tuple[str, str] | None = None) -> int:
    return httpx.post(f"{url}/silences", json=SILENCE, auth=credentials, timeout=PATIENCE_SECONDS).status_code


def test_nothing_is_changed_over_http_unless_the_flag_or_a_password_allows_it(tmp_path: Path) -> None:
    with serving(tmp_path) as url:
        assert status(url) == 403
        assert httpx.get(f"{url}/silences", timeout=PATIENCE_SECONDS).json() == {"silences": [], "next": None}


def test_the_flag_lets_everybody_change_things(tmp_path: Path) -> None:
    with serving(tmp_path, "--web.enable-admin-api") as url:
        assert status(url) == 201


def test_whoever_has_a_password_may_change_things_without_the_flag(tmp_path: Path) -> None:
    users = tmp_path / "web.yml"
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    users.write_text(f"basic_auth_users:\n  ada: {hashed}\n")

    with serving(tmp_path, f"--web.config.file={users}") as url:
        assert status(url) == 401
        assert status(url, ("ada", PASSWORD)) == 201
