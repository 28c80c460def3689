"""Tokens: with one, a next connection goes on with a session. Each names its session and generation, and is sealed."""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from typing import NamedTuple

ID_BYTES, GENERATION_BYTES, SEAL_BYTES = 12, 4, 16


class Claim(NamedTuple):
    """What a token says: a session, and which of its connections it was given to."""

    session: str
    generation: int


def new_session_id() -> str:
    """16 characters of URL-safe base64, which hold no dot."""
    return secrets.token_urlsafe(ID_BYTES)


class Tokens:
    """Makes and reads tokens. `secret` seals them: with the same one, other processes read them too."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def make(self, session: str, generation: int) -> str:
        """A token."""
        plain = base64.urlsafe_b64decode(session) + generation.to_bytes(GENERATION_BYTES, "big")
        return base64.urlsafe_b64encode(plain + self._seal(plain)).decode()

    def read(self, token: str) -> Claim | None:
        """What a token says; None if it is none of ours."""
        try:
            raw = base64.urlsafe_b64decode(token.encode())
        except (ValueError, binascii.Error):
            return None
        plain, seal = raw[:-SEAL_BYTES], raw[-SEAL_BYTES:]
        if len(plain) != ID_BYTES + GENERATION_BYTES or not hmac.compare_digest(seal, self._seal(plain)):
            return None
        session = base64.urlsafe_b64encode(plain[:ID_BYTES]).decode()
        return Claim(session, int.from_bytes(plain[ID_BYTES:], "big"))

    def _seal(self, plain: bytes) -> bytes:
        return hmac.digest(self._secret, plain, "sha256")[:SEAL_BYTES]
