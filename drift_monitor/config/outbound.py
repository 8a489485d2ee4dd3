"""Where connections to receivers may go, where the configuration narrows it: hosts by name, and networks.

    hooks.slack.com     this host                       10.20.0.0/16    whatever leads there
    *.example.org       every host below example.org    192.0.2.7       this address

What is never dialled (see `notify.outbound`) stays so, whatever is written here.
"""

import ipaddress
import re
from typing import Any

from drift_monitor.config.value import Value

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")
_NO_HOST = re.compile(r"[0-9.]+|.*[:/].*", re.DOTALL)  # an address, a network, or a mistake


class OutboundConfig(Value):
    """`allow` None: every host and network."""

    allow: tuple[str, ...] | None = None

    def permits(self, host: str, address: Address) -> bool:
        """Whether this address may be dialled, which the host's name led to."""
        if self.allow is None:
            return True
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return any(_means(one, host, mapped or address) for one in self.allow)

    def could_permit(self, host: str) -> bool:
        """Whether some address that the host's name may lead to could be dialled; names are not resolved here."""
        try:
            return self.permits(host, ipaddress.ip_address(host))
        except ValueError:
            named = any(_NO_HOST.fullmatch(one) or _is_named(one, host) for one in self.allow or ())
            return self.allow is None or named

    def public(self) -> dict[str, Any] | None:
        return None if self.allow is None else {"allow": list(self.allow)}


ANYWHERE = OutboundConfig()


def mistake_in(text: str) -> tuple[str, str] | None:
    """What is wrong with an entry, and a hint; None where it is a host or a network."""
    expected = "must be a host such as hooks.slack.com or *.example.org, or a network such as 10.20.0.0/16"
    if not _NO_HOST.fullmatch(text):
        return None if _HOST.fullmatch(text) else (expected, "")
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return expected, "write it without scheme, port and path" if re.search("[g-zG-Z]", text) else ""
    begins = str(network.network_address)
    if text.partition("/")[0] not in (begins, network.network_address.exploded):
        return "must be a network by its first address", f"did you mean {network}?"
    return None


def _means(entry: str, host: str, address: Address) -> bool:
    if _NO_HOST.fullmatch(entry):
        return address in ipaddress.ip_network(entry, strict=False)
    return _is_named(entry, host)


def _is_named(entry: str, host: str) -> bool:
    entry, host = entry.lower(), host.lower().rstrip(".")
    return host.endswith(entry[1:]) if entry.startswith("*.") else host == entry
