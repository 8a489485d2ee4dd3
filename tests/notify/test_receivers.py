"""The receivers of these tests: what did not come whole was never received."""

import socket
import struct

import httpx
import pytest

from tests.notify.mail_server import mail_server
from tests.notify.receivers import receiver, refusing

HEAD = b"POST /hook HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n"
LETTER = b"EHLO here\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\nSubject: a\r\n\r\nhalf a letter"


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=60)


def reset(connection: socket.socket) -> None:
    """Close as a system does for a process that was killed before it had read everything: RST instead of FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.mark.parametrize("sent", [b"", HEAD, HEAD + b"\r\n", HEAD + b"\r\n" + b"123456789"])
def test_a_request_that_ends_early_is_not_received_and_not_answered(sent: bytes) -> None:
    with receiver() as hook:
        with connected(hook.port) as sender:
            sender.sendall(sent)
            sender.shutdown(socket.SHUT_WR)
            assert sender.recv(100) == b""
        hook.wait_for_the_dead()
        assert hook.received == []


def test_a_request_whose_connection_breaks_is_not_received() -> None:
    with receiver() as hook:
        sender = connected(hook.port)
        sender.sendall(HEAD + b"\r\n")
        reset(sender)
        hook.wait_for_the_dead()
        assert hook.received == []


def test_what_the_dead_have_sent_whole_is_received_before_what_comes_after_the_wait() -> None:
    with receiver() as hook:
        with connected(hook.port) as sender:
            sender.sendall(HEAD + b"\r\n" + b"0123456789")
        hook.wait_for_the_dead()
        assert [one.body for one in hook.received] == [b"0123456789"]
        httpx.post(hook.url, content=b"later", timeout=60)
        assert [one.body for one in hook.received] == [b"0123456789", b"later"]


def test_a_refusing_port_refuses() -> None:
    with refusing() as port, pytest.raises(ConnectionRefusedError):
        connected(port)


def test_half_a_letter_is_not_accepted() -> None:
    with mail_server() as server, connected(server.port) as sender:
        sender.sendall(LETTER)
        answers = sender.makefile("rb")
        assert any(line.startswith(b"354") for line in answers)  # it waits for the rest
        sender.shutdown(socket.SHUT_WR)
        assert answers.read() == b""
        assert server.accepted == []
