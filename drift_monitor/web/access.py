"""Who may connect and under which name: the listen address, allowed hosts, TLS, basic authentication.

Nobody but the machine itself may ask without authentication unless told so explicitly. A browser may be made to send
requests to us under another site's name (DNS rebinding), so the `Host` of a request must be one of ours.
"""

import base64
import binascii
import hashlib
import hmac
import ipaddress
import secrets
import ssl
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from urllib.parse import urlsplit

import bcrypt

from drift_monitor.config.web import ClientAuth, TlsConfig, TlsVersion, WebConfig

_CLIENT_AUTH = {
    ClientAuth.NONE: ssl.CERT_NONE,
    ClientAuth.VERIFY_IF_GIVEN: ssl.CERT_OPTIONAL,
    ClientAuth.REQUIRE_AND_VERIFY: ssl.CERT_REQUIRED,
}
_TLS_VERSIONS = {TlsVersion.TLS12: ssl.TLSVersion.TLSv1_2, TlsVersion.TLS13: ssl.TLSVersion.TLSv1_3}
# bcrypt looks at 72 bytes; longer passwords would be equal to their start.
_MAX_PASSWORD_BYTES = 72
_CACHE_SIZE = 128  # answers of `BasicAuth` that are remembered
# A hash nobody knows the password of, so that an unknown user takes as long as a known one.
_NOBODY = bcrypt.hashpw(secrets.token_bytes(16), bcrypt.gensalt(10))


@dataclass(frozen=True)
class ListenAddress:
    """Where to listen; an empty host is every address of the machine."""

    host: str
    port: int

    @property
    def is_wildcard(self) -> bool:
        address = _ip(self.host)
        return not self.host or (address is not None and address.is_unspecified)

    @property
    def is_loopback(self) -> bool:
        address = _ip(self.host)
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return self.host.lower() == "localhost" if address is None else address.is_loopback


def parse_address(text: str) -> ListenAddress:
    """`host:port`, `[::1]:port` or `:port`; ValueError says what is wrong."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{text!r} is no listen address: write host:port, [::1]:port or :port")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{text!r} is no listen address: an IPv6 address stands in brackets, as [::1]:{port}")
    return ListenAddress(host, int(port))


def bind_problem(address: str, web_config: WebConfig, allow_unauthenticated: bool) -> str | None:
    """Why the service must not listen there, or None."""
    try:
        parsed = parse_address(address)
    except ValueError as error:
        return str(error)
    if parsed.is_loopback or web_config.authenticates or allow_unauthenticated:
        return None
    return (
        f"refusing to listen on {address} without authentication: anybody who reaches it could read the names and "
        "categories of your data. Set basic_auth_users or client certificates in --web.config.file, or listen on "
        "127.0.0.1, or accept it with --web.allow-unauthenticated"
    )


@dataclass(frozen=True)
class AllowedHosts:
    """The names this service answers to. Ports are not compared: they change behind a proxy and prove nothing."""

    names: frozenset[str]
    any_address: bool = False

    def allow(self, host_header: str) -> bool:
        name = _host_of(host_header)
        # An address can't be rebound to another one; a name can.
        return name is not None and (name in self.names or (self.any_address and _ip(name) is not None))


def allowed_hosts(address: ListenAddress, external_urls: Sequence[str]) -> AllowedHosts:
    """The listen address, localhost and the external URLs; with a wildcard every address of the machine."""
    names = {"localhost", "127.0.0.1", "::1", address.host.lower()}
    names |= {(urlsplit(url).hostname or "").lower() for url in external_urls}
    return AllowedHosts(frozenset(names - {""}), address.is_wildcard)


def _host_of(header: str) -> str | None:
    try:
        return (urlsplit(f"//{header}").hostname or "").lower() or None
    except ValueError:
        return None


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def tls_context(tls: TlsConfig) -> ssl.SSLContext:
    """The server's TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _TLS_VERSIONS[tls.min_version]
    context.load_cert_chain(tls.cert_file, tls.key_file)
    if tls.client_ca_file is not None:
        context.load_verify_locations(cafile=tls.client_ca_file)
    context.verify_mode = _CLIENT_AUTH[tls.client_auth_type]
    return context


class BasicAuth:
    """Checks `Authorization: Basic` against bcrypt hashes.

    A check costs about 0.1 s on purpose, so answers are remembered, good and bad, under a keyed digest: the password
    itself is kept nowhere. Blocks; call it in a thread. `recall` answers at once, if it knows.
    """

    def __init__(self, users: Mapping[str, bytes]) -> None:
        self._users = dict(users)
        self._key = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, bool] = OrderedDict()
        self._lock = Lock()

    def recall(self, authorization: str | None) -> bool | None:
        """The answer if it is known without a slow check, else None."""
        if not self._users:
            return True
        if _credentials(authorization) is None:
            return False
        with self._lock:
            return self._known.get(self._digest(authorization or ""))

    def name(self, authorization: str | None) -> str | None:
        """Who the header says it is from; ask `check` first. None where nobody has to say so."""
        credentials = _credentials(authorization)
        return credentials[0] if self._users and credentials is not None else None

    def check(self, authorization: str | None) -> bool:
        """Whether the header names a user and their password."""
        known = self.recall(authorization)
        credentials = _credentials(authorization)
        if known is not None or credentials is None:
            return bool(known)
        user, password = credentials
        matches = len(password) <= _MAX_PASSWORD_BYTES and bcrypt.checkpw(password, self._users.get(user, _NOBODY))
        accepted = matches and user in self._users
        with self._lock:
            self._known[self._digest(authorization or "")] = accepted
            while len(self._known) > _CACHE_SIZE:
                # Refusals go first: a flood of guesses must not push out those who belong here.
                refused = (digest for digest, was_accepted in self._known.items() if not was_accepted)
                self._known.pop(next(refused, next(iter(self._known))))
        return accepted

    def _digest(self, authorization: str) -> bytes:
        return hmac.digest(self._key, authorization.encode("utf-8", "surrogateescape"), hashlib.sha256)


def _credentials(authorization: str | None) -> tuple[str, bytes] | None:
    scheme, _, encoded = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        # bcrypt refuses NUL.
        return (user.decode(), password) if colon and b"\0" not in password else None
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None
