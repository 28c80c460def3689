"""Resume tokens: each names a session and one of its connections, and is sealed with the server's secret."""

from __future__ import annotations

import base64
import hmac
import secrets
import struct
from typing import NamedTuple

ID_BYTES, SEAL_BYTES = 12, 16
CONTENT = struct.Struct(f"!{ID_BYTES}sI")


class ResumeToken(NamedTuple):
    """A session, and the number of the connection that the token was given to."""

    session: str
    generation: int


def new_session_id() -> str:
    """Return 16 characters of URL-safe base64, which contain no dot."""
    return secrets.token_urlsafe(ID_BYTES)


class ResumeTokens:
    """Seals and opens tokens. Processes with the same secret accept each other's."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def seal(self, session: str, generation: int) -> str:
        """Return the token as clients get it."""
        content = CONTENT.pack(base64.urlsafe_b64decode(session), generation)
        return base64.urlsafe_b64encode(content + self._tag(content)).decode()

    def open(self, token: str) -> ResumeToken | None:
        """Return what a token says; None if it was not sealed with this secret."""
        try:
            raw = base64.urlsafe_b64decode(token.encode())
            session, generation = CONTENT.unpack(raw[:-SEAL_BYTES])
        except (ValueError, struct.error):
            return None
        if not hmac.compare_digest(raw[-SEAL_BYTES:], self._tag(raw[:-SEAL_BYTES])):
            return None
        return ResumeToken(base64.urlsafe_b64encode(session).decode(), generation)

    def _tag(self, content: bytes) -> bytes:
        return hmac.digest(self._secret, content, "sha256")[:SEAL_BYTES]
