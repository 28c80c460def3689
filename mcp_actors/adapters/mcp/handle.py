"""The handle of a membership: what an agent passes to each call, at whichever process it arrives."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Literal

import msgspec
from msgspec import Struct


class Handle(Struct, frozen=True, array_like=True):
    """`token`: the resume token of the session, which cannot be guessed. The other fields only say how to use it.

    `name`: the id in the room of a caller that no token names, else empty.
    """

    kind: Literal["user", "peer"]
    token: str
    room: str
    name: str = ""

    def __str__(self) -> str:
        """Return the text that agents get."""
        return urlsafe_b64encode(_encode(self)).decode().rstrip("=")

    def __repr__(self) -> str:
        return f"Handle({self.kind!r}, ***, {self.room!r})"  # a token is never shown or logged


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Handle).decode


def read_handle(text: str) -> Handle | None:
    """Return what a handle says; None if it cannot be one."""
    try:
        return _decode(urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4)))
    except (ValueError, msgspec.DecodeError):
        return None
