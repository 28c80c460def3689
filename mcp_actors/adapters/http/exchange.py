"""One request and its response, as every adapter passes them on, and the headers of all responses."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcp_actors.adapters.asgi.interface import AsgiApplication

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Headers of every response. They do not affect CORS."""

PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; img-src 'self'; "
        "media-src 'self' blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Permissions-Policy": (
        "camera=(self), microphone=(self), clipboard-write=(self), autoplay=(self), "
        "display-capture=(self), geolocation=(), payment=(), usb=(), serial=(), hid=(), midi=()"
    ),
}
"""Headers of the demo page and its files, which replace those above or add to them. The page runs only its own scripts,
talks to no other server, and cannot be framed."""

TEXT_HEADERS = {"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-store"}
"""Headers of every error."""

SEEN_TO_COME = {"Cross-Origin-Resource-Policy": "cross-origin"}
"""Of a refused WebSocket: a page of another origin can tell it from a dead network, as `fetch` does not fail."""

NONE: Mapping[str, str] = MappingProxyType({})


class Request(NamedTuple):
    """A request. `headers` are found in any case; `address` is that of the client.

    `parameters`: the variable parts of the path, by their names in its pattern. `query`: of several values of one name,
    the last. `body`: empty for a page that takes none.
    """

    method: str
    headers: Mapping[str, str]
    address: str
    parameters: Mapping[str, str] = NONE
    query: Mapping[str, str] = NONE
    body: bytes = b""


class Response(NamedTuple):
    """A response; `headers` are those that it has beside `HEADERS`."""

    status: int
    headers: Mapping[str, str] = NONE
    body: bytes = b""


class Streamed(NamedTuple):
    """A response that an ASGI application sends, in as many parts as it likes. `body` is that of the request.

    The application is told when the client is gone, as by any ASGI server, and must end then. `headers` are those that
    the response has beside `HEADERS` and the application's own.
    """

    application: AsgiApplication
    body: bytes
    headers: Mapping[str, str] = NONE


JSON = "application/json"
"""The media type of requests and responses that are JSON."""


def media_type(headers: Mapping[str, str]) -> str:
    """Return the media type of a body, in lower case and without parameters; empty if it is not said."""
    return headers.get("Content-Type", "").partition(";")[0].strip().lower()


def no_websocket(status: int, reason: str, **headers: str) -> Response:
    """Return a response that refuses a WebSocket. Pages of other origins may see that it came, and nothing in it."""
    return text(status, reason, **{**SEEN_TO_COME, **headers})


def text(status: int, reason: str, **headers: str) -> Response:
    """Return a response that says something to people, as plain text that is not cached."""
    return Response(status, {**TEXT_HEADERS, **headers}, f"{reason}\n".encode())
