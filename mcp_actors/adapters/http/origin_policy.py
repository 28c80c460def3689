"""The Host and Origin rules: by which names the server may be called, and which web pages may use it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mcp_actors.loopback import is_loopback
from mcp_actors.origins import Origin, allowed_origin, host_matches, host_pattern, sent_origin

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_ORIGIN = 512
"""Characters of the longest origin that is read; a name of a host has 253 at most."""

MAX_SHOWN = 100
"""Characters of a name that a refusal quotes."""


class OriginPolicy:
    """The rules of all endpoints.

    `hosts`: names of the server; `*.example.com` stands for subdomains, `.example.com` for the domain, too, `*` for any
    name. Empty allows any name; but with `loopback`, when the server listens on this machine alone, only names of this
    machine, which prevents DNS rebinding. With `loopback` these names are always allowed.

    `origins`: pages that may use the server, as scheme://host[:port] or scheme://*.domain[:port]; `null` or `file://`
    for pages without a host; `*` for all. A page of the same origin always may, and with both lists empty any page of
    this machine. Clients that send no Origin are no browsers, and always may.
    """

    def __init__(self, hosts: Sequence[str], origins: Sequence[str], *, loopback: bool = False) -> None:
        self._hosts = [host_pattern(host).strip("[]") for host in hosts]
        self._loopback = loopback
        allowed = [allowed_origin(origin) for origin in origins]
        self._opaque = {one for one in allowed if isinstance(one, str)}
        self._origins = [one for one in allowed if isinstance(one, Origin)]
        self._loopback_pages = not hosts and not origins

    def refusal(self, headers: Mapping[str, str]) -> str | None:
        """Return why a request with these headers is refused, or None."""
        host, origin = headers.get("Host", ""), headers.get("Origin")
        problem = self.host_refusal(host)
        if problem is not None:
            return problem
        if origin is not None and not self.origin_allowed(origin, host):
            return f"Pages of {_shown(origin)} may not use this server; add that origin to CORS_ALLOWED_ORIGINS."
        return None

    def host_refusal(self, host: str) -> str | None:
        """Return why a request with this header `Host` is refused, or None."""
        if not host and not self._host_allowed(""):
            return "The request names no host, which this server checks; send the header Host."
        if not self._host_allowed(host_name(host)):
            return f"Host {_shown(host_name(host))} is not allowed here; add that name to ALLOWED_HOSTS."
        return None

    def origin_allowed(self, origin: str, host: str) -> bool:
        """Whether a page of this origin may use the server under the name `host`."""
        page = sent_origin(origin) if len(origin) <= MAX_ORIGIN else None
        if "*" in self._opaque or page is None:
            return "*" in self._opaque or origin.lower() in self._opaque
        if any(one.allows(page) for one in self._origins) or page == sent_origin(f"{page.scheme}://{host}"):
            return True
        return self._loopback_pages and is_loopback(page.host.strip("[]"))

    def _host_allowed(self, name: str) -> bool:
        if self._loopback and (not self._hosts or is_loopback(name)):
            return is_loopback(name)
        return not self._hosts or any(host_matches(name, pattern) for pattern in self._hosts)


def _shown(text: str) -> str:
    return repr(text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}...")


def host_name(host: str) -> str:
    """Return the name in a header `Host`, without its port; empty if there is none."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower().rstrip(".")
    except ValueError:
        return ""
