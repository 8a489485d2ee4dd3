"""Mail through a smarthost: one message a notification, in one conversation with one deadline.

The name is resolved once, its addresses are checked as those of every receiver, and one of them is dialled. TLS is
verified: on port 465 from the start, elsewhere by STARTTLS, which a server must offer unless `require_tls` is off. The
deadline cuts the connection itself, so a server that drips a byte a second can't hold a worker.

    Message-ID    from the notification's id: the same at every try, so a mail program shows a repeated one once
    References    one name for each alert's episode, the same when it fires and when it resolves: they stay together

Headers are written by `email.message` only, from values without line breaks. The HTML form has no picture, no script,
and nothing that is fetched from anywhere: bars are coloured table cells, which every mail program draws. Each value in
it is escaped.
"""

import asyncio
import logging
import smtplib
import socket
import ssl
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from html import escape
from typing import Any

from drift_monitor.config.outbound import OutboundConfig
from drift_monitor.config.receivers import EmailConfig
from drift_monitor.core.times import clean_text
from drift_monitor.errors import DeliveryError, DeliveryFailure
from drift_monitor.notify import wording
from drift_monitor.notify.outbound import Resolver, addresses_of
from drift_monitor.telemetry.logs import WARN, log
from drift_monitor.words import one_line, percent

_logger = logging.getLogger(__name__)
IMPLICIT_TLS_PORT = 465
MAX_QUOTED_CHARACTERS = 200  # of a reply: a sentence, and no page of it in the log
SOCKET_SLACK_SECONDS = 5.0
_PERMANENT = 500  # replies from here on are final
_BAR_PIXELS = 120
_REFERENCE, _LIVE = "#8fa3bf", "#d9662b"
_COLOURS = {"critical": "#c62828", "warning": "#d9662b", "info": "#1e6fbf"}
_RESOLVED_COLOUR = "#2e7d32"
_FONT = "font-family:-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif"
_CELL = "padding:3px 14px 3px 0;font-size:13px;vertical-align:top"


class EmailSender:
    """Sends notifications as mail to one list of recipients."""

    def __init__(self, config: EmailConfig, outbound: OutboundConfig, resolver: Resolver | None = None) -> None:
        host, _, port = config.smarthost.rpartition(":")
        self._host, self._port = host.strip("[]"), int(port)
        self._shown = f"smtp://{config.smarthost}"
        self._config, self._outbound, self._resolver = config, outbound, resolver
        self._timeout = config.timeout.total_seconds()

    def send(self, notification_id: str, body: Mapping[str, Any], at: datetime) -> None:
        """Send one mail. Blocks up to the deadline; call from a thread without a running event loop."""
        message = compose(notification_id, body, at, sender=self._config.from_, recipients=self._config.to)
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
            addresses = await addresses_of(self._host, self._port, self._shown, self._outbound, self._resolver)
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
        config, implicit_tls = self._config, self._port == IMPLICIT_TLS_PORT
        if implicit_tls:
            connected = ssl.create_default_context().wrap_socket(connected, server_hostname=self._host)
        client = _Client(self._host, connected, self._timeout)
        try:
            client.ehlo_or_helo_if_needed()
            if config.require_tls and not implicit_tls:
                if not client.has_extn("starttls"):
                    message = "the server offers no STARTTLS; use port 465, or require_tls: false on this machine"
                    raise self._error(message, DeliveryFailure.TLS, retryable=True)
                client.starttls(context=ssl.create_default_context())
                client.ehlo()
            if config.auth_username is not None and config.auth_password is not None:
                client.login(config.auth_username, config.auth_password.get_secret_value())
            addresses = [parseaddr(recipient)[1] for recipient in config.to]
            refused = client.sendmail(parseaddr(config.from_)[1], addresses, content)
            # Some recipients were refused and others not: sent, since the others would get a second one.
            for address, (code, _) in refused.items():
                message = f"{self._shown}: the mail was accepted, but not for one recipient."
                log(_logger, WARN, "recipient_refused", message, recipient=address, status_code=code)
            # The mail is accepted: how the server says goodbye changes nothing.
            with suppress(OSError, smtplib.SMTPException):
                client.quit()
        finally:
            client.close()

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
        is_final = code >= _PERMANENT
        text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply
        quoted = " ".join(clean_text(text).split())[:MAX_QUOTED_CHARACTERS]
        reason = DeliveryFailure.CLIENT_ERROR if is_final else DeliveryFailure.SERVER_ERROR
        return self._error(f"answered {code}: {quoted}", reason, retryable=not is_final, status_code=code)

    def _error(
        self, message: str, reason: DeliveryFailure, *, retryable: bool, status_code: int | None = None
    ) -> DeliveryError:
        return DeliveryError(f"{self._shown}: {message}", retryable=retryable, reason=reason, status_code=status_code)


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
        self._lock = threading.Lock()  # the timer's thread must not use a handle that is being closed
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


def compose(
    notification_id: str, body: Mapping[str, Any], at: datetime, *, sender: str, recipients: Sequence[str]
) -> EmailMessage:
    """The mail for a stored notification."""
    domain = parseaddr(sender)[1].rpartition("@")[2]
    message = EmailMessage(policy=SMTP)
    message["Subject"] = wording.subject(body)
    message["From"] = sender
    message["To"] = ", ".join(recipients)
    message["Date"] = format_datetime(at)
    message["Message-ID"] = f"<{notification_id}@{domain}>"
    # Fingerprint and start name the episode: the mail that says it is over has the same.
    message["References"] = " ".join(
        f"<{alert['fingerprint']}.{''.join(filter(str.isdigit, alert['startsAt']))}@{domain}>"
        for alert in body["alerts"]
    )
    message["Auto-Submitted"] = "auto-generated"  # no out-of-office answers
    message.set_content(wording.plain_text(body))
    groups = "".join(_html_group(group) for group in wording.groups(body["alerts"]))
    html = (
        '<!doctype html><html><head><meta charset="utf-8"></head>'
        f'<body style="{_FONT};color:#222;max-width:720px">{groups}</body></html>'
    )
    message.add_alternative(html, subtype="html")
    return message


def _html_group(group: Sequence[Mapping[str, Any]]) -> str:
    first = group[0]
    colour = _COLOURS.get(wording.severity(first), _COLOURS["warning"])
    colour = colour if wording.is_firing(first) else _RESOLVED_COLOUR
    verdict = wording.verdict(first)
    links = " · ".join(f'<a href="{escape(url, quote=True)}">{word}</a>' for word, url in wording.links(first).items())
    facts = "".join(
        f'<tr><td style="{_CELL};color:#666;white-space:nowrap">{escape(name)}</td>'
        f'<td style="{_CELL}">{escape(text)}</td></tr>'
        for name, text in wording.facts(group).items()
    )
    # Mail programs draw the border of a table's cell, and not of much else.
    return (
        '<table cellpadding="0" cellspacing="0" style="margin:0 0 28px;border-collapse:collapse"><tr>'
        f'<td style="border-left:4px solid {colour};padding:2px 0 2px 16px">'
        f'<p style="margin:0;font-size:12px;color:{colour}"><b>{escape(wording.state(first))}</b></p>'
        f'<h2 style="font-size:17px;margin:2px 0 8px">{escape(wording.summary(first))}</h2>'
        + (f'<p style="font-size:14px;margin:0 0 14px">{escape(verdict)}</p>' if verdict else "")
        + _html_bins(wording.bins(group))
        + f'<table cellpadding="0" cellspacing="0" style="border-collapse:collapse">{facts}</table>'
        + (f'<p style="font-size:14px;margin:14px 0 0">{links}</p>' if links else "")
        + "</td></tr></table>"
    )


def _html_bins(bins: Sequence[Mapping[str, Any]]) -> str:
    if not bins:
        return ""
    rows = "".join(
        f'<tr><td style="{_CELL}">{escape(one_line(bin["label"]))}</td>'
        f"{_html_bar(reference, bin['reference_share'], _REFERENCE)}{_html_bar(live, bin['live_share'], _LIVE)}</tr>"
        for bin, reference, live in wording.scaled(bins)
    )
    head = "".join(
        f'<th align="left" style="{_CELL};font-size:12px;color:{colour}">{name}</th>'
        for name, colour in (("", ""), ("reference", _REFERENCE), ("live", _LIVE))
    )
    return f'<table style="border-collapse:collapse;margin:0 0 14px"><tr>{head}</tr>{rows}</table>'


def _html_bar(length: float, share: float, colour: str) -> str:
    """A cell with a bar and its share; the bar is a table of one cell, since mail programs ignore sizes of others."""
    pixels = max(1, round(length * _BAR_PIXELS)) if length > 0 else 0
    bar = f'<td bgcolor="{colour}" width="{pixels}" height="12" style="font-size:1px">&nbsp;</td>' if pixels else ""
    text = f'<td style="font-size:12px;padding-left:6px">{percent(share)}</td>'
    return f'<td style="{_CELL}"><table cellpadding="0" cellspacing="0"><tr>{bar}{text}</tr></table></td>'
