"""Whether the server can be reached at all: its name, its port, TLS and HTTP."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from mcp_actors.probe.report import Check, failed, ok, skipped

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TIMEOUT = 10.0
"""Seconds for each step."""

DAYS_OF_WARNING, DAY = 14, 86_400
MAX_HEAD = 65_536
GATEWAY_ERRORS = frozenset({502, 503, 504})


class Place(NamedTuple):
    """Where an endpoint is."""

    host: str
    port: int
    is_secure: bool
    target: str
    """Path and query of a request."""

    @classmethod
    def of(cls, endpoint: str) -> Place:
        """Read the ws: or wss: URL of an endpoint. Raises ValueError."""
        parts = urlsplit(endpoint)
        is_secure = parts.scheme == "wss"
        if parts.scheme not in ("ws", "wss") or not parts.hostname:
            raise ValueError(f"{endpoint!r} is no URL of a server. Example: https://signaling.example.com")
        query = f"?{parts.query}" if parts.query else ""
        return cls(parts.hostname, parts.port or (443 if is_secure else 80), is_secure, parts.path + query)


async def check_reach(place: Place) -> AsyncIterator[Check]:
    """Check one step after the other, until one fails."""
    began = time.monotonic()
    try:
        async with asyncio.timeout(TIMEOUT):
            _, writer = await asyncio.open_connection(place.host, place.port)
    except (OSError, TimeoutError) as error:
        yield failed("address", f"{place.host}:{place.port}: {_why(error)}", _address_advice(error))
        return
    writer.close()
    yield ok("address", f"{place.host}:{place.port} accepts connections", _since(began))
    check = await _check_tls(place) if place.is_secure else skipped("TLS", *NO_TLS)
    yield check
    if check.outcome != "failed":
        yield await _check_http(place)


NO_TLS = "the URL is not https: or wss:", "browsers allow cameras only on https: pages, and on localhost"


def _why(error: OSError | TimeoutError) -> str:
    if isinstance(error, TimeoutError):
        return "no answer"
    return f"{error.strerror or error}"


def _address_advice(error: OSError | TimeoutError) -> str:
    if isinstance(error, socket.gaierror):
        return "check the host name, and its record in DNS"
    if isinstance(error, ConnectionRefusedError):
        return "start the server (mcp-actors serve), or correct the port; MCP_ACTORS_HOST says for whom it listens"
    return "check the firewall and the route between here and the server"


async def _check_tls(place: Place) -> Check:
    began = time.monotonic()
    try:
        async with asyncio.timeout(TIMEOUT):
            _, writer = await asyncio.open_connection(place.host, place.port, ssl=ssl.create_default_context())
    except ssl.SSLCertVerificationError as error:
        advice = (
            "use a certificate for this name that browsers trust, with its whole chain; see MCP_ACTORS_TLS_CERT_FILE"
        )
        return failed("TLS", f"the certificate is not trusted: {error.verify_message}", advice)
    except (OSError, TimeoutError) as error:
        advice = "the port does not speak TLS: use http: or ws:, or set MCP_ACTORS_TLS_CERT_FILE or a proxy with TLS"
        return failed("TLS", f"no TLS: {_why(error)}", advice)
    connection = writer.get_extra_info("ssl_object")
    days = (ssl.cert_time_to_seconds(connection.getpeercert()["notAfter"]) - time.time()) / DAY
    writer.close()
    advice = "renew the certificate" if days < DAYS_OF_WARNING else ""
    return ok("TLS", f"{connection.version()}, certificate valid for {days:.0f} days", _since(began), advice=advice)


async def _check_http(place: Place) -> Check:
    """Ask for the endpoint without a handshake: whatever the answer is, HTTP arrives."""
    began = time.monotonic()
    try:
        async with asyncio.timeout(TIMEOUT):
            status, banner = await _request(place)
    except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        text = _why(error) if isinstance(error, OSError) else "the answer is not HTTP"
        return failed("HTTP", text, "another program listens on this port; correct the URL")
    text = f"{status} at {place.target}{f' from {banner}' if banner else ''}"
    if status in GATEWAY_ERRORS:
        return failed(
            "HTTP", text, "the proxy does not reach the server: is it running, and at the port that the proxy names?"
        )
    return ok("HTTP", text, _since(began))


async def _request(place: Place) -> tuple[int, str]:
    """Return the status, and what the header Server says. Raises OSError and ValueError."""
    context = ssl.create_default_context() if place.is_secure else None
    reader, writer = await asyncio.open_connection(place.host, place.port, ssl=context, limit=MAX_HEAD)
    try:
        host = f"[{place.host}]" if ":" in place.host else place.host
        request = f"GET {place.target} HTTP/1.1\r\nHost: {host}:{place.port}\r\nConnection: close\r\n\r\n"
        writer.write(request.encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    finally:
        writer.close()
    version, status, *_ = head[0].split(" ", 2)
    if not version.startswith("HTTP/"):
        raise ValueError(version)
    banners = [value.strip() for name, _, value in (line.partition(":") for line in head) if name.lower() == "server"]
    return int(status), "".join(banners[:1])


def _since(began: float) -> float:
    return (time.monotonic() - began) * 1000
