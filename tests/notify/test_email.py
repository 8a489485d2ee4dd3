"""Mail through a real SMTP server on a local socket."""

import logging
import re
import time
from collections.abc import Mapping
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drift_monitor.config.outbound import ANYWHERE
from drift_monitor.errors import DeliveryError
from drift_monitor.notify.email import EmailSender, compose
from drift_monitor.notify.message import AlertStatus, BinShare
from drift_monitor.notify.outbound import Resolver
from tests.examples import examples
from tests.notify.mail_server import CERTIFICATES, PASSWORD, USER, MailServer, mail_server
from tests.notify.receivers import raw_server, refusing
from tests.notify.samples import ID, NOON, an_alert, configured, hostile, stored

SENDER = "Drift <drift@example.org>"
RECIPIENTS = ("team@example.org", "Second <second@example.org>")
PLAIN: dict[str, Any] = {"from": SENDER, "to": RECIPIENTS, "require_tls": False}
LOGIN = {"auth_username": USER, "auth_password": PASSWORD}


async def local(host: str, port: int) -> tuple[str, ...]:
    return ("127.0.0.1",)


def a_sender(smarthost: str, resolver: Resolver | None = None, **keys: Any) -> EmailSender:
    return EmailSender(configured("email", smarthost=smarthost, **{**PLAIN, **keys}), ANYWHERE, resolver)


def plain_sender(server: MailServer, **keys: Any) -> EmailSender:
    return a_sender(f"127.0.0.1:{server.port}", **keys)


def failure_of(sender: EmailSender) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        sender.send(ID, stored(), NOON)
    return caught.value


def test_mail_arrives_with_its_headers_and_in_both_forms() -> None:
    with mail_server() as server:
        plain_sender(server).send(ID, stored(), NOON)
    (envelope,), (mail,) = server.accepted, server.messages
    assert (envelope.mail_from, envelope.rcpt_tos) == ("drift@example.org", ["team@example.org", "second@example.org"])
    assert mail["Subject"] == "[FIRING:1] income of credit_inputs drifted: psi 0.31 above 0.25"
    assert (mail["From"], mail["To"]) == (SENDER, ", ".join(RECIPIENTS))
    assert mail["Message-ID"] == f"<{ID}@example.org>"
    assert mail["Date"] == "Fri, 20 Nov 2026 12:00:00 +0000"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]


def test_text_says_what_how_much_since_when_and_which_bins() -> None:
    mail = compose(ID, stored(), NOON, sender=SENDER, recipients=RECIPIENTS)
    text = mail.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    assert "Firing (critical): income of credit_inputs drifted: psi 0.31 above 0.25" in text
    assert "Measured   PSI 0.31\nThreshold  0.25\nSince      2026-11-20 12:00 UTC\nSeverity   critical\n" in text
    assert "  [40, +inf)\n" in text
    assert re.search(r"live +█{15}▎ +38 %", text)
    assert "Page: http://127.0.0.1:8765/monitors/credit_inputs" in text


def test_bins_are_bars_of_one_scale_in_a_table() -> None:
    mail = compose(ID, stored(), NOON, sender=SENDER, recipients=RECIPIENTS)
    html = mail.get_body(("html",)).get_content()  # type: ignore[union-attr]
    # 0.5 is the most and 120 pixels long: 0.12 is 29, 0.38 is 91, 0.05 is 12, 0.25 is 60; 0 has no bar.
    assert re.findall(r'width="(\d+)"', html) == ["29", "91", "12", "120", "60"]
    assert re.findall(r">(\d+ %)<", html) == ["12 %", "38 %", "0 %", "5 %", "50 %", "25 %"]
    assert "<img" not in html


def test_mails_of_one_episode_stay_together() -> None:
    firing, resolved = (
        compose(ID, stored(an_alert(status=status)), NOON, sender=SENDER, recipients=RECIPIENTS)
        for status in AlertStatus
    )
    assert firing["References"] == resolved["References"]
    other = compose(ID, stored(an_alert("age")), NOON, sender=SENDER, recipients=RECIPIENTS)
    assert other["References"] != firing["References"]
    assert "[RESOLVED:1]" in resolved["Subject"]
    text = resolved.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    assert "Lasted     2026-11-20 12:00 to 2026-11-20 15:00 UTC (3 h)" in text


def test_hostile_name_adds_no_header_no_recipient_and_no_markup() -> None:
    with mail_server() as server:
        plain_sender(server).send(ID, hostile(), NOON)
    (envelope,), (mail,) = server.accepted, server.messages
    assert envelope.rcpt_tos == ["team@example.org", "second@example.org"]
    assert mail["Bcc"] is None
    assert "Bcc: all@example.org" in mail["Subject"]  # as a part of the subject, where it harms nobody
    html = mail.get_body(("html",)).get_content()  # type: ignore[union-attr]
    assert "<script" not in html


class Tags(HTMLParser):
    """The names of all tags, and whether each was closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.add(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@examples(50)
@given(st.text(), st.text())
def test_any_text_makes_a_mail_of_the_same_headers_and_tags(name: str, text: str) -> None:
    moved = (BinShare(label=name, reference_share=0.1, live_share=0.9, contribution=1.0),)
    body = stored(an_alert(name or "x", bins=moved, summary=text, description=text))
    mail = compose(ID, body, NOON, sender=SENDER, recipients=RECIPIENTS)
    content = mail.as_bytes()
    head = content.partition(b"\r\n\r\n")[0].decode("ascii")
    names = re.findall(r"^([A-Za-z-]+): ", head, re.MULTILINE)
    assert names == [
        "Subject", "From", "To", "Date", "Message-ID", "References", "Auto-Submitted", "MIME-Version", "Content-Type"
    ]  # fmt: skip
    tags = Tags(mail.get_body(("html",)).get_content())  # type: ignore[union-attr]
    assert tags.seen <= {"html", "head", "meta", "body", "h2", "p", "table", "tr", "th", "td", "a", "b"}
    assert tags.open == []


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_login_crosses_the_network_under_verified_tls(tls: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATES / "ca.pem"))
    with mail_server(tls=tls, login=True) as server:
        if tls == "implicit":
            monkeypatch.setattr("drift_monitor.notify.email.IMPLICIT_TLS_PORT", server.port)
        keys = {"require_tls": True, **LOGIN}
        a_sender(f"hooks.example:{server.port}", local, **keys).send(ID, stored(), NOON)
        failure = failure_of(a_sender(f"other.example:{server.port}", local, **keys))
    assert len(server.accepted) == len(server.logins) == 1
    assert (failure.retryable, failure.reason) == (True, "tls")


def test_server_without_starttls_gets_neither_login_nor_mail() -> None:
    with mail_server() as server:
        failure = failure_of(plain_sender(server, require_tls=True, **LOGIN))
    assert (failure.retryable, failure.reason) == (True, "tls")
    assert (server.accepted, server.logins) == ([], [])


def test_refused_login_is_final_and_shows_no_password(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), mail_server(login=True) as server:
        sender = plain_sender(server, auth_username=USER, auth_password="canary-wrong")
        failure = failure_of(sender)
    assert (failure.retryable, failure.reason, failure.status_code) == (False, "auth_error", 535)
    shown = str(failure) + repr(failure.__cause__) + repr(vars(sender))
    ours = "".join(record.getMessage() for record in caplog.records if record.name.startswith("drift_monitor"))
    assert "canary" not in shown + ours


@pytest.mark.parametrize(
    ("answer", "retryable", "reason"),
    [
        ("451 try later", True, "server_error"),
        ("452 mailbox full", True, "server_error"),
        ("550 no such user", False, "client_error"),
        ("554 rejected", False, "client_error"),
    ],
)
def test_replies_of_the_fourth_hundred_are_tried_again_and_others_are_final(
    answer: str, retryable: bool, reason: str
) -> None:
    with mail_server(data=answer) as server:
        failure = failure_of(plain_sender(server))
    assert (failure.retryable, failure.reason, failure.status_code) == (retryable, reason, int(answer[:3]))
    assert answer[4:] in str(failure)


@pytest.mark.parametrize(
    ("recipients", "accepted"),
    [
        ({"team@example.org": "550 unknown"}, True),
        ({"team@example.org": "550 unknown", "second@example.org": "550 unknown"}, False),
    ],
)
def test_mail_counts_as_sent_if_one_recipient_takes_it(recipients: Mapping[str, str], accepted: bool) -> None:
    with mail_server(recipients=recipients) as server:
        if accepted:
            plain_sender(server).send(ID, stored(), NOON)
        else:
            assert not failure_of(plain_sender(server)).retryable
    assert len(server.accepted) == accepted


def test_recipients_of_whom_one_may_be_served_later_are_tried_again() -> None:
    answers = {"team@example.org": "550 unknown", "second@example.org": "450 greylisted"}
    with mail_server(recipients=answers) as server:
        assert failure_of(plain_sender(server)).retryable


@pytest.mark.parametrize(("first", "drip"), [(b"", b""), (b"220-", b"x"), (b"220 hello\r\n", b"")])
def test_deadline_is_total_and_not_per_byte(first: bytes, drip: bytes) -> None:
    with raw_server(first, drip, pause=0.02, greets=True) as port:
        started = time.monotonic()
        sender = a_sender(f"127.0.0.1:{port}", timeout=timedelta(seconds=0.4))
        failure = failure_of(sender)
        took = time.monotonic() - started
    assert (failure.retryable, failure.reason) == (True, "timeout")
    assert 0.3 < took < 60


def test_deadline_holds_under_tls_too() -> None:
    with raw_server(b"", b"x", pause=0.02, greets=True) as port, pytest.MonkeyPatch.context() as patch:
        patch.setattr("drift_monitor.notify.email.IMPLICIT_TLS_PORT", port)
        failure = failure_of(a_sender(f"127.0.0.1:{port}", timeout=timedelta(seconds=0.4)))
    assert failure.reason in ("timeout", "tls")


def test_refused_connection_may_work_later() -> None:
    with refusing() as port:
        failure = failure_of(a_sender(f"127.0.0.1:{port}"))
    assert (failure.retryable, failure.reason) == (True, "network")


def test_metadata_address_is_never_dialled() -> None:
    async def metadata(host: str, port: int) -> tuple[str, ...]:
        return ("169.254.169.254",)

    failure = failure_of(a_sender("mail.example:25", metadata))
    assert failure.reason == "address_refused"
    assert "smtp://mail.example:25" in str(failure)
