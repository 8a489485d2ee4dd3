"""A real SMTP server (aiosmtpd) on a local socket: it remembers what it accepted and answers as told."""

import asyncio
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword

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


@contextmanager
def _serving(make: Callable[[asyncio.AbstractEventLoop], SMTP], tls: ssl.SSLContext | None) -> Iterator[int]:
    """A loop in a thread of its own, on a port that the system chose; the package's controller has short deadlines."""
    loop = asyncio.new_event_loop()
    listening = loop.run_until_complete(loop.create_server(lambda: make(loop), "127.0.0.1", 0, ssl=tls))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        listening.close()
        loop.run_until_complete(_leave_nobody())
        loop.close()


async def _leave_nobody() -> None:
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


@contextmanager
def mail_server(*, tls: str = "", login: bool = False, **script: Any) -> Iterator[MailServer]:
    """`tls` is "", "starttls" or "implicit"; with `login` nothing is accepted without one."""
    server = MailServer(**script)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / "server.pem", CERTIFICATES / "server.key")

    def make(loop: asyncio.AbstractEventLoop) -> SMTP:
        return SMTP(
            server,
            hostname="mail.example",
            loop=loop,
            enable_SMTPUTF8=True,
            tls_context=context if tls == "starttls" else None,
            require_starttls=tls == "starttls",
            authenticator=server.authenticate if login else None,
            auth_required=login,
            auth_require_tls=tls == "starttls",
        )

    with _serving(make, context if tls == "implicit" else None) as server.port:
        yield server
