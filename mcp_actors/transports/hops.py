"""Behind which proxies the server is, and so where a client is: at the address that the last trusted proxy names."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Network = ipaddress.IPv4Network | ipaddress.IPv6Network
    IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class Hops:
    """The proxies that are believed, as addresses or networks such as `10.0.0.0/8`.

    Each proxy writes whom it got a request from at the end of `X-Forwarded-For`; what stands left of the first that is
    not trusted may be anybody's word. A proxy that writes one address alone may do so in `X-Real-IP`.
    """

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        self._trusted: list[Network] = [ipaddress.ip_network(network) for network in trusted]

    def is_proxy(self, address: str) -> bool:
        """Whether an address is that of a trusted proxy."""
        return bool(self._trusted) and self._trusts(_parsed(address))

    def client(self, peer: str, headers: Mapping[str, str]) -> str:
        """The address of the client of a request that came from `peer`; that one where the headers make no sense."""
        if not self._trusted or not self._trusts(_parsed(peer)):
            return peer
        named = headers.get("X-Forwarded-For") or headers.get("X-Real-IP") or ""
        address: IpAddress | None = None
        for text in reversed(named.split(",")):
            address = _parsed(text.strip())
            if not self._trusts(address):
                break
        return peer if address is None else str(address)

    def _trusts(self, address: IpAddress | None) -> bool:
        return address is not None and any(address in network for network in self._trusted)


def _parsed(text: str) -> IpAddress | None:
    """An address as proxies write it: plain, or with a port; IPv6 in brackets then."""
    if "%" in text:  # what follows is a name of the proxy's own
        return None
    if text.startswith("[") and "]" in text:
        text, _, port = text[1:].partition("]")
    elif text.count(":") == 1:
        text, _, port = text.partition(":")
    else:
        port = ""
    if port and not (port.removeprefix(":").isascii() and port.removeprefix(":").isdigit()):
        return None
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return address if mapped is None else mapped
