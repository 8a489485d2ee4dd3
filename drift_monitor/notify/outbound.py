"""The guard in front of every outgoing connection: which address may be dialled, decided on the address itself.

    URL -> name -> resolved once -> every address must pass -> that one is dialled, with the name as Host and SNI

So a name that answers differently the second time (rebinding) gains nothing. Loopback and private networks pass, since
receivers of a company live there. Refused are link-local addresses, the metadata services of clouds, multicast,
unspecified and reserved addresses, also where they hide inside an IPv6 address (mapped, NAT64, 6to4, Teredo). A
configuration may narrow this (`outbound.allow`) and never widens it.
"""

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import httpx

from drift_monitor.config.outbound import Address, OutboundConfig, without_scope
from drift_monitor.errors import DeliveryError, DeliveryFailure
from drift_monitor.telemetry.logs import origin

Resolver = Callable[[str, int], Awaitable[tuple[str, ...]]]

_DEFAULT_PORTS = {"http": 80, "https": 443}
_METADATA = {
    ipaddress.ip_address("169.254.169.254"): "metadata service of most clouds",
    ipaddress.ip_address("fd00:ec2::254"): "metadata service of AWS",
    ipaddress.ip_address("fd20:ce::254"): "metadata service of Google",
    ipaddress.ip_address("100.100.100.200"): "metadata service of Alibaba",
    ipaddress.ip_address("192.0.0.192"): "metadata service of Oracle",
    ipaddress.ip_address("168.63.129.16"): "platform address of Azure",
}
_THIS_NETWORK = ipaddress.ip_network("0.0.0.0/8")
_COMPATIBLE = ipaddress.ip_network("::/96")
_NAT64 = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))
_TRANSLATED = ipaddress.ip_network("::ffff:0:0:0/96")  # SIIT
_ISATAP = (0x00005EFE, 0x02005EFE)  # the third quarter of an ISATAP address; IPv4 is the fourth


@dataclass(frozen=True, kw_only=True)
class Destination:
    """Where a request goes: the addresses that passed, in the resolver's order, and the name they were asked for."""

    url: httpx.URL
    addresses: tuple[str, ...]
    host: str
    host_header: str

    def dial(self, address: str) -> httpx.URL:
        """The URL with the address in place of the name."""
        return self.url.copy_with(host=address)


def refusal(address: Address) -> str | None:
    """Why this address is never dialled, or None."""
    for part in (without_scope(address), *embedded(address)):
        if part in _METADATA:
            return _METADATA[part]
        if part.is_link_local:
            return "link-local"
        if part.is_multicast:
            return "multicast"
        if part.is_unspecified or (isinstance(part, ipaddress.IPv4Address) and part in _THIS_NETWORK):
            return "unspecified"
        if isinstance(part, ipaddress.IPv4Address) and part.is_reserved:
            return "reserved or broadcast"
    return None


def embedded(address: Address) -> tuple[ipaddress.IPv4Address, ...]:
    """The IPv4 addresses an IPv6 address may lead to."""
    if isinstance(address, ipaddress.IPv4Address):
        return ()
    candidates: list[ipaddress.IPv4Address | None] = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    number = int(address)
    last = ipaddress.IPv4Address(number & 0xFFFFFFFF)
    # ::/96 also holds :: and ::1, which are no IPv4 addresses.
    if (address in _COMPATIBLE and number > 1) or any(address in network for network in (*_NAT64, _TRANSLATED)):
        candidates.append(last)
    if address in _NAT64[1]:
        # RFC 6052: the four bytes begin behind a prefix of 48, 56 or 64 bits, and leave out the ninth byte, which is 0.
        rest = address.packed[:8] + address.packed[9:]
        candidates.extend(ipaddress.IPv4Address(rest[start : start + 4]) for start in (6, 7, 8))
    if (number >> 32) & 0xFFFFFFFF in _ISATAP:
        candidates.append(last)
    return tuple(part for part in candidates if part is not None)


async def resolve(url: str, outbound: OutboundConfig, resolver: Resolver | None = None) -> Destination:
    """Resolve the URL's name once and check every address; DeliveryError if it may not or can't be dialled."""
    shown = origin(url)
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError, TypeError):
        # The cause holds the URL, which may be a secret.
        raise _error(shown, "it is no valid URL", DeliveryFailure.INVALID, retryable=False) from None
    if parsed.scheme not in _DEFAULT_PORTS or not parsed.raw_host:
        message = "only http:// and https:// URLs with a host are sent to"
        raise _error(shown, message, DeliveryFailure.INVALID, retryable=False)
    if parsed.port is not None and not 0 < parsed.port < 65536:
        raise _error(shown, f"{parsed.port} is no port", DeliveryFailure.INVALID, retryable=False)
    host = parsed.raw_host.decode("ascii")
    port = parsed.port or _DEFAULT_PORTS[parsed.scheme]
    addresses = await addresses_of(host, port, shown, outbound, resolver)
    return Destination(url=parsed, addresses=addresses, host=host, host_header=parsed.netloc.decode("ascii"))


async def addresses_of(
    host: str, port: int, shown: str, outbound: OutboundConfig, resolver: Resolver | None = None
) -> tuple[str, ...]:
    """The addresses of a name, resolved once and all checked; `shown` names the receiver in the DeliveryError."""
    is_literal = _is_address(host)
    answers = (host,) if is_literal else await (resolver or _system_resolver)(host, port)
    addresses = tuple(dict.fromkeys(answers))
    if not addresses:
        raise _error(shown, "its name has no address", DeliveryFailure.DNS, retryable=True)
    for text in addresses:
        address = ipaddress.ip_address(text)
        reason = refusal(address)
        if reason is not None:
            # A name may get another address; a literal stays what it is.
            message = f"it leads to {text} ({reason}), which is never dialled"
            raise _error(shown, message, DeliveryFailure.ADDRESS_REFUSED, retryable=not is_literal)
        if not outbound.permits(host, address):
            message = f"it leads to {text}, which outbound.allow does not name"
            raise _error(shown, message, DeliveryFailure.ADDRESS_REFUSED, retryable=True)
    return addresses


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


async def _system_resolver(host: str, port: int) -> tuple[str, ...]:
    """getaddrinfo in a daemon thread: a name server that hangs must hold up neither the deadline nor our exit."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[tuple[str, ...]] = loop.create_future()

    def settle(addresses: tuple[str, ...], failure: Exception | None) -> None:
        if not answer.done():
            answer.set_exception(failure) if failure else answer.set_result(addresses)

    def look_up() -> None:
        addresses: tuple[str, ...] = ()
        failure: Exception | None = None
        try:
            infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            addresses = tuple(str(info[4][0]) for info in infos)
        except (OSError, UnicodeError) as error:
            failure = OSError(str(error))
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, addresses, failure)

    threading.Thread(target=look_up, name="resolve", daemon=True).start()
    try:
        return await answer
    except OSError:
        message = f"the name {host} does not resolve"
        raise DeliveryError(message, retryable=True, reason=DeliveryFailure.DNS) from None


def _error(shown: str, message: str, reason: DeliveryFailure, *, retryable: bool) -> DeliveryError:
    return DeliveryError(f"{shown}: {message}", retryable=retryable, reason=reason)
