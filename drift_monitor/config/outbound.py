"""Where connections to receivers may go, where the configuration narrows it: hosts by name, and networks.

    hooks.slack.com     this host                       10.20.0.0/16    whatever leads there
    *.example.org       every host below example.org    192.0.2.7       this address

What is never dialled (see `notify.outbound`) stays so, whatever is written here.
"""

import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator, Field

from drift_monitor.config.fields import Section, mistake

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")
_NO_HOST = re.compile(r"[0-9.]+|.*[:/].*", re.DOTALL)  # an address, a network, or a mistake


def _destination(value: str) -> str:
    expected = "must be a host such as hooks.slack.com or *.example.org, or a network such as 10.20.0.0/16"
    if not _NO_HOST.fullmatch(value):
        if not _HOST.fullmatch(value):
            raise mistake(expected)
        return value
    try:
        network = ipaddress.ip_network(value, strict=False)
    except ValueError:
        hint = "write it without scheme, port and path" if re.search("[g-zG-Z]", value) else ""
        raise mistake(expected, hint) from None
    # 10.20.3.4/16 would silently mean more than the address it seems to name.
    if value.partition("/")[0] not in (str(network.network_address), network.network_address.exploded):
        raise mistake("must be a network by its first address", f"did you mean {network}?")
    return value


class OutboundConfig(Section):
    """`allow` None: every host and network."""

    allow: tuple[Annotated[str, AfterValidator(_destination)], ...] | None = Field(
        default=None, min_length=1, max_length=1000
    )

    def permits(self, host: str, address: Address) -> bool:
        """Whether this address may be dialled, which the host's name led to."""
        if self.allow is None:
            return True
        address = without_scope(address)
        # A network of IPv4 also means its addresses where they come in the clothes of IPv6.
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return any(
            (mapped or address) in ipaddress.ip_network(entry, strict=False)
            if _NO_HOST.fullmatch(entry)
            else _is_named(entry, host)
            for entry in self.allow
        )

    def could_permit(self, host: str) -> bool:
        """Whether some address that the host's name may lead to could be dialled; names are not resolved here."""
        try:
            return self.permits(host, ipaddress.ip_address(host))
        except ValueError:
            # Any network may be where the name leads.
            named = any(_NO_HOST.fullmatch(entry) or _is_named(entry, host) for entry in self.allow or ())
            return self.allow is None or named


ANYWHERE = OutboundConfig()


def without_scope(address: Address) -> Address:
    """The address without `%eth0`, with which it would equal no other and lie in no network."""
    return ipaddress.ip_address(str(address).partition("%")[0])


def _is_named(entry: str, host: str) -> bool:
    entry, host = entry.lower(), host.lower().rstrip(".")
    return host.endswith(entry[1:]) if entry.startswith("*.") else host == entry
