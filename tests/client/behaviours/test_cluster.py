"""Three processes with one Redis, of which some are killed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.client.behaviours.driver import Refused
from tests.support.server import Process
from tests.support.tokens import SECRET
from tests.web.network_path import NetworkPath

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.engine import Engine
    from tests.client.behaviours.conftest import Connects
    from tests.client.behaviours.driver import Room

ARGUMENTS = ("--host", "127.0.0.1", "--port", "0")
BATCH = 25


@pytest.fixture
def processes(tmp_path: Path, engine: Engine, prefix: str) -> Iterator[list[Process]]:
    environ = {"MCP_ACTORS_SECRET_KEY": SECRET, "REDIS_URL": engine.url, "MCP_ACTORS_REDIS_PREFIX": prefix}
    processes = [Process(tmp_path, *ARGUMENTS, **environ) for _ in range(3)]
    for process in processes:
        process.wait_until_serving()
    yield processes
    for process in processes:
        with process:
            pass


class Talk:
    """Two members that send each other numbers.

    A number that was acknowledged must arrive, once and in order. Of one that was on its way when a process was killed
    the sender is told that it may have arrived; that may not arrive twice.
    """

    def __init__(self, a: Room, b: Room) -> None:
        self._rooms = {"a": a, "b": b}
        self._sent = 0

    async def go_on(self) -> None:
        """Send a number of signals both ways at once, and hear all of them."""
        numbers = list(range(self._sent, self._sent + BATCH))
        self._sent += BATCH
        await asyncio.gather(self._one_way("a", "b", numbers), self._one_way("b", "a", numbers))

    async def _one_way(self, sender: str, receiver: str, numbers: list[int]) -> None:
        hearing = asyncio.create_task(self._hear(receiver, numbers[-1]))
        certain = {number for number in numbers if await self._is_acknowledged(sender, receiver, number)}
        while not await self._is_acknowledged(sender, receiver, {"end": numbers[-1]}):
            pass
        heard = await hearing
        assert heard == sorted(set(heard))
        assert certain <= set(heard) <= set(numbers)

    async def _hear(self, receiver: str, last: int) -> list[int]:
        heard: list[int] = []
        while (data := (await self._rooms[receiver].data(1, passing=["rejoined", "peer-joined"]))[0]) != {"end": last}:
            if isinstance(data, int):
                heard.append(data)
        return heard

    async def _is_acknowledged(self, sender: str, receiver: str, data: object) -> bool:
        """Send a signal, again while it was not relayed; return False if it may have been."""
        while True:
            try:
                return await self._rooms[sender].send("signal", receiver, data) in {"delivered", "queued"}
            except Refused as error:
                if error.code == "unknown":
                    return False
                if error.code not in {"unavailable", "connection-lost"}:
                    raise
            await asyncio.sleep(0.01)


async def test_nothing_is_lost_or_arrives_twice_while_processes_are_killed(
    processes: list[Process], connect: Connects
) -> None:
    paths = [NetworkPath(process.port) for process in processes[:2]]
    a = await (await connect.peer(paths[0])).join("r", "a")
    b = await (await connect.peer(paths[1])).join("r", "b")
    talk = Talk(a, b)
    await talk.go_on()
    for path, process in zip(paths, processes, strict=False):
        going_on = asyncio.create_task(talk.go_on())
        await asyncio.sleep(0.01)  # some signals are on their way
        path.lead_to(processes[2].port)
        process.process.kill()
        await going_on
    await talk.go_on()
    for path in paths:
        path.cut()
