"""The guard in front of outgoing connections."""

import asyncio
import ipaddress

import pytest

from drift_monitor.config.outbound import ANYWHERE, OutboundConfig
from drift_monitor.errors import DeliveryError
from drift_monitor.notify.outbound import Destination, refusal, resolve

REFUSED = [
    "169.254.169.254",
    "169.254.0.1",
    "fe80::1",
    "fe80::1%eth0",
    "fd00:ec2::254",
    "100.100.100.200",
    "0.0.0.0",
    "0.1.2.3",
    "::",
    "224.0.0.1",
    "239.255.255.250",
    "ff02::1",
    "255.255.255.255",
    "240.0.0.1",
    "::ffff:169.254.169.254",  # IPv4-mapped
    "::169.254.169.254",  # IPv4-compatible
    "64:ff9b::a9fe:a9fe",  # NAT64 of 169.254.169.254
    "64:ff9b:1::a9fe:a9fe",  # local-use NAT64, address at the end
    "64:ff9b:1:a9fe:a9:fe00::",  # the same as RFC 6052 writes it for a prefix of 48 bits
    "64:ff9b:1:00a9:00fe:a9fe::",  # 56 bits
    "64:ff9b:1:0:a9:fea9:fe00:0",  # 64 bits
    "::ffff:0:169.254.169.254",  # SIIT
    "2002:a9fe:a9fe::1",  # 6to4
    "fd00:ec2::254%eth0",
    "::ffff:169.254.169.254%1",
    "2001:0:a9fe:a9fe::1",  # Teredo server
    "2001:db8::5efe:a9fe:a9fe",  # ISATAP
    "::ffff:224.0.0.1",
    "::ffff:0.0.0.0",
]
PASSED = [
    "127.0.0.1",
    "::1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "fd12:3456::1",
    "93.184.216.34",
    "2606:2800:220:1::1",
    "::ffff:10.0.0.1",
    "64:ff9b::a00:1",
]


@pytest.mark.parametrize("address", REFUSED)
def test_link_local_metadata_multicast_and_unspecified_addresses_are_refused(address: str) -> None:
    assert refusal(ipaddress.ip_address(address)) is not None


@pytest.mark.parametrize("address", PASSED)
def test_loopback_private_and_public_addresses_pass(address: str) -> None:
    assert refusal(ipaddress.ip_address(address)) is None


def resolved(url: str, *addresses: str, outbound: OutboundConfig = ANYWHERE) -> Destination:
    async def answer(host: str, port: int) -> tuple[str, ...]:
        return addresses

    return asyncio.run(resolve(url, outbound, answer))


def test_every_address_of_a_name_must_pass() -> None:
    with pytest.raises(DeliveryError, match=r"169\.254\.169\.254") as caught:
        resolved("http://hooks.example/x", "10.0.0.1", "169.254.169.254")
    assert caught.value.reason == "address_refused"
    assert caught.value.retryable


def test_what_the_configuration_allows_is_dialled_by_name_or_by_address() -> None:
    outbound = OutboundConfig(allow=("*.example", "10.0.0.0/8"))
    assert resolved("https://hooks.example/x", "203.0.113.7", outbound=outbound).addresses == ("203.0.113.7",)
    assert resolved("https://mail.test/x", "10.0.0.1", outbound=outbound).addresses == ("10.0.0.1",)
    assert resolved("https://10.0.0.1/x", outbound=outbound).addresses == ("10.0.0.1",)


def test_what_the_configuration_does_not_allow_is_told_without_the_path_and_tried_again() -> None:
    outbound = OutboundConfig(allow=("hooks.example", "10.0.0.0/8"))
    with pytest.raises(DeliveryError, match=r"203\.0\.113\.7, which outbound\.allow does not name") as caught:
        resolved("https://mail.test/T0CANARY", "10.0.0.1", "203.0.113.7", outbound=outbound)
    assert (caught.value.reason, caught.value.retryable) == ("address_refused", True)
    assert "CANARY" not in str(caught.value)


def test_what_is_never_dialled_stays_so_whatever_the_configuration_allows() -> None:
    outbound = OutboundConfig(allow=("hooks.example", "0.0.0.0/0"))
    with pytest.raises(DeliveryError, match="never dialled"):
        resolved("http://hooks.example/x", "169.254.169.254", outbound=outbound)


def test_literal_address_that_is_refused_is_refused_for_good() -> None:
    with pytest.raises(DeliveryError) as caught:
        resolved("http://[::ffff:169.254.169.254]/latest/meta-data")
    assert not caught.value.retryable


def test_destination_dials_the_checked_address_under_the_name() -> None:
    destination = resolved("https://user:pw@hooks.example:8443/a?b=c", "10.0.0.1", "10.0.0.1", "10.0.0.2")
    assert destination.addresses == ("10.0.0.1", "10.0.0.2")
    assert destination.host == "hooks.example"
    assert destination.host_header == "hooks.example:8443"
    dialled = destination.dial("10.0.0.1")
    assert (dialled.host, dialled.port, dialled.raw_path) == ("10.0.0.1", 8443, b"/a?b=c")


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "gopher://h/x", "ftp://h/x", "//h/x", "http://", "http://h:99999/x", "not a url"]
)
def test_other_schemes_and_broken_urls_are_refused_without_being_shown(url: str) -> None:
    with pytest.raises(DeliveryError) as caught:
        resolved(url, "127.0.0.1")
    assert caught.value.reason == "invalid"
    assert not caught.value.retryable
    assert "passwd" not in str(caught.value)


def test_name_that_does_not_resolve_is_tried_again() -> None:
    with pytest.raises(DeliveryError) as caught:
        asyncio.run(resolve("http://name.invalid/secret-path", ANYWHERE))
    assert (caught.value.reason, caught.value.retryable) == ("dns", True)
    assert "secret-path" not in str(caught.value)
