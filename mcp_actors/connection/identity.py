"""The identity and the permissions of a client: the rules of access tokens for one connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp_actors.auth.grants import Permission
from mcp_actors.protocol.errors import BadMessage, Forbidden, SignalingError, Unauthorized
from mcp_actors.protocol.identifiers import shown
from mcp_actors.sessions import VERIFIED

if TYPE_CHECKING:
    from mcp_actors.auth.authentication import Authentication
    from mcp_actors.auth.grants import Grant
    from mcp_actors.protocol.identifiers import RoomId


class Identity:
    """The identity of one connection. `permission` is what a token must grant to send on its endpoint.

    Without `authentication` the server asks for no tokens, and ids are claims.
    """

    __slots__ = ("_authentication", "_permission", "grant", "may_send")

    def __init__(self, authentication: Authentication | None, permission: Permission) -> None:
        self.grant: Grant | None = None
        self.may_send = authentication is None or not authentication.required
        self._authentication = authentication
        self._permission = permission

    def authenticate(self, token: str) -> Grant:
        """Accept a token, the first or a new one. Raises `BadMessage`, `Unauthorized` and `Forbidden`."""
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
                raise Forbidden(f"Your token is for {shown(self.grant.sub)}; make `{field}` that, or leave it out.")
            return self.grant.sub
        if self._authentication is not None and self._authentication.required:
            raise _unauthorized()
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

    @property
    def may_moderate(self) -> bool:
        """Whether the client may moderate the rooms that its token lets it into."""
        return self.grant is not None and Permission.MODERATE in self.grant.can

    def expect_moderator(self) -> None:
        """Raise `Forbidden` unless the client may moderate."""
        if self._authentication is None:
            raise Forbidden("To moderate takes an access token, and this server asks for none (MCP_ACTORS_AUTH).")
        if not self.may_moderate:
            raise Forbidden(f"To moderate takes an access token whose `can` has `{Permission.MODERATE}`.")

    def expect_room(self, room: RoomId) -> None:
        """Raise `Forbidden` if the token does not let the client into a room."""
        if self.grant is not None and not self.grant.lets_into(room):
            raise Forbidden(f"Your token does not let you into room {shown(room)}.")

    def refusal(self) -> SignalingError:
        """Return the error for a client that may not send."""
        if self.grant is None:
            return _unauthorized()
        return Forbidden(f"Your token does not let you send this; its `can` lacks {self._permission}.")


def _unauthorized() -> Unauthorized:
    return Unauthorized("Say who you are first: send `authenticate` with a token.")
