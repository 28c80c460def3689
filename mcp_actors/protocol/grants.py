"""What an access token lets its holder do: its claims checked and read, its rooms matched.

That the token is genuine was found before; what time it is, is given.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import msgspec
from msgspec import Struct

from mcp_actors.protocol.errors import Unauthorized
from mcp_actors.protocol.identifiers import id_problem


class Permission(StrEnum):
    """A word of the claim `can`."""

    SIGNAL = "signal"
    MESSAGE = "message"
    MODERATE = "moderate"


DEFAULT_PERMISSIONS = frozenset({Permission.SIGNAL, Permission.MESSAGE})
"""What a token without the claim `can` allows."""

ANY, ONE = "*", "?"


class Claims(Struct, frozen=True):
    """The claims that matter here; others are let be. Times are seconds since 1970."""

    sub: str
    exp: float
    nbf: float | None = None
    aud: str | list[str] | None = None
    iss: str | None = None
    rooms: list[str] | None = None
    can: list[str] | None = None


class Grant(Struct, frozen=True):
    """Who somebody is, and what they may do, until a time. `rooms`: names or patterns; None lets in everywhere."""

    sub: str
    rooms: tuple[str, ...] | None
    can: frozenset[Permission]
    expires: float

    def lets_into(self, room: str) -> bool:
        """Whether a room may be entered."""
        return self.rooms is None or any(matches(room, pattern) for pattern in self.rooms)


@dataclass(frozen=True, slots=True)
class Expectations:
    """What the claims of a token must say; an empty `audience` or `issuer` is not asked for.

    `leeway`: seconds by which the clock of who issues tokens may be off.
    """

    audience: str
    issuer: str
    leeway: float
    id_length: int


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
    return Grant(claims.sub, rooms, _permissions(claims.can), claims.exp + expected.leeway)


def _problem(claims: Claims, expected: Expectations, now: float) -> str | None:
    named = id_problem(claims.sub, expected.id_length)
    if named is not None:
        return f"The claim `sub` of the token {named}."
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
    """Whether a token is for this server: one that names an audience is for nobody where none is expected."""
    if audience is None:
        return not expected
    return bool(expected) and expected in ([audience] if isinstance(audience, str) else audience)


def _permissions(words: list[str] | None) -> frozenset[Permission]:
    """The words of `can` that are known here; others may be for a later version."""
    if words is None:
        return DEFAULT_PERMISSIONS
    return frozenset(permission for permission in Permission if permission.value in words)


def matches(room: str, pattern: str) -> bool:
    """Whether a room has a name or fits a pattern, whole: `*` stands for any characters, `?` for one.

    In time of the product of both lengths at worst, which regular expressions do not promise.
    """
    at = in_pattern = 0
    star, resumed = -1, 0
    while at < len(room):
        here = pattern[in_pattern : in_pattern + 1]
        if here == ANY:
            star, resumed = in_pattern, at
            in_pattern += 1
        elif here in (ONE, room[at]):
            at += 1
            in_pattern += 1
        elif star >= 0:  # let the last star stand for one character more
            resumed += 1
            at, in_pattern = resumed, star + 1
        else:
            return False
    return not pattern[in_pattern:].strip(ANY)
