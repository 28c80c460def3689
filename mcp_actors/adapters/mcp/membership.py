"""One agent in one room, for as long as its lease."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

from mcp_actors.adapters.mcp.agent_client import LEFT, MOVED_ON, RequestFailed
from mcp_actors.adapters.mcp.inbox import cut, items_after
from mcp_actors.adapters.mcp.tool import ToolError
from mcp_actors.protocol.errors import CloseCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcp_actors.adapters.mcp.agent_client import AgentClient
    from mcp_actors.adapters.mcp.caller import Caller
    from mcp_actors.adapters.mcp.inbox import Item
    from mcp_actors.sessions import Session

ELSEWHERE = (CloseCode.REPLACED, MOVED_ON)
"""Close codes of a connection whose session goes on with the next call."""


class Received(NamedTuple):
    """Items in their order, up to number `last`. `more`: there are further ones; `missed`: earlier ones were lost."""

    items: Sequence[Item]
    last: int
    more: bool
    missed: bool


class Membership:
    """A client in a room. It leaves `lease` seconds after the last call for it; the calls are counted by `hold`.

    `user`: the verified id of the caller whose it is, empty if it has none. `leaving`: the type of the request that
    leaves the room.
    """

    def __init__(
        self, handle: str, room: str, caller: Caller, client: AgentClient, *, leaving: str, lease: float
    ) -> None:
        self.handle = handle
        self.room = room
        self.user = caller.user
        self.client = client
        self.expired = False
        """Whether the lease has ended it."""
        self._token = caller.token
        self._leaving = leaving
        self._lease = lease
        self._calls = 0
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        self._calls += 1
        self.forget_lease()

    def __exit__(self, *_error: object) -> None:
        self._calls -= 1
        if not self._calls and self.client.close_code is None:
            self._timer = asyncio.get_running_loop().call_later(self._lease, self._expire)

    def forget_lease(self) -> None:
        """Stop the time of the lease."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def renew(self, caller: Caller) -> None:
        """Go on with the latest access token of the caller. Raises `RequestFailed`."""
        is_admitted = caller.admission is not None and caller.admission.grant is not None
        if caller.token is not None and caller.token != self._token and not is_admitted and caller.user:
            await self.client.request("authenticate", payload={"token": caller.token})
            self._token = caller.token

    async def receive(self, after: int, seconds: float, limit: int) -> Received:
        """Return what has come above a number; if there is nothing, wait for it. Raises `ToolError`.

        What comes up to that number is forgotten.
        """
        session = self._session()
        if after > session.replay.last:
            raise ToolError(f"`after` is beyond the last message; it is {session.replay.last} at most.")
        session.acknowledge(after)
        replay, client, seen = session.replay, self.client, after
        missed = not replay.is_complete(after)
        items: list[Item] = []
        try:
            async with asyncio.timeout(seconds):
                while not items and client.close_code is None:
                    client.news.clear()
                    items, seen = list(items_after(replay, seen)), replay.last
                    if not items:
                        await client.news.wait()
        except TimeoutError:
            pass
        if not items and client.close_code is not None:
            return self._ended(after)
        return Received(*cut(items, limit, seen), missed)

    def _ended(self, after: int) -> Received:
        if self.client.close_code in ELSEWHERE:
            return Received((), after, more=False, missed=False)
        raise RequestFailed(self.client.describe_end())

    def _session(self) -> Session:
        session = self.client.session
        if session is None:
            raise RequestFailed(self.client.describe_end())
        return session

    def skip(self) -> int:
        """Forget what has come so far, and return the number of the last message."""
        session = self._session()
        session.acknowledge(session.replay.last)
        return session.replay.last

    async def send(self, content: Any) -> None:
        """Send a message to all users in the room. Raises `RequestFailed`."""
        await self.client.request("message", self.room, {"content": content})

    async def leave(self) -> None:
        """Leave the room, and end. Raises `RequestFailed`."""
        await self.client.request(self._leaving, self.room)
        self.client.close(LEFT)

    def _expire(self) -> None:
        self.expired = True
        self.client.close(LEFT)
