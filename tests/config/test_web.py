"""The web configuration: TLS, headers, users."""

from pathlib import Path

import pytest

from drift_monitor.config.web import ClientAuth, TlsVersion, load_web
from drift_monitor.errors import ConfigError

HASH = "$2y$10$" + "a" * 53


def web(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "web.yml"
    path.write_text(text)
    for name in ("server.crt", "server.key", "ca.crt"):
        (tmp_path / name).touch()
    return path


def messages(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_web(path, environ={})
    return [str(problem) for problem in caught.value.problems]


def test_a_whole_file_becomes_values_with_paths_beside_it(tmp_path: Path) -> None:
    config = load_web(
        web(
            tmp_path,
            "tls_server_config:\n"
            "  cert_file: server.crt\n"
            "  key_file: server.key\n"
            "  client_ca_file: ca.crt\n"
            "  client_auth_type: RequireAndVerifyClientCert\n"
            "  min_version: TLS13\n"
            "http_server_config:\n"
            "  headers: {X-Frame-Options: deny}\n"
            f"basic_auth_users:\n  alice: {HASH}\n",
        ),
        environ={},
    )
    assert config.tls is not None
    assert config.tls.cert_file == tmp_path / "server.crt"
    assert config.tls.client_ca_file == tmp_path / "ca.crt"
    assert config.tls.client_auth_type is ClientAuth.REQUIRE_AND_VERIFY
    assert config.tls.min_version is TlsVersion.TLS13
    assert config.headers == {"X-Frame-Options": "deny"}
    assert config.users["alice"].get_secret_value() == HASH
    assert HASH not in repr(config)
    assert config.authenticates


def test_an_empty_mapping_protects_nothing(tmp_path: Path) -> None:
    config = load_web(web(tmp_path, "{}"), environ={})
    assert (config.tls, config.headers, config.users, config.authenticates) == (None, {}, {}, False)


def test_a_certificate_that_is_only_asked_for_does_not_authenticate(tmp_path: Path) -> None:
    text = (
        "tls_server_config: {cert_file: server.crt, key_file: server.key, client_ca_file: ca.crt, client_auth_type: %s}"
    )
    assert not load_web(web(tmp_path, text % "VerifyClientCertIfGiven"), environ={}).authenticates


def test_every_mistake_is_told_at_once_in_the_text_beside_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(__file__).parent / "bad_web"
    monkeypatch.chdir(folder)
    assert "\n".join(messages(Path("web.yml"))) + "\n" == (folder / "web.txt").read_text()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("client_auth_type: RequireAndVerifyClientCert", "needs client_ca_file as well"),
        ("client_ca_file: ca.crt", "needs client_auth_type as well"),
    ],
)
def test_clients_are_verified_against_a_file_or_not_at_all(tmp_path: Path, keys: str, message: str) -> None:
    path = web(tmp_path, f"tls_server_config: {{cert_file: server.crt, key_file: server.key, {keys}}}")
    (said,) = messages(path)
    assert message in said


def test_a_hash_that_takes_seconds_to_check_is_refused(tmp_path: Path) -> None:
    (said,) = messages(web(tmp_path, f"basic_auth_users: {{alice: {HASH.replace('10', '31')}}}"))
    assert "bcrypt cost" in said
