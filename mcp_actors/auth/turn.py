"""TURN servers that take credentials until a time: the scheme of coturn's `use-auth-secret` ("TURN REST API").

The user name is `<seconds since 1970>:<user>`, and the password is made of it with a secret that the TURN server has.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b64encode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Any

MAX_USER_LENGTH = 64
"""Characters of an id in a user name; coturn takes 512 bytes for the whole, browsers 508."""

_ESCAPED = re.compile(r"[^A-Za-z0-9_.@-]")
"""Characters that are percent-encoded: coturn splits names at colons, and takes no spaces, quotes and backslashes."""

_LIKE_SQL = re.compile(r"(?=.*union).*select", re.IGNORECASE | re.DOTALL)
"""coturn drops requests of users whose names contain both words."""


@dataclass(frozen=True, slots=True)
class TurnServers:
    """The TURN servers of a deployment; `ttl`: the seconds for which credentials are accepted."""

    urls: tuple[str, ...]
    secret: str
    ttl: int

    def ice_server(self, user: str, now: float) -> dict[str, Any]:
        """Return an RTCIceServer object with new credentials. `now`: seconds since 1970."""
        username = f"{int(now) + self.ttl}:{user}"
        digest = hmac.digest(self.secret.encode(), username.encode(), "sha1")
        return {"urls": list(self.urls), "username": username, "credential": b64encode(digest).decode()}


def turn_user(peer_id: str, room: str, *, verified: bool) -> str:
    """Return the user that TURN servers log, and to which their quotas apply.

    That is the id of the peer, in the characters that coturn takes. One that is only claimed gets a digest of the room
    behind it, because the peers of other rooms that claim it are others.
    """
    user = _ESCAPED.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), peer_id)
    if len(user) > MAX_USER_LENGTH or _LIKE_SQL.match(user):
        user = f"~{_digest(peer_id)}"
    return user if verified else f"{user}~{_digest(room)[:8]}"


def _digest(text: str) -> str:
    return urlsafe_b64encode(hashlib.sha256(text.encode()).digest()[:18]).decode()
