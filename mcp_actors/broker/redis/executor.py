"""Commands with replies that tasks wait for, sent through the write queue among everything else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from mcp_actors.broker.redis.connection import LinkLost
from mcp_actors.broker.redis.write_queue import Call

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mcp_actors.broker.redis.connection import Command, Reply


class Executor:
    """`call` appends a call to the write queue; it is dropped if the link breaks before its reply."""

    def __init__(self, call: Callable[[Call], None]) -> None:
        self.call = call
        self.up = asyncio.Event()
        """Set while the link is up."""

    async def run(self, commands: Sequence[Command]) -> list[Reply]:
        """Send commands and wait for their replies, `ResponseError` among them. Raises `LinkLost`."""
        if not self.up.is_set():
            raise LinkLost("the link to Redis is down")
        replies = [asyncio.get_running_loop().create_future() for _ in commands]
        for command, reply in zip(commands, replies, strict=True):
            self.call(_call(command, reply))
        return list(await asyncio.gather(*replies))


def _call(command: Command, future: asyncio.Future[Any]) -> Call:
    def answered(reply: Reply) -> None:
        if not future.done():
            future.set_result(reply)

    def dropped() -> None:
        if not future.done():
            future.set_exception(LinkLost("the link to Redis broke"))

    return Call(command, answered, dropped)
