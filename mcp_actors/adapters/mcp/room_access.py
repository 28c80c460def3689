"""Which rooms a caller may see, and who is in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcp_actors.adapters.mcp.caller import Caller
    from mcp_actors.broker.administration import Administration, RoomPage, RoomState
    from mcp_actors.broker.revocations import RevocationTable
    from mcp_actors.node import Node
    from mcp_actors.protocol.identifiers import RoomId


class RoomAccess:
    """The rooms of all processes, as far as a caller may see them.

    That is all rooms for operators, and those that a grant lets its holder into. Where the application is asked about
    each join, rooms are seen only from inside. A caller without a grant sees all rooms if `is_open`: the server knows
    no tokens and asks no application. The rooms of other wire protocols are for operators only.
    """

    def __init__(self, node: Node, *, is_open: bool) -> None:
        self._node = node
        self._is_open = is_open

    @property
    def _administration(self) -> Administration:
        return self._node.broker.administration

    @property
    def _revocations(self) -> RevocationTable:
        return self._node.broker.revocations.table

    def may_see(self, caller: Caller, room: RoomId) -> bool:
        """Whether a caller may see a room."""
        grant = caller.grant
        if grant is not None and self._revocations.revokes(grant.sub, grant.token_id, grant.issued):
            return False
        if caller.is_operator:
            return True
        if self._node.gateway(room):
            return False
        if grant is None or (caller.admission is not None and grant.rooms is None):
            return self._is_open
        return grant.lets_into(room)

    async def list(self, caller: Caller, prefix: str = "", after: str = "", limit: int = 100) -> RoomPage:
        """Return those of a page of rooms that the caller may see. Raises `Unavailable`."""
        page = await self._administration.list_rooms(prefix, after, limit)
        return page._replace(rooms=[room for room in page.rooms if self.may_see(caller, room.name)])

    async def names(self, limit: int) -> Sequence[RoomId]:
        """Return the names of the first open rooms, whoever may see them. Raises `Unavailable`."""
        return [room.name for room in (await self._administration.list_rooms("", "", limit)).rooms]

    async def roster(self, room: RoomId) -> RoomState:
        """Return who is in a room, without asking whether the caller may see it. Raises `Unavailable`."""
        return await self._administration.room(room)
