"""Which hosts may be named, and which pages may connect."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tornado.httputil import HTTPHeaders
    from tornado.web import RequestHandler


_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[^\s/?#@\\:\[\]]+)(:\d+)?")


def refuse(handler: RequestHandler, status: int, reason: str) -> None:
    """Answer a request with a reason, as plain text."""
    handler.set_status(status)
    handler.set_header("Content-Type", "text/plain; charset=utf-8")
    handler.set_header("Cache-Control", "no-store")
    handler.finish(reason + "\n")


class AccessPolicy:
    """The Host and Origin rules of all endpoints.

    `hosts`: names the server may be called by; `.example.com` stands for a domain and all below it, `*` for any. Empty:
    any; but with `loopback`, when the server listens on this machine alone, names of this machine: else a page could
    get at it by a name of its own that it lets point here (DNS rebinding).

    `origins`: pages that may connect, as scheme://host[:port], or `*`. A page of the same origin always may, and with
    both lists empty also any page of this machine. Clients that send no Origin, which are no browsers, always may.
    """

    def __init__(self, hosts: Sequence[str], origins: Sequence[str], *, loopback: bool = False) -> None:
        self._hosts = [host.lower().strip("[]").rstrip(".") for host in hosts]
        self._loopback = loopback and not hosts
        self._origins = {origin.lower().rstrip("/") for origin in origins}
        self._loopback_pages = not hosts and not origins

    def refusal(self, headers: HTTPHeaders) -> str | None:
        """Say why a request with these headers is refused, or None if it is not."""
        host, origin = headers.get("Host", ""), headers.get("Origin")
        if not self._host_allowed(_hostname(f"//{host}")):
            return f"Host {_hostname(f'//{host}')!r} is not allowed here; add that name to ALLOWED_HOSTS."
        if origin is not None and not self.origin_allowed(origin, host):
            return f"Pages of {origin!r} may not use this server; add that origin to CORS_ALLOWED_ORIGINS."
        return None

    def origin_allowed(self, origin: str, host: str) -> bool:
        """Whether a page of this origin may use the server it called `host`."""
        origin = origin.lower()
        if not _ORIGIN.fullmatch(origin):
            return "*" in self._origins or origin in self._origins
        if "*" in self._origins or origin in self._origins or _same_host(origin, host.lower()):
            return True
        return self._loopback_pages and is_loopback(_hostname(origin))

    def _host_allowed(self, name: str) -> bool:
        if self._loopback:
            return is_loopback(name)
        return not self._hosts or any(_matches(name, pattern) for pattern in self._hosts)


def is_loopback(name: str) -> bool:
    """Whether a host name means this machine."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _matches(name: str, pattern: str) -> bool:
    if pattern.startswith("."):
        return name == pattern[1:] or name.endswith(pattern)
    return pattern in ("*", name)


def _hostname(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").lower().rstrip(".")
    except ValueError:
        return ""


def _same_host(origin: str, host: str) -> bool:
    """Whether an origin names this host and port; proxies pass on a default port or leave it out."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    default = {"http": ":80", "https": ":443"}.get(parts.scheme, "")
    return bool(parts.netloc) and parts.netloc.removesuffix(default) == host.removesuffix(default)
