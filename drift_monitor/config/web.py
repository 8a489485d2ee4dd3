"""The file of `--web.config.file`: TLS, headers and basic authentication, as in the Prometheus family.

The subset of `web.yml` that is supported here; other keys are mistakes. Paths are relative to the file. Password hashes
are secrets: they never show in a message or a repr.
"""

import os
import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, SecretStr

from drift_monitor.config.document import parse_document, read_text
from drift_monitor.config.fields import FileName, Secret, Section, mistake
from drift_monitor.config.report import Report

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
PasswordHash = Annotated[Secret, AfterValidator(_bcrypt)]


class TlsConfig(Section):
    """Key `tls_server_config`; the files existed when they were checked."""

    placeholders: ClassVar = {"cert_file": "placeholder", "key_file": "placeholder"}

    cert_file: FileName = Field(description="the server's certificate chain, PEM")
    key_file: FileName = Field(description="its private key, PEM")
    client_ca_file: FileName | None = None
    client_auth_type: ClientAuth = ClientAuth.NONE
    min_version: TlsVersion = TlsVersion.TLS12

    def files(self) -> dict[str, Path]:
        """The files by their keys."""
        files = {"cert_file": self.cert_file, "key_file": self.key_file, "client_ca_file": self.client_ca_file}
        return {key: file for key, file in files.items() if file is not None}


class HttpConfig(Section):
    """Key `http_server_config`."""

    headers: dict[HeaderName, HeaderValue] = Field(default_factory=dict)


class WebConfig(Section):
    """How the HTTP listener is protected: the whole file. `users` maps a name to its bcrypt hash."""

    tls: TlsConfig | None = Field(default=None, alias="tls_server_config")
    http_server_config: HttpConfig = HttpConfig()
    users: dict[UserName, PasswordHash] = Field(default_factory=dict, alias="basic_auth_users")

    @property
    def headers(self) -> Mapping[str, str]:
        return self.http_server_config.headers

    @property
    def authenticates(self) -> bool:
        """Whether a client must prove who it is."""
        verifies = self.tls is not None and self.tls.client_auth_type is ClientAuth.REQUIRE_AND_VERIFY
        return bool(self.users) or verifies


def load_web(path: Path | str, environ: Mapping[str, str] | None = None) -> WebConfig:
    """The web configuration of a file; raises ConfigError with every mistake. An empty mapping protects nothing."""
    path = Path(path)
    document = parse_document(read_text(path), str(path), os.environ if environ is None else environ)
    report = Report(document=document, model=WebConfig)
    report.read()
    written = report.at(("tls_server_config",))
    draft = report.draft(TlsConfig, ("tls_server_config",)) if written is not None else None
    if draft is not None:
        # Clients are verified against a file or not at all, and every file can be read.
        tls = draft.section
        verifies = tls.client_auth_type is not ClientAuth.NONE
        if draft.intact("client_auth_type", "client_ca_file") and verifies != (tls.client_ca_file is not None):
            key = "client_auth_type" if verifies else "client_ca_file"
            hint = "add client_ca_file" if verifies else f"add client_auth_type: {ClientAuth.REQUIRE_AND_VERIFY.value}"
            other = "client_ca_file" if verifies else "client_auth_type"
            report.add((*draft.path, key), f"needs {other} as well", hint, at_key=True)
        for key, name in tls.files().items():
            if not draft.intact(key):
                continue
            try:
                with (path.parent / name).open("rb"):
                    pass
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or "not a file name"
                report.add((*draft.path, key), f"the file can't be read: {reason}", f"looked for {path.parent / name}")
    config = report.finish()
    if config.tls is None:
        return config
    files = {key: path.parent / file for key, file in config.tls.files().items()}
    return config.model_copy(update={"tls": config.tls.model_copy(update=files)})
