"""Trusted proxies, and the addresses of clients behind them."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from mcp_actors.loopback import UNIX

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    Network = ipaddress.IPv4Network | ipaddress.IPv6Network
    IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class TrustedProxies:
    """The trusted proxies, as addresses or networks such as `10.0.0.0/8`, or `unix:` for those at a Unix socket.

    Each proxy appends the address of its client to one `header`, or replaces the header by it: `x-forwarded-for`,
    `x-real-ip` or `forwarded` (RFC 7239). From the right, the first address that is no trusted proxy is the client;
    anything left of it may be forged, as may all other headers.
    """

    def __init__(self, trusted: Collection[str] = (), header: str = "x-forwarded-for") -> None:
        self._trusts_unix = UNIX in trusted
        self._trusted: list[Network] = [ipaddress.ip_network(network) for network in trusted if network != UNIX]
        self._header, self._addresses = _HEADERS[header]

    def is_proxy(self, address: str) -> bool:
        """Whether an address is that of a trusted proxy."""
        if address == UNIX:
            return self._trusts_unix
        return bool(self._trusted) and self._trusts(_parsed(address))

    def client(self, peer: str, headers: Mapping[str, str]) -> str:
        """Return the address of the client of a request that came from `peer`; `peer` if the headers make no sense."""
        if not self.is_proxy(peer):
            return peer
        address: IpAddress | None = None
        for text in self._addresses(headers.get(self._header, "")):
            address = _parsed(text.strip())
            if not self._trusts(address):
                break
        return peer if address is None else str(address)

    def _trusts(self, address: IpAddress | None) -> bool:
        return address is not None and any(address in network for network in self._trusted)


def _of_list(text: str) -> Iterator[str]:
    """The addresses of `X-Forwarded-For` from the right."""
    return reversed(text.split(","))


def _of_forwarded(text: str) -> Iterator[str]:
    """The `for` of the elements of `Forwarded` from the right, so that a quote of the client hides nothing."""
    quoted, end = False, len(text)
    for index in range(len(text) - 1, -1, -1):
        if text[index] == '"':
            quoted = not quoted
        elif text[index] == "," and not quoted:
            yield _for(text[index + 1 : end])
            end = index
    yield _for(text[:end])


def _for(element: str) -> str:
    for pair in element.split(";"):
        name, _, value = pair.strip().partition("=")
        if name.lower() == "for":
            return value.strip('"')
    return ""


_HEADERS: dict[str, tuple[str, Callable[[str], Iterable[str]]]] = {
    "x-forwarded-for": ("X-Forwarded-For", _of_list),
    "x-real-ip": ("X-Real-IP", lambda text: (text,)),
    "forwarded": ("Forwarded", _of_forwarded),
}


def _parsed(text: str) -> IpAddress | None:
    """Parse an address as proxies write it: plain, or with a port; IPv6 is in brackets then."""
    if "%" in text:  # the zone names an interface of the proxy
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
