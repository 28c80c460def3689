"""Access tokens for tests, all signed with one secret."""

from __future__ import annotations

import time
from typing import Any

import jwt

SECRET = "pY3xq0tL9vWc7Zr2Nf8Kd5Hs1Gm4Jb6T"  # noqa: S105 - of tests
REQUIRED = {"auth": "required", "secret_key": SECRET}
OPTIONAL = {"auth": "optional", "secret_key": SECRET}


def token(sub: str, ttl: float = 3600, **claims: Any) -> str:
    """A token for `sub` that expires in `ttl` seconds. Claims that are None are left out."""
    found = {"sub": sub, "exp": time.time() + ttl, **claims}
    return jwt.encode({name: value for name, value in found.items() if value is not None}, SECRET, algorithm="HS256")


def bearer(sub: str, ttl: float = 3600, **claims: Any) -> dict[str, str]:
    """The Authorization header with such a token."""
    return {"Authorization": f"Bearer {token(sub, ttl, **claims)}"}
