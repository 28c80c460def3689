"""An access token, signed in Python with PyJWT. `python sign.py USER ROOM...`."""

import os
import re
import sys
import time

import jwt

LIFETIME = 900  # seconds; a page asks for the next one before


def escaped(name: str) -> str:
    """A name stands for itself: without this, the owner of a room named `*` could enter every room."""
    return re.sub(r"([*?\\])", r"\\\1", name)


user, *rooms = sys.argv[1:]
claims = {"sub": user, "rooms": [escaped(room) for room in rooms], "exp": int(time.time()) + LIFETIME}
print(jwt.encode(claims, os.environ["MCP_ACTORS_SECRET_KEY"], algorithm="HS256"))
