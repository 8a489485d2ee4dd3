"""Mail through a smarthost: one message a notification, in one conversation with one deadline.

The name is resolved once, its addresses are checked as those of every receiver, and one of them is dialled. TLS is
verified: on port 465 from the start, elsewhere by STARTTLS, which a server must offer unless `require_tls` is off. The
deadline cuts the connection itself, so a server that drips a byte a second can't hold a worker.

    Message-ID    from the notification's id: the same at every try, so a mail program shows a repeated one once
    References    one name for each alert's episode, the same when it fires and when it resolves: they stay together

Headers are written by `email.message` only, from values without line breaks.
"""

import asyncio
import logging
import smtplib
import socket
import ssl
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from typing import Any

from drift_monitor.config.outbound import ANYWHERE, OutboundConfig
from drift_monitor.core.clean import clean_text
from drift_monitor.errors import DeliveryError
from drift_monitor.notify import mail_text
from drift_monitor.notify.outbound import Resolver, addresses_of
from drift_monitor.telemetry.logs import WARN, log
from drift_monitor.telemetry.reasons import DeliveryFailure

_logger = logging.getLogger(__name__)
IMPLICIT_TLS_PORT = 465
MAX_QUOTED_CHARACTERS = 200
SOCKET_SLACK_SECONDS = 5.0
_PERMANENT = 500  # replies from here on are final


@dataclass(frozen=True)
class Login:
    """A user of the smarthost."""

    username: str
    password: str = field(repr=False)


class EmailSender:
    """Sends notifications as mail to one list of recipients."""

    def __init__(
        self,
        smarthost: str,
        *,
        sender: str,
        recipients: Sequence[str],
        login: Login | None = None,
        require_tls: bool = True,
        timeout: timedelta = timedelta(seconds=30),
        resolver: Resolver | None = None,
        outbound: OutboundConfig = ANYWHERE,
    ) -> None:
        host, _, port = smarthost.rpartition(":")
        self._host, self._port = host.strip("[]"), int(port)
        self._shown = f"smtp://{smarthost}"
        self._sender, self._recipients = sender, tuple(recipients)
        self._login = login
        self._require_tls = require_tls
        self._timeout = timeout.total_seconds()
        self._resolver = resolver
        self._outbound = outbound

    def send(self, notification_id: str, body: Mapping[str, Any], at: datetime) -> None:
        """Send one mail. Blocks up to the deadline; call from a thread without a running event loop."""
        message = compose(notification_id, body, at, sender=self._sender, recipients=self._recipients)
        deadline = _Deadline(self._timeout)
        try:
            connected = asyncio.run(self._connect())
            with connected:
                deadline.guard(connected)
                self._converse(connected, message.as_bytes(policy=SMTP))
        except (OSError, smtplib.SMTPException, UnicodeError) as error:
            # The cause may quote what was sent, and that is a login at one point.
            raise self._translate(error, timed_out=deadline.has_passed) from None
        finally:
            deadline.close()

    async def _connect(self) -> socket.socket:
        async with asyncio.timeout(self._timeout):
            addresses = await addresses_of(self._host, self._port, self._shown, self._resolver, self._outbound)
            for address in addresses[:-1]:
                # An address that swallows packets must leave time for the next one.
                with suppress(OSError):
                    return await asyncio.wait_for(self._dial(address), self._timeout / len(addresses))
            return await self._dial(addresses[-1])

    async def _dial(self, address: str) -> socket.socket:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        dialled = socket.socket(family, socket.SOCK_STREAM)
        try:
            dialled.settimeout(0)
            await asyncio.get_running_loop().sock_connect(dialled, (address, self._port))
            # Later than the deadline, which is what says that the time is up.
            dialled.settimeout(self._timeout + SOCKET_SLACK_SECONDS)
        except BaseException:
            dialled.close()
            raise
        return dialled

    def _converse(self, connected: socket.socket, content: bytes) -> None:
        if self._port == IMPLICIT_TLS_PORT:
            connected = _tls().wrap_socket(connected, server_hostname=self._host)
        client = _Client(self._host, connected, self._timeout)
        try:
            client.ehlo_or_helo_if_needed()
            if self._require_tls and self._port != IMPLICIT_TLS_PORT:
                self._start_tls(client)
            if self._login is not None:
                client.login(self._login.username, self._login.password)
            addresses = [parseaddr(one)[1] for one in self._recipients]
            refused = client.sendmail(parseaddr(self._sender)[1], addresses, content)
            self._tell_refused(refused)
            # The mail is accepted: how the server says goodbye changes nothing.
            with suppress(OSError, smtplib.SMTPException):
                client.quit()
        finally:
            client.close()

    def _tell_refused(self, refused: Mapping[str, tuple[int, bytes]]) -> None:
        """Some recipients were refused and others not: sent, since the others would get a second one."""
        for address, (code, _) in refused.items():
            message = f"{self._shown}: the mail was accepted, but not for one recipient."
            log(_logger, WARN, "recipient_refused", message, recipient=address, status_code=code)

    def _start_tls(self, client: smtplib.SMTP) -> None:
        if not client.has_extn("starttls"):
            message = "the server offers no STARTTLS; use port 465, or require_tls: false on this machine"
            raise self._error(message, DeliveryFailure.TLS, retryable=True)
        client.starttls(context=_tls())
        client.ehlo()

    def _translate(self, error: OSError | smtplib.SMTPException | UnicodeError, *, timed_out: bool) -> DeliveryError:
        match error:
            case _ if timed_out or isinstance(error, TimeoutError):
                message = f"the mail was not accepted within {self._timeout:g} s"
                return self._error(message, DeliveryFailure.TIMEOUT, retryable=True)
            case ssl.SSLError():
                return self._error(f"TLS failed: {error.reason or 'no TLS'}", DeliveryFailure.TLS, retryable=True)
            case UnicodeError():
                return self._error("the login is not ASCII", DeliveryFailure.INVALID, retryable=False)
            case smtplib.SMTPAuthenticationError(smtp_code=code):
                message = f"refused the login with {code}"
                return self._error(message, DeliveryFailure.AUTH_ERROR, retryable=code < _PERMANENT, status_code=code)
            case smtplib.SMTPNotSupportedError():
                message = "the server offers no login that is known here"
                return self._error(message, DeliveryFailure.AUTH_ERROR, retryable=False)
            case smtplib.SMTPRecipientsRefused(recipients=refused):
                # Only where it refused all of them; if some would be taken later, it is tried again.
                code, reply = min(refused.values())
                return self._refused(code, reply)
            case smtplib.SMTPResponseException(smtp_code=code, smtp_error=reply):
                return self._refused(code, reply)
            case _:
                name = type(error).__name__
                return self._error(f"the connection failed ({name})", DeliveryFailure.NETWORK, retryable=True)

    def _refused(self, code: int, reply: bytes | str) -> DeliveryError:
        final = code >= _PERMANENT
        text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply
        said = " ".join(clean_text(text).split())[:MAX_QUOTED_CHARACTERS]
        reason = DeliveryFailure.CLIENT_ERROR if final else DeliveryFailure.SERVER_ERROR
        return self._error(f"answered {code}: {said}", reason, retryable=not final, status_code=code)

    def _error(
        self, message: str, reason: DeliveryFailure, *, retryable: bool, status_code: int | None = None
    ) -> DeliveryError:
        return DeliveryError(f"{self._shown}: {message}", retryable=retryable, reason=reason, status_code=status_code)


def compose(
    notification_id: str, body: Mapping[str, Any], at: datetime, *, sender: str, recipients: Sequence[str]
) -> EmailMessage:
    """The mail for a stored notification."""
    domain = parseaddr(sender)[1].rpartition("@")[2]
    message = EmailMessage(policy=SMTP)
    message["Subject"] = mail_text.subject(body)
    message["From"] = sender
    message["To"] = ", ".join(recipients)
    message["Date"] = format_datetime(at)
    message["Message-ID"] = f"<{notification_id}@{domain}>"
    message["References"] = " ".join(_episode(alert, domain) for alert in body["alerts"])
    message["Auto-Submitted"] = "auto-generated"  # no out-of-office answers
    message.set_content(mail_text.plain_text(body))
    message.add_alternative(mail_text.html(body), subtype="html")
    return message


def _episode(alert: Mapping[str, Any], domain: str) -> str:
    """The same for the mail that says it fires and the one that says it is over."""
    began = "".join(one for one in alert["startsAt"] if one.isdigit())
    return f"<{alert['fingerprint']}.{began}@{domain}>"


class _Client(smtplib.SMTP):
    """An SMTP client on a connection that was made before."""

    def __init__(self, host: str, connected: socket.socket, timeout: float) -> None:
        self._connected = connected
        address = connected.getsockname()[0]
        # Our address, since the default would ask the name server for our name.
        name = f"[IPv6:{address}]" if ":" in address else f"[{address}]"
        super().__init__(host, local_hostname=name, timeout=timeout)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        return self._connected


class _Deadline:
    """Cuts a connection when the time is up, whatever it is doing, also under TLS."""

    def __init__(self, seconds: float) -> None:
        self.has_passed = False
        self._lock = threading.Lock()
        self._handle: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True
        self._timer.start()

    def guard(self, connected: socket.socket) -> None:
        with self._lock:
            # A handle of its own: TLS takes the socket over.
            self._handle = connected.dup()
        if self.has_passed:
            self._cut()

    def close(self) -> None:
        self._timer.cancel()
        with self._lock:
            if self._handle is not None:
                self._handle.close()
                self._handle = None

    def _cut(self) -> None:
        with self._lock:
            self.has_passed = True
            if self._handle is not None:
                with suppress(OSError):
                    self._handle.shutdown(socket.SHUT_RDWR)


def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()
