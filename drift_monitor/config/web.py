"""The file of `--web.config.file`: TLS, headers and basic authentication, as in the Prometheus family.

The subset of `web.yml` that is supported here; other keys are mistakes. Paths are relative to the file. Password hashes
are secrets: they never show in a message or a repr.
"""

import os
import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from drift_monitor.config.document import Path_, parse_document, read_text
from drift_monitor.config.fields import Text, mistake
from drift_monitor.config.report import Draft, Report
from drift_monitor.config.section import Section

_BCRYPT = re.compile(r"\$2[aby]\$(?P<cost>[0-9]{2})\$[./A-Za-z0-9]{53}")
_HEADERS = (
    "Content-Security-Policy",
    "Strict-Transport-Security",
    "X-Content-Type-Options",
    "X-Frame-Options",
    "X-XSS-Protection",
)


class ClientAuth(StrEnum):
    """What is asked of a client's certificate; requests that nobody verifies are not offered."""

    NONE = "NoClientCert"
    VERIFY_IF_GIVEN = "VerifyClientCertIfGiven"
    REQUIRE_AND_VERIFY = "RequireAndVerifyClientCert"


class TlsVersion(StrEnum):
    """The oldest protocol that is spoken."""

    TLS12 = "TLS12"
    TLS13 = "TLS13"


def _bcrypt(value: SecretStr) -> SecretStr:
    match = _BCRYPT.fullmatch(value.get_secret_value())
    if match is None:
        raise mistake("must be a bcrypt hash ($2y$...), never a password", "htpasswd -nBC 10 USER makes one")
    if not 4 <= int(match["cost"]) <= 16:
        raise mistake("has a bcrypt cost that is not from 4 to 16: a check would take seconds")
    return value


def _header(value: str) -> str:
    if value not in _HEADERS:
        raise mistake(f"the header {value!r} can't be set", f"one of {', '.join(_HEADERS)}")
    return value


def _header_value(value: str) -> str:
    if not value.isascii() or not value.isprintable():
        raise mistake("must be printable ASCII text in one line")
    return value


def _user(value: str) -> str:
    if not value or ":" in value or not value.isprintable():
        raise mistake("a user name is printable text without ':'")
    return value


HeaderName = Annotated[str, AfterValidator(_header)]
HeaderValue = Annotated[str, AfterValidator(_header_value)]
UserName = Annotated[str, AfterValidator(_user)]
PasswordHash = Annotated[SecretStr, AfterValidator(_bcrypt)]


class TlsSection(Section):
    """Key `tls_server_config`."""

    placeholders: ClassVar[dict[str, Any]] = {"cert_file": "placeholder", "key_file": "placeholder"}

    cert_file: Text = Field(description="the server's certificate chain, PEM")
    key_file: Text = Field(description="its private key, PEM")
    client_ca_file: Text | None = None
    client_auth_type: ClientAuth = ClientAuth.NONE
    min_version: TlsVersion = TlsVersion.TLS12


class HttpSection(Section):
    """Key `http_server_config`."""

    headers: dict[HeaderName, HeaderValue] = Field(default_factory=dict)


class WebSection(Section):
    """The whole file."""

    tls_server_config: TlsSection | None = None
    http_server_config: HttpSection = HttpSection()
    basic_auth_users: dict[UserName, PasswordHash] = Field(default_factory=dict)


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TlsConfig(_Value):
    """Certificates; the files existed when they were checked."""

    cert_file: Path
    key_file: Path
    client_ca_file: Path | None = None
    client_auth_type: ClientAuth = ClientAuth.NONE
    min_version: TlsVersion = TlsVersion.TLS12


class WebConfig(_Value):
    """How the HTTP listener is protected. `users` maps a name to its bcrypt hash."""

    tls: TlsConfig | None = None
    headers: Mapping[str, str] = {}
    users: Mapping[str, SecretStr] = {}

    @property
    def authenticates(self) -> bool:
        """Whether a client must prove who it is."""
        verifies = self.tls is not None and self.tls.client_auth_type is ClientAuth.REQUIRE_AND_VERIFY
        return bool(self.users) or verifies


def load_web(path: Path | str, environ: Mapping[str, str] | None = None) -> WebConfig:
    """The web configuration of a file; raises ConfigError with every mistake. An empty mapping protects nothing."""
    path = Path(path)
    document = parse_document(read_text(path), str(path), os.environ if environ is None else environ)
    report = Report(document=document)
    report.read(WebSection, document.value, ())
    tls = None
    if isinstance(document.value, Mapping) and "tls_server_config" in document.value:
        draft = report.read(TlsSection, document.value["tls_server_config"], ("tls_server_config",))
        tls = _tls(report, draft, path.parent) if draft is not None else None
    report.finish()
    section = WebSection.model_validate(document.value)
    return WebConfig(tls=tls, headers=section.http_server_config.headers, users=section.basic_auth_users)


def _tls(report: Report, draft: Draft[TlsSection], directory: Path) -> TlsConfig:
    section = draft.section
    verifies = section.client_auth_type is not ClientAuth.NONE
    if draft.intact("client_auth_type", "client_ca_file") and verifies != (section.client_ca_file is not None):
        key = "client_auth_type" if verifies else "client_ca_file"
        hint = "add client_ca_file" if verifies else f"add client_auth_type: {ClientAuth.REQUIRE_AND_VERIFY.value}"
        other = "client_ca_file" if verifies else "client_auth_type"
        report.add((*draft.path, key), f"needs {other} as well", hint, at_key=True)
    for key in ("cert_file", "key_file", "client_ca_file"):
        name = getattr(section, key)
        if name is not None and draft.intact(key):
            _check_readable(report, (*draft.path, key), directory / name)
    return TlsConfig(
        cert_file=directory / section.cert_file,
        key_file=directory / section.key_file,
        client_ca_file=directory / section.client_ca_file if section.client_ca_file is not None else None,
        client_auth_type=section.client_auth_type,
        min_version=section.min_version,
    )


def _check_readable(report: Report, path: Path_, file: Path) -> None:
    try:
        with file.open("rb"):
            return
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a file name"
        report.add(path, f"the file can't be read: {reason}", f"looked for {file}")
