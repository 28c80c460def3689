"""The connections that a link has given up, of which the server may not know.

What is on its way over them may arrive when the network works again: a join would be carried out after the leave that
followed it over the next connection, and other peers would see somebody come back for a moment who is gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mcp_actors.broker.redis.connection import RedisConnection, Reply


class FormerConnections:
    """Those to one run of a server, by the numbers that it gave them. It may not let this node end them."""

    def __init__(self) -> None:
        self._run_id = ""
        self._numbers: list[int] = []

    async def end(self, connection: RedisConnection, run_id: str) -> None:
        """Let the server end them, over a new connection to it: it reads nothing from them any more.

        Raises `LinkLost`. Another run of the server has none of them, and has given their numbers to others.
        """
        if self._numbers and run_id == self._run_id:
            await connection.send([("CLIENT", "KILL", "ID", number) for number in self._numbers])
        self._numbers = []

    def add(self, run_id: str, numbers: Iterable[Reply]) -> None:
        """Add connections that are about to be used, by the replies to CLIENT ID."""
        self._run_id = run_id
        self._numbers += [number for number in numbers if isinstance(number, int)]
