"""A real SMTP server (aiosmtpd) on a local socket: it remembers what it accepted and answers as told."""

import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword

CERTIFICATES = Path(__file__).parents[1] / "certificates"
USER, PASSWORD = "drift", "canary-pa55word"


@dataclass
class MailServer:
    """`data` is the answer to a message, `recipients` those to single addresses."""

    port: int = 0
    data: str = "250 taken"
    recipients: Mapping[str, str] = field(default_factory=dict)
    accepted: list[Envelope] = field(default_factory=list)
    logins: list[LoginPassword] = field(default_factory=list)

    @property
    def messages(self) -> list[EmailMessage]:
        return [message_from_bytes(one.content, policy=default) for one in self.accepted]  # type: ignore[arg-type]

    async def handle_RCPT(self, server: Any, session: Any, envelope: Envelope, address: str, options: Any) -> str:
        answer = self.recipients.get(address, "250 OK")
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:
        if self.data.startswith("250"):
            self.accepted.append(envelope)
        return self.data

    def authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, given: Any) -> AuthResult:
        self.logins.append(given)
        return AuthResult(success=given == LoginPassword(USER.encode(), PASSWORD.encode()), handled=False)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


@contextmanager
def mail_server(*, tls: str = "", login: bool = False, **script: Any) -> Iterator[MailServer]:
    """`tls` is "", "starttls" or "implicit"; with `login` nothing is accepted without one."""
    server = MailServer(**script)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / "server.pem", CERTIFICATES / "server.key")
    controller = Controller(
        server,
        hostname="127.0.0.1",
        port=_free_port(),
        ssl_context=context if tls == "implicit" else None,
        tls_context=context if tls == "starttls" else None,
        require_starttls=tls == "starttls",
        authenticator=server.authenticate if login else None,
        auth_required=login,
        auth_require_tls=tls == "starttls",
    )
    controller.start()
    server.port = controller.port
    try:
        yield server
    finally:
        controller.stop()
