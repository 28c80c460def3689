"""Grants: what an access token allows its holder, once its signature has been verified."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct

from mcp_actors.protocol.errors import Unauthorized
from mcp_actors.protocol.identifiers import id_problem


class Permission(StrEnum):
    """A word of the claim `can`."""

    SIGNAL = "signal"
    MESSAGE = "message"
    MODERATE = "moderate"
    ADMIN = "admin"
    """Use the admin API, for all rooms. It allows nothing at the endpoints."""


DEFAULT_PERMISSIONS = frozenset({Permission.SIGNAL, Permission.MESSAGE})
"""The permissions of a token without the claim `can`."""


class Claims(Struct, frozen=True):
    """The claims that matter here; others are ignored. Times are seconds since 1970."""

    sub: str
    exp: float
    nbf: float | None = None
    aud: str | list[str] | None = None
    iss: str | None = None
    rooms: list[str] | None = None
    can: list[str] | None = None
    jti: Any = None
    iat: Any = None


class Grant(Struct, frozen=True):
    """The identity `sub` and the permissions of a client.

    `rooms`: names or patterns. None means all rooms for an access token; an application is asked about each join then.
    `can`: any of `Permission`. `expires`: when the connection is closed, in seconds since 1970.

    `metadata`: what others see of the client, in place of what it says itself; with `own_metadata` it may add fields.
    None leaves all of it to the client. `ice_servers`: its RTCIceServer objects; None means those of the settings.

    `token_id` and `issued`: the claims `jti` and `iat` of its token, by which it may be revoked.
    """

    sub: str
    rooms: Sequence[str] | None = None
    can: Collection[str] = DEFAULT_PERMISSIONS
    expires: float = math.inf
    metadata: dict[str, Any] | None = None
    own_metadata: bool = False
    ice_servers: Sequence[dict[str, Any]] | None = None
    token_id: str = ""
    issued: float | None = None

    def shown_metadata(self, own: dict[str, Any]) -> dict[str, Any]:
        """Return what others see of a client whose own metadata is `own`."""
        if self.metadata is None:
            return own
        return {**own, **self.metadata} if self.own_metadata else self.metadata

    def lets_into(self, room: str) -> bool:
        """Whether the client may enter a room."""
        return self.rooms is None or any(matches(room, pattern) for pattern in self.rooms)


@dataclass(frozen=True, slots=True)
class Expectations:
    """The claims that this server requires; an empty `audience` or `issuer` is not required.

    `leeway`: by how many seconds the issuer's clock may differ.
    """

    audience: str
    issuer: str
    leeway: float
    id_length: int


_PART = re.compile(r"\\[*?\\]|.", re.DOTALL)
"""One part of a pattern: a character, or an escaped one with its backslash."""

_decode = msgspec.json.Decoder(Claims).decode


def read_grant(payload: bytes, expected: Expectations, now: float) -> Grant:
    """Check the claims of a genuine token. Raises `Unauthorized`, which says what is wrong with them."""
    try:
        claims = _decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unauthorized(f"The claims of the token cannot be used: {error}.") from None
    problem = _problem(claims, expected, now)
    if problem is not None:
        raise Unauthorized(problem)
    rooms = None if claims.rooms is None else tuple(claims.rooms)
    can = DEFAULT_PERMISSIONS
    if claims.can is not None:  # unknown words may be for a later version
        can = frozenset(permission for permission in Permission if permission.value in claims.can)
    token_id = claims.jti if isinstance(claims.jti, str) else ""
    issued = float(claims.iat) if isinstance(claims.iat, int | float) else None
    return Grant(claims.sub, rooms, can, claims.exp + expected.leeway, token_id=token_id, issued=issued)


def _problem(claims: Claims, expected: Expectations, now: float) -> str | None:
    problem = id_problem(claims.sub, expected.id_length)
    if problem is not None:
        return f"The claim `sub` of the token {problem}."
    if not math.isfinite(claims.exp) or claims.exp + expected.leeway <= now:
        return "The token has expired; get a new one."
    if claims.nbf is not None and claims.nbf - expected.leeway > now:
        return "The token is not valid yet (`nbf`)."
    if not _is_for(claims.aud, expected.audience):
        return "The token is for another audience (`aud`)."
    if expected.issuer and claims.iss != expected.issuer:
        return "The token is from another issuer (`iss`)."
    return None


def _is_for(audience: str | list[str] | None, expected: str) -> bool:
    """Whether a token is for this server. A server that expects no audience accepts no token that names one."""
    if audience is None:
        return not expected
    return bool(expected) and expected in ([audience] if isinstance(audience, str) else audience)


def matches(room: str, pattern: str) -> bool:
    """Whether a whole room name matches a pattern: `*` stands for any characters, `?` for one.

    A backslash in front of one of them, or of a backslash, takes away its meaning. The time is at worst the product of
    both lengths, which regular expressions do not guarantee.
    """
    parts = _PART.findall(pattern)
    at = in_pattern = 0
    star, resumed = -1, 0
    while at < len(room):
        here = parts[in_pattern] if in_pattern < len(parts) else ""
        if here == "*":
            star, resumed = in_pattern, at
            in_pattern += 1
        elif here == "?" or here[-1:] == room[at]:
            at += 1
            in_pattern += 1
        elif star >= 0:  # let the last star match one more character
            resumed += 1
            at, in_pattern = resumed, star + 1
        else:
            return False
    return all(part == "*" for part in parts[in_pattern:])
