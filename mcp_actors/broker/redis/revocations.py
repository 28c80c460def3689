"""The revocations in Redis, and what this node knows of them: told at once by others, and read when the link is up.

If Redis lost them, each node writes again those that it knows.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import msgspec
from redis.exceptions import ResponseError

from mcp_actors.broker.redis.connection import LinkLost, texts, words
from mcp_actors.broker.redis.entries import pack, parse_revoked, revoked_field, unpack_revocation
from mcp_actors.broker.redis.scripts import RESTORE_REVOCATIONS, REVOKE
from mcp_actors.broker.redis.write_queue import Call
from mcp_actors.broker.revocations import Claim, Revocation, RevocationTable
from mcp_actors.protocol.errors import Unavailable
from mcp_actors.protocol.identifiers import NodeId

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp_actors.broker.redis.connection import Reply
    from mcp_actors.broker.redis.entries import Revoked
    from mcp_actors.broker.redis.executor import Executor
    from mcp_actors.broker.redis.keys import Keys
    from mcp_actors.broker.redis.settings import RedisSettings

PATIENCE = 5.0
"""Seconds for a request to be carried out."""

BATCH = 1000
"""Revocations that are written again at once."""


class RedisRevocations:
    """`Revocations` in the keys of one bucket."""

    def __init__(self, keys: Keys, node: NodeId, executor: Executor, settings: RedisSettings) -> None:
        self.table = RevocationTable(time.time)
        self._keys = keys
        self._node = node
        self._executor = executor
        self._settings = settings
        self._watchers: list[Callable[[], None]] = []
        self._told: set[tuple[Claim, str]] = set()
        """Those about which an entry came since they were asked for: it may be newer than the reply."""

    def watch(self, changed: Callable[[], None]) -> None:
        """See `Revocations`."""
        self._watchers.append(changed)

    async def revoke(self, revocation: Revocation) -> bool:
        """See `Revocations`."""
        packed = msgspec.json.encode(revocation).decode()
        return await self._ask(revocation.key, packed, int(revocation.until * 1000)) == b"OK"

    async def lift(self, claim: Claim, value: str) -> bool:
        """See `Revocations`."""
        return await self._ask((claim, value), "", 0) == b"OK"

    def link_up(self, *, lost: bool) -> None:
        """Read all of them; if Redis may have lost some, write those first that are known here."""
        known = tuple(self.table) if lost else ()
        named = (self._keys.nodes, self._keys.revocations, self._keys.revocation_ends)
        for start in range(0, len(known), BATCH):
            batch = [
                (revoked_field(*one.key), msgspec.json.encode(one).decode(), int(one.until * 1000))
                for one in known[start : start + BATCH]
            ]
            self._executor.call(Call(RESTORE_REVOCATIONS.call(named, (self._node, pack(batch))), lambda _reply: None))
        self._told.clear()
        before = {one.key for one in self.table}
        self._executor.call(Call(("HGETALL", self._keys.revocations), lambda reply: self._read(before, reply)))

    def received(self, entry: Revoked) -> None:
        """Take what another node has told all."""
        self._told.add((entry.claim, entry.value))
        if entry.revocation is None:
            self.table.lift(entry.claim, entry.value)
        elif self.table.put(entry.revocation):
            self._changed()

    def _read(self, before: set[tuple[Claim, str]], reply: Reply) -> None:
        """Take the reply with all of them. `before`: those that were known when they were asked for."""
        flat = [] if isinstance(reply, ResponseError) else texts(reply)
        stored = dict(zip(map(parse_revoked, flat[::2]), map(unpack_revocation, flat[1::2]), strict=True))
        for key in before - set(stored) - self._told:
            self.table.lift(*key)
        if [one for one in stored.values() if one.key not in self._told and self.table.put(one)]:
            self._changed()

    def _changed(self) -> None:
        for changed in self._watchers:
            changed()

    async def _ask(self, key: tuple[Claim, str], packed: str, ends: int) -> bytes:
        """Run the script, naming all nodes, until it is carried out; return its word. Raises `Unavailable`."""
        keys, settings, nodes = self._keys, self._settings, [self._node]
        arguments = (revoked_field(*key), packed, ends, settings.max_revocations)
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    named = (keys.nodes, keys.revocations, keys.revocation_ends, *map(keys.inbox, nodes))
                    common = (self._node, keys.inboxes, settings.max_inbox_entries)
                    (reply,) = await self._executor.run([REVOKE.call(named, (*common, *arguments))])
                    word, *rest = words(reply)
                    if word == b"FENCED":
                        raise LinkLost("this process was declared dead")  # noqa: TRY301 - told as the others
                    if word != b"KEYS":
                        return bytes(word)
                    nodes += [NodeId(name.decode()) for name in rest]
        except (LinkLost, TimeoutError) as error:
            raise Unavailable(f"Redis cannot be asked now: {str(error) or 'it does not answer'}.") from None
