"""Names and addresses of this machine."""

import ipaddress
from urllib.parse import urlsplit

UNIX = "unix:"
"""Begins the place of a Unix socket, and is the address of its clients: only processes of this machine reach it."""


def plain_host(name: str) -> str:
    """A host as sockets take it: IPv6 without brackets, and an IPv4 address that is written as IPv6 as IPv4."""
    bare = name[1:-1] if name.startswith("[") and name.endswith("]") else name
    try:
        mapped = getattr(ipaddress.ip_address(bare), "ipv4_mapped", None)
    except ValueError:
        return bare
    return bare if mapped is None else str(mapped)


def is_loopback(name: str) -> bool:
    """Whether a host name or address means this machine."""
    if name.startswith(UNIX):
        return True
    host = plain_host(name).lower().removesuffix(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_tamper_proof(url: str) -> bool:
    """Whether nobody between this machine and the host of a URL can change what is fetched: https, or this machine."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host)))
