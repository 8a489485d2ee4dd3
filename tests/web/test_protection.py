"""Users and certificates of a running listener: read anew when their files change, never half."""

import shutil
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bcrypt
import pytest

from drift_monitor.config.web import load_web
from drift_monitor.errors import DriftMonitorError
from drift_monitor.web.protection import Protection
from tests.web import http
from tests.web.serving import Service, serving
from tests.web.test_server import CERTIFICATES, client_context


def users(*names: str) -> str:
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    return "basic_auth_users:\n" + "".join(f"  {name}: {hashed}\n" for name in names)


@contextmanager
def protected(file: Path, address: str = "127.0.0.1:0") -> Iterator[tuple[Service, Protection]]:
    with serving(load_web(file)) as service:
        assert service.server is not None
        yield service, Protection(service.server, file, address, allow_unauthenticated=False)


def status(service: Service, user: str) -> int:
    return http.get(f"{service.url}/metrics", auth=(user, "secret")).status_code


def test_a_revoked_password_stops_at_once_and_a_new_user_is_let_in(tmp_path: Path) -> None:
    file = tmp_path / "web.yml"
    file.write_text(users("ada", "bob"))
    with protected(file) as (service, protection):
        assert (status(service, "ada"), status(service, "bob"), status(service, "eve")) == (200, 200, 401)
        file.write_text(users("ada", "eve"))
        protection.notice()
        assert (status(service, "ada"), status(service, "bob"), status(service, "eve")) == (200, 401, 200)


@pytest.mark.parametrize("mistake", ["basic_auth_users: {ada: plain}", "nonsense: 1", "basic_auth_users: [", "\x00"])
def test_a_file_with_a_mistake_changes_nothing_and_is_told_once(
    tmp_path: Path, mistake: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "web.yml"
    file.write_text(users("ada"))
    with protected(file) as (service, protection):
        file.write_text(mistake)
        protection.notice()
        protection.notice()
        assert status(service, "ada") == 200
        assert status(service, "eve") == 401
        with pytest.raises(DriftMonitorError):
            protection.reload()
        file.unlink()
        protection.notice()
        assert status(service, "ada") == 200
    assert [record.drift_event for record in caplog.records].count("web_config_refused") == 2


def test_an_address_for_everybody_keeps_its_authentication(tmp_path: Path) -> None:
    file = tmp_path / "web.yml"
    file.write_text(users("ada"))
    with protected(file, "0.0.0.0:8765") as (service, protection):
        file.write_text("{}")
        with pytest.raises(DriftMonitorError, match="without authentication"):
            protection.reload()
        assert status(service, "eve") == 401


def tls(folder: Path) -> str:
    return f"tls_server_config: {{cert_file: {folder / 'server.pem'}, key_file: {folder / 'server.key'}}}\n"


def test_a_certificate_is_used_as_soon_as_it_is_written(tmp_path: Path) -> None:
    for name in ("server.pem", "server.key"):
        shutil.copy(CERTIFICATES / name, tmp_path)
    file = tmp_path / "web.yml"
    file.write_text(tls(tmp_path))
    with protected(file) as (service, protection):
        url = f"https://127.0.0.1:{service.port}/-/healthy"
        assert http.get(url, verify=client_context()).status_code == 200
        shutil.copy(CERTIFICATES / "client.pem", tmp_path / "server.pem")
        protection.notice()  # only one of the two is there yet: it can't be used
        assert http.get(url, verify=client_context()).status_code == 200
        shutil.copy(CERTIFICATES / "client.key", tmp_path / "server.key")
        protection.notice()
        served = ssl.get_server_certificate(("127.0.0.1", service.port))
        assert served.split() == _first_certificate(CERTIFICATES / "client.pem").split()


def _first_certificate(file: Path) -> str:
    text = file.read_text()
    end = "-----END CERTIFICATE-----"
    return text[text.index("-----BEGIN CERTIFICATE-----") : text.index(end) + len(end)]


def test_tls_is_neither_added_nor_removed_while_the_listener_runs(tmp_path: Path) -> None:
    file = tmp_path / "web.yml"
    file.write_text(users("ada"))
    with protected(file) as (service, protection):
        file.write_text(users("ada") + tls(CERTIFICATES))
        with pytest.raises(DriftMonitorError, match="restart"):
            protection.reload()
        assert status(service, "ada") == 200


def test_nothing_is_read_while_nothing_changes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "web.yml"
    file.write_text(users("ada"))
    with protected(file) as (_, protection):
        started = time.monotonic()
        while time.monotonic() - started < 0.2:
            protection.notice()
    assert not caplog.records
