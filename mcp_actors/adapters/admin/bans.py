"""Bans: /api/v1/rooms/{room}/bans."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from msgspec import Struct

from mcp_actors.adapters.admin.api_page import Operation
from mcp_actors.broker.administration import Outcome
from mcp_actors.protocol.events import Kind
from mcp_actors.protocol.identifiers import PeerId, RoomId

if TYPE_CHECKING:
    from mcp_actors.adapters.admin.api_page import Call
    from mcp_actors.broker.administration import Administration
    from mcp_actors.protocol.events import Ban


class BanEntry(Struct, frozen=True):
    """An id that may not join, for another `expires_in` seconds. `by`: the id of the moderator; empty for an operator.

    `address`: the ban is for the addresses of the banned connections, too.
    """

    kind: Kind
    id: str
    expires_in: int
    by: str
    reason: str
    message: str
    address: bool


class BanList(Struct, frozen=True):
    """The bans of a room, those that end first before others."""

    room: str
    bans: list[BanEntry]


class Unbanned(Struct, frozen=True):
    """`lifted` is false if there was no such ban."""

    room: str
    kind: Kind
    id: str
    lifted: bool


def ban_entry(ban: Ban) -> BanEntry:
    """Return a ban as the API shows it."""
    notice = ban.notice
    return BanEntry(ban.kind, ban.id, ceil(ban.expires_in), ban.by, notice.reason, notice.message, ban.address)


class Bans:
    """The bans of all rooms."""

    def __init__(self, administration: Administration) -> None:
        self._administration = administration

    @property
    def of_room(self) -> dict[str, Operation]:
        """The operations of /rooms/{room}/bans."""
        return {"GET": Operation("List the bans of a room", self._list, BanList)}

    @property
    def of_member(self) -> dict[str, Operation]:
        """The operations of /rooms/{room}/bans/{kind}/{id}."""
        return {"DELETE": Operation("Lift a ban", self._lift, Unbanned, logged="ban lifted by operator")}

    async def _list(self, call: Call) -> BanList:
        room = RoomId(call.parameters["room"])
        return BanList(room, [ban_entry(one) for one in await self._administration.bans(room)])

    async def _lift(self, call: Call) -> Unbanned:
        room, kind, whom = RoomId(call.parameters["room"]), Kind(call.parameters["kind"]), call.parameters["id"]
        outcome = await self._administration.unban(room, kind, PeerId(whom))
        return Unbanned(room, kind, whom, lifted=outcome is Outcome.DONE)
