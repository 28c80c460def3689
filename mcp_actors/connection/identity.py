"""The identity and the permissions of a client: the rules of access tokens for one connection."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from mcp_actors.auth.grants import Permission
from mcp_actors.protocol.errors import BadMessage, Forbidden, SignalingError, Unauthorized
from mcp_actors.protocol.identifiers import shown
from mcp_actors.sessions import VERIFIED

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from mcp_actors.auth.authentication import Authentication
    from mcp_actors.auth.authorization import Admission, Handshake
    from mcp_actors.auth.grants import Grant
    from mcp_actors.protocol.identifiers import RoomId


MAX_ROOM_GRANTS = 256
"""Grants for single rooms that are kept for one client, and forgotten for rooms that it is not in."""

NO_ROOMS: Mapping[RoomId, Grant] = MappingProxyType({})
"""An empty dictionary for each connection would take memory."""


class Identity:
    """The identity of one connection. `permission` is what a token must grant to send on its endpoint.

    Without `authentication` the server asks for no tokens, and ids are claims.
    """

    __slots__ = ("_authentication", "_permission", "grant", "handshake", "in_rooms", "is_admitted", "may_send")

    def __init__(self, authentication: Authentication | None, permission: Permission) -> None:
        self.grant: Grant | None = None
        self.may_send = authentication is None or not authentication.required
        self.handshake: Handshake | None = None
        """The handshake of a client about whose joins the application is asked."""
        self.in_rooms: Mapping[RoomId, Grant] = NO_ROOMS
        """The grants of the application for single rooms."""
        self.is_admitted = False
        """Whether the application has said who the client is."""
        self._authentication = authentication
        self._permission = permission

    def admit(self, admission: Admission) -> None:
        """Take what the application has decided about the handshake."""
        self.grant = grant = admission.grant
        self.is_admitted = grant is not None
        if grant is not None:
            self.may_send = self._permission in grant.can
        if grant is None or grant.rooms is None:
            self.handshake = admission.handshake

    def admit_to(self, room: RoomId, grant: Grant, rooms: Container[RoomId]) -> None:
        """Take what the application has granted for a room; `rooms`: those that the client is in."""
        is_full = len(self.in_rooms) >= MAX_ROOM_GRANTS
        kept = {one: given for one, given in self.in_rooms.items() if not is_full or one in rooms}
        self.in_rooms = {**kept, room: grant}
        if self.grant is None:
            self.grant, self.is_admitted = grant, True
        self.may_send = self.may_send or self._permission in grant.can

    def grant_in(self, room: RoomId) -> Grant | None:
        """Return what the client may do in a room."""
        return self.in_rooms.get(room, self.grant)

    def may_send_in(self, room: RoomId) -> bool:
        """Whether the client may send to others in a room."""
        grant = self.in_rooms.get(room)
        return self.may_send if grant is None else self._permission in grant.can

    def authenticate(self, token: str) -> Grant:
        """Accept a token, the first or a new one. Raises `BadMessage`, `Unauthorized` and `Forbidden`."""
        if self.is_admitted:
            raise BadMessage("The application has said who you are; leave `authenticate` out.", field="type")
        if self._authentication is None:
            raise BadMessage("This server asks for no tokens; leave `authenticate` out.", field="type")
        self.grant = self._authentication.check(token, self.grant)
        self.may_send = self._permission in self.grant.can
        return self.grant

    def resolve(self, claimed: str | None, field: str) -> str:
        """Return the id of the client: that of its token, or else what it claims in `field`.

        Raises `Unauthorized`, `Forbidden` and `BadMessage`.
        """
        if self.grant is not None:
            if claimed not in (None, self.grant.sub):
                whose = "You are" if self.is_admitted else "Your token is for"
                raise Forbidden(f"{whose} {shown(self.grant.sub)}; make `{field}` that, or leave it out.")
            return self.grant.sub
        if self._authentication is not None and self._authentication.required:
            raise _unauthorized()
        if self.handshake is not None:
            raise Unauthorized("The application did not say who you are when you connected.")
        if claimed is None:
            raise BadMessage(f"`{field}` is missing.", field=field)
        return claimed

    def session_owner(self, claimed: str) -> str:
        """Return the identity of a session: one that began with a token is resumed only with a token of its `sub`."""
        return claimed if self.grant is None else f"{VERIFIED}{self.grant.sub}"

    @property
    def verified(self) -> bool:
        """Whether a token says who the client is."""
        return self.grant is not None

    def may_moderate(self, room: RoomId) -> bool:
        """Whether the client may moderate a room that its grant lets it into."""
        grant = self.grant_in(room)
        return grant is not None and Permission.MODERATE in grant.can

    def expect_moderator(self, room: RoomId) -> None:
        """Raise `Forbidden` unless the client may moderate."""
        if self._authentication is None and self.grant is None:
            raise Forbidden("To moderate takes an access token, and this server asks for none (MCP_ACTORS_AUTH).")
        if not self.may_moderate(room):
            raise Forbidden(f"To moderate takes an access token whose `can` has `{Permission.MODERATE}`.")

    def expect_room(self, room: RoomId) -> None:
        """Raise `Forbidden` if the client may not be in a room."""
        if self.handshake is not None:
            if room not in self.in_rooms:
                raise Forbidden(f"The application has not let you into room {shown(room)}; join it first.")
        elif self.grant is not None and not self.grant.lets_into(room):
            raise Forbidden(f"Your token does not let you into room {shown(room)}.")

    def expect_grant(self) -> None:
        """Raise `Unauthorized` unless a token says who the client is."""
        if self.grant is None:
            raise Unauthorized("The access token that you brought cannot be used.")

    def refusal(self) -> SignalingError:
        """Return the error for a client that may not send."""
        if self.grant is None:
            return _unauthorized()
        return Forbidden(f"Your token does not let you send this; its `can` lacks {self._permission}.")


def _unauthorized() -> Unauthorized:
    return Unauthorized("Say who you are first: send `authenticate` with a token.")
