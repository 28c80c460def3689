"""The secret that signs webhooks, in the form that receivers' libraries take (https://www.standardwebhooks.com)."""

from __future__ import annotations

import base64
import binascii

PREFIX = "whsec_"
"""The beginning of every secret; its bytes follow in base64."""

MIN_BYTES, MAX_BYTES = 24, 64
"""The length of a secret."""


def decode_secret(secret: str) -> bytes:
    """Return the bytes of a secret. Raises `ValueError`."""
    if not secret.startswith(PREFIX):
        raise ValueError(f"a secret begins with {PREFIX}")
    try:
        found = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise ValueError(f"what follows {PREFIX} is not base64") from None
    if not MIN_BYTES <= len(found) <= MAX_BYTES:
        raise ValueError(f"it has {len(found)} bytes, not {MIN_BYTES} to {MAX_BYTES}")
    return found
