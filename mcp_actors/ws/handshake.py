"""The opening handshake of RFC 6455: what a request must have, and the key that answers it."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION = "13"
NO_HANDSHAKE = (
    "This is a WebSocket endpoint; connect with a WebSocket client "
    "(a proxy in between must use HTTP/1.1 and pass on Upgrade and Connection)."
)
"""The reason why a request that is no handshake is refused."""

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")


class HandshakeProblem(NamedTuple):
    """Why a request is no WebSocket handshake, with the HTTP status that says so."""

    status: int
    reason: str


def handshake_problem(version: str, headers: Mapping[str, str]) -> HandshakeProblem | None:
    """Return what is wrong with a GET request of an HTTP version, such as `HTTP/1.1`, or None (section 4.2.1)."""
    is_upgrade = "websocket" in _words(headers, "Upgrade") and "upgrade" in _words(headers, "Connection")
    if not is_upgrade or version != "HTTP/1.1":
        return HandshakeProblem(400, NO_HANDSHAKE)
    if headers.get("Sec-WebSocket-Version") != VERSION:
        return HandshakeProblem(426, f"Only version {VERSION} of the WebSocket protocol is supported.")
    key = headers.get("Sec-WebSocket-Key")
    if not key:
        return HandshakeProblem(400, "The header Sec-WebSocket-Key is missing.")
    if not _KEY.fullmatch(key):
        return HandshakeProblem(400, "The header Sec-WebSocket-Key must be one value, 16 bytes in base64.")
    return None


def _words(headers: Mapping[str, str], name: str) -> set[str]:
    return {word.strip(" \t").lower() for word in headers.get(name, "").split(",")}


def accept_key(key: str) -> str:
    """Return the `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key`."""
    return base64.b64encode(hashlib.sha1(key.encode() + GUID).digest()).decode()  # noqa: S324 - RFC 6455 demands SHA-1
