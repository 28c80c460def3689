"""The nodes that are connected to one server of Redis: a killed process loses its connections at once."""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING

from redis.exceptions import ResponseError

from mcp_actors.broker.redis.connection import LinkLost

if TYPE_CHECKING:
    from mcp_actors.broker.redis.executor import Executor
    from mcp_actors.protocol.identifiers import NodeId

PREFIX = "mcp-actors:"
"""The prefix of the names of the connections; the id of the node follows."""

LIST_SECONDS = 0.1
"""How long a list is used, however many ask."""

RECENT_SECONDS = 1.0
"""How old the list before may be: a node is gone if it is in neither, so that a reconnect is not taken for an end."""

_NAME = re.compile(rb" name=" + PREFIX.encode() + rb"(\S+)")


class ConnectedNodes:
    """The names of the connections to one server. Redis may not let this node list them; then no node is ever gone."""

    def __init__(self, node: NodeId, executor: Executor) -> None:
        self._node = node.encode()
        self._executor = executor
        self._lists: list[tuple[float, frozenset[bytes]]] = []  # the last two
        self._listing = asyncio.Lock()

    async def is_gone(self, node: NodeId) -> bool:
        """Whether a node had no connection twice, with a pause between."""
        async with self._listing:
            now = time.monotonic()
            if not self._lists or now - self._lists[-1][0] >= LIST_SECONDS:
                found = await self._list()
                recent = [one for one in self._lists[-1:] if now - one[0] < RECENT_SECONDS]
                self._lists = [*recent, (now, found)] if self._node in found else []
            return len(self._lists) > 1 and not any(node.encode() in found for _, found in self._lists)

    async def _list(self) -> frozenset[bytes]:
        try:
            (reply,) = await self._executor.run([("CLIENT", "LIST", "TYPE", "normal")])
        except LinkLost:
            return frozenset()
        return frozenset() if isinstance(reply, ResponseError) else frozenset(_NAME.findall(reply))
