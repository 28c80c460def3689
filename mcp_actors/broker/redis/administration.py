"""Requests of operators for rooms at any nodes, as scripts that run beside the requests of this node's rooms."""
# ruff: noqa: D102 - the protocol in mcp_actors.broker.administration documents the methods

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from mcp_actors.broker.administration import NodeState, Outcome, RoomPage, RoomState
from mcp_actors.broker.redis import scripts
from mcp_actors.broker.redis.connection import LinkLost, words
from mcp_actors.broker.redis.entries import pack_notice
from mcp_actors.broker.redis.keys import bucket_of
from mcp_actors.broker.redis.room import bans_of
from mcp_actors.broker.redis.status import read_leases, read_page, read_room
from mcp_actors.protocol.errors import Unavailable
from mcp_actors.protocol.events import NO_NOTICE
from mcp_actors.protocol.identifiers import SERVER, NodeId

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from mcp_actors.broker.redis.keys import Keys
    from mcp_actors.broker.redis.link import Link
    from mcp_actors.broker.redis.scripts import Script
    from mcp_actors.broker.redis.settings import RedisSettings
    from mcp_actors.protocol.events import Ban, Kind, Notice
    from mcp_actors.protocol.identifiers import PeerId, RoomId, UserId

PATIENCE = 5.0
"""Seconds for a request to be carried out, before which nodes may have to announce their members again."""

APPLICATION = ("", SERVER)
"""The field and the incarnation of a moderator that is no member."""

DONE = {b"OK": Outcome.DONE, b"LIMIT": Outcome.FULL}


class _Reply(NamedTuple):
    """The reply of a script: its word, and what follows the version."""

    word: bytes
    rest: list[str]

    @property
    def outcome(self) -> Outcome:
        return DONE.get(self.word, Outcome.UNCHANGED)


class RedisAdministration:
    """An `Administration` for `node`; `links` and `keys` are those of its buckets."""

    def __init__(self, links: Sequence[Link], keys: Sequence[Keys], node: NodeId, settings: RedisSettings) -> None:
        self._links = links
        self._keys = keys
        self._node = node
        self._settings = settings

    async def list_rooms(self, prefix: str, after: str, limit: int) -> RoomPage:
        buckets = [(link.bucket.executor, keys) for link, keys in zip(self._links, self._keys, strict=True)]
        async with _patience():
            return await read_page(buckets, prefix, after, limit)

    async def room(self, room: RoomId) -> RoomState:
        bucket = bucket_of(room, len(self._links))
        async with _patience():
            return await read_room(self._links[bucket].bucket.executor, self._keys[bucket], room)

    async def nodes(self) -> Sequence[NodeState]:
        async with _patience():
            pairs = zip(self._links, self._keys, strict=True)
            found = await asyncio.gather(*(read_leases(link.bucket.executor, keys) for link, keys in pairs))
        ends: dict[NodeId, list[float]] = {}
        for leases in found:
            for node, seconds in leases.items():
                ends.setdefault(node, []).append(seconds)
        return [NodeState(node, None if min(left) < 0 else min(left)) for node, left in sorted(ends.items())]

    async def kick(self, room: RoomId, kind: Kind, whom: PeerId | UserId, notice: Notice = NO_NOTICE) -> Outcome:
        settings = self._settings
        how = (settings.window_ms, pack_notice(notice), notice.ban_seconds * 1000, settings.max_room_bans)
        return (await self._run(room, scripts.KICK, *APPLICATION, kind, whom, *how)).outcome

    async def bans(self, room: RoomId) -> Sequence[Ban]:
        return bans_of((await self._run(room, scripts.LIST_BANS, *APPLICATION)).rest)

    async def unban(self, room: RoomId, kind: Kind, whom: PeerId | UserId) -> Outcome:
        return (await self._run(room, scripts.UNBAN, *APPLICATION, kind, whom)).outcome

    async def lock(self, room: RoomId, *, locked: bool) -> Outcome:
        return (await self._run(room, scripts.LOCK, *APPLICATION, "1" if locked else "0")).outcome

    async def close(self, room: RoomId, notice: Notice = NO_NOTICE) -> Outcome:
        how = (self._settings.window_ms, pack_notice(notice))
        return (await self._run(room, scripts.CLOSE, *APPLICATION, *how)).outcome

    async def announce(self, room: RoomId, content: Any, to: tuple[Kind, PeerId | UserId] | None = None) -> Outcome:
        text = msgspec.json.encode(content).decode()
        return (await self._run(room, scripts.ANNOUNCE, "", text, *(to or ("", "")))).outcome

    async def _run(self, room: RoomId, script: Script, *arguments: str | int) -> _Reply:
        """Run a script about a room until it is carried out, naming the nodes of the room. Raises `Unavailable`."""
        number = bucket_of(room, len(self._links))
        bucket, keys = self._links[number].bucket, self._keys[number]
        nodes = [self._node]
        async with _patience():
            while True:
                common = (self._node, room, keys.inboxes, self._settings.max_inbox_entries, bucket.run_id)
                named = keys.of_room(room, nodes)
                command = scripts.room_call(script, keys, self._settings, named, (*common, *arguments))
                (reply,) = await bucket.executor.run([command])
                word, *rest = words(reply)
                if word == b"KEYS":
                    nodes += [NodeId(name.decode()) for name in rest]
                elif word == b"LATER":
                    await asyncio.sleep(int(rest[0]) / 1000)
                elif word == b"FENCED":
                    raise LinkLost("this process was declared dead")
                else:
                    return _Reply(bytes(word), [part.decode() for part in rest[1:]])


@asynccontextmanager
async def _patience() -> AsyncIterator[None]:
    """Wait no longer than `PATIENCE`. Raises `Unavailable` for whatever keeps a request from being carried out."""
    try:
        async with asyncio.timeout(PATIENCE):
            yield
    except (LinkLost, TimeoutError) as error:
        raise Unavailable(f"Redis cannot be asked now: {str(error) or 'it does not answer'}.") from None
