"""The memberships of agents at this process: begun, found by their handles, resumed here, and bounded."""

from __future__ import annotations

import asyncio
from collections import Counter
from math import ceil
from typing import TYPE_CHECKING, Any, NamedTuple

from mcp_actors.adapters.mcp.agent_client import MOVED_ON, STOPPING, AgentClient, RequestFailed
from mcp_actors.adapters.mcp.handle import Handle, read_handle
from mcp_actors.adapters.mcp.membership import Membership
from mcp_actors.adapters.mcp.tool import ToolError
from mcp_actors.connection.ip_limits import group_of
from mcp_actors.protocol.errors import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcp_actors.adapters.mcp.caller import Caller
    from mcp_actors.adapters.mcp.entrance import Entrance
    from mcp_actors.connection.environment import Environment
    from mcp_actors.counters.agents import AgentCounters

GONE = (
    "There is no such membership. One ends {lease:g} s after the last call that used it, when you leave the room, or"
    " when the server has lost it. Call join_room again."
)

RETRY_AFTER = (0.15, 0.3)
"""Seconds after which a session that another process has resumed just now is asked for again."""

OTHER_KIND = {
    "user": "This membership is of join_as_peer, which is for signals; join_room gives one for messages.",
    "peer": "This membership is of join_room, which is for messages; join_as_peer gives one for signals.",
}
"""What a call is told that needs the other kind of membership."""


class MembershipLimits(NamedTuple):
    """`lease`: seconds after the last call; `most` memberships at this process, `of_user` of one caller."""

    lease: float
    most: int
    of_user: int


class Memberships:
    """All memberships, by handle. `entrances`: how each kind of client gets in."""

    def __init__(
        self,
        environment: Environment,
        entrances: Mapping[str, Entrance],
        limits: MembershipLimits,
        counters: AgentCounters,
    ) -> None:
        self._environment = environment
        self._entrances = entrances
        self._limits = limits
        self._counters = counters
        self._by_handle: dict[str, Membership] = {}
        self._owned: Counter[str] = Counter()
        self._resuming: dict[str, asyncio.Event] = {}

    def __len__(self) -> int:
        return len(self._by_handle)

    async def join(self, caller: Caller, kind: str, room: str, name: str) -> tuple[Membership, Any]:
        """Enter a room, and return the membership and the payload of the reply. Raises `ToolError`.

        `name`: the id to have there if no token names the caller.
        """
        entrance, client = self._entrances[kind], self._connect(caller, kind)
        try:
            client.open(caller)
            token, reply = await entrance.enter(client, room, "" if caller.user else name)
            handle = Handle(entrance.kind, token, room, "" if caller.user else name)
            membership = self._add(handle, caller, client)
        except BaseException:
            client.close()
            raise
        self._counters.joined += 1
        return membership, reply

    async def find(self, caller: Caller, handle: str, kind: str = "") -> Membership:
        """Return the caller's membership, resumed here if it was at another process. Raises `ToolError`.

        `kind`: what it must be, if that matters.
        """
        opened = read_handle(handle)
        if opened is None:
            raise self._gone()
        if kind and opened.kind != kind:
            raise ToolError(OTHER_KIND[kind])
        handle = str(opened)
        while (resuming := self._resuming.get(handle)) is not None:
            await resuming.wait()
        found = self._by_handle.get(handle)
        if found is None:
            return await self._resume(caller, handle, opened)
        if found.user != caller.user:
            raise self._gone()
        with found:
            await found.renew(caller)
        return found

    async def stop(self) -> None:
        """Close all connections; other processes may go on with the sessions."""
        for membership in list(self._by_handle.values()):
            membership.client.last_words = STOPPING
            membership.client.close(MOVED_ON)

    async def _resume(self, caller: Caller, handle: str, opened: Handle) -> Membership:
        if bool(caller.user) is bool(opened.name):
            raise self._gone()
        done = self._resuming[handle] = asyncio.Event()
        try:
            client = self._connect(caller, opened.kind)
            try:
                client.open(caller)
                is_back = await self._return(client, opened)
                membership = self._add(opened, caller, client) if is_back else None
            except BaseException:
                client.close()
                raise
        finally:
            del self._resuming[handle]
            done.set()
        if membership is None:
            client.close()
            raise self._gone()
        self._counters.resumed += 1
        return membership

    async def _return(self, client: AgentClient, handle: Handle) -> bool:
        """Resume a session; False if it is gone. Raises `RequestFailed`.

        A handle keeps the first token of its session. Right after another process has resumed the session, that token
        counts as a late attempt of the client, and is refused with `unavailable`; a moment later it is accepted.
        """
        for pause in RETRY_AFTER:
            try:
                return await self._entrances[handle.kind].resume(client, handle)
            except RequestFailed as error:
                if error.code != ErrorCode.UNAVAILABLE:
                    raise
                await asyncio.sleep(pause)
        return await self._entrances[handle.kind].resume(client, handle)

    def _connect(self, caller: Caller, kind: str) -> AgentClient:
        """Return a new client. Raises `ToolError` if there may be no more."""
        environment, limits, owner = self._environment, self._limits, _owner(caller)
        if self._owned.total() >= limits.most:
            raise ToolError("This server process has as many memberships as it may; try again later.")
        if self._owned[owner] >= limits.of_user:
            raise ToolError(f"You have {limits.of_user} memberships already; leave a room first.")
        now = asyncio.get_running_loop().time()
        refusal = environment.connections.refusal
        limited = None if refusal is not None else environment.addresses.refusal(caller.address, now)
        if limited is not None:
            refusal = f"{limited.reason} Try again in {ceil(limited.retry_after)} s."
        if refusal is not None:
            raise ToolError(refusal)
        self._owned[owner] += 1
        return AgentClient(environment, self._entrances[kind].endpoint, caller.address, lambda: self._disown(owner))

    def _disown(self, owner: str) -> None:
        self._owned[owner] -= 1
        if not self._owned[owner]:
            del self._owned[owner]

    def _add(self, handle: Handle, caller: Caller, client: AgentClient) -> Membership:
        """Keep a membership until its client ends. Raises `RequestFailed` if it has ended already."""
        if client.close_code is not None:
            raise RequestFailed(client.describe_end())
        leaving, lease = self._entrances[handle.kind].leaving, self._limits.lease
        membership = Membership(str(handle), handle.room, caller, client, leaving=leaving, lease=lease)
        self._by_handle[membership.handle] = membership
        client.when_ended(lambda: self._remove(membership))
        with membership:  # starts the lease
            return membership

    def _remove(self, membership: Membership) -> None:
        membership.forget_lease()
        self._counters.expired += membership.expired
        if self._by_handle.get(membership.handle) is membership:
            del self._by_handle[membership.handle]

    def _gone(self) -> ToolError:
        return ToolError(GONE.format(lease=self._limits.lease))


def _owner(caller: Caller) -> str:
    """Return what memberships are counted by: the id of the caller, or else its address."""
    return f"user {caller.user}" if caller.user else f"address {group_of(caller.address)}"
