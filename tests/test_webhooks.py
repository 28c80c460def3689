"""Webhooks of the real program: three processes on one Redis, of which the one that reports is killed."""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter
from contextlib import ExitStack
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
import redis

from bench.engine import Engine
from mcp_actors.auth.secret import make
from tests.support.client import Client
from tests.support.loop import until
from tests.support.receiver import Receiver
from tests.support.server import Process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.receiver import Arrived

PATIENCE = 60.0
"""Seconds in which everything has arrived, even on a busy machine."""

ROOMS = [f"room {number}" for number in range(6)]


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine() as started:
        yield started


class Nodes:
    """Three processes, and what their members do: in each room one thing after another, which is noted."""

    def __init__(self, processes: dict[str, Process], rng: Random) -> None:
        self.processes = processes
        self.rng = rng
        self.members: dict[str, list[tuple[str, Client, str]]] = {room: [] for room in ROOMS}
        self.done: dict[str, list[tuple[str, str]]] = {room: [] for room in ROOMS}
        self._count = 0

    async def step(self, room: str) -> None:
        """Let somebody join or leave a room."""
        members = self.members[room]
        if len(members) > 1 and self.rng.random() < 0.45:
            await self.leave(room, self.rng.randrange(len(members)))
            return
        node = self.rng.choice(list(self.processes))
        self._count += 1
        name = f"peer {self._count}"
        client = await Client.open(f"ws://localhost:{self.processes[node].port}/ws/signaling/")
        await client.join(room, name)
        if not members:
            self.done[room].append(("room-opened", ""))
        members.append((name, client, node))
        self.done[room].append(("member-joined", name))

    async def leave(self, room: str, index: int) -> None:
        name, client, _ = self.members[room].pop(index)
        await client.say("leave", room)
        while (await client.hear())["type"] != "left":
            pass
        await client.end()
        self.done[room].append(("member-left", name))
        if not self.members[room]:
            self.done[room].append(("room-closed", ""))

    async def kill(self, node: str) -> set[str]:
        """Kill a process, and return its members, which are lost."""
        self.processes.pop(node).process.send_signal(signal.SIGKILL)
        lost = set()
        for room, members in self.members.items():
            for one in [one for one in members if one[2] == node]:
                members.remove(one)
                await one[1].end()
                lost.add(one[0])
                if not members:
                    self.done[room].append(("room-closed", ""))
        return lost

    async def end(self) -> None:
        for room in ROOMS:
            while self.members[room]:
                await self.leave(room, 0)


def node_of(process: Process) -> str:
    assert process.process.stderr is not None
    for line in process.process.stderr:
        if line.startswith("{") and (found := json.loads(line))["event"] == "listening":
            return str(found["node"])
    raise AssertionError("it does not listen")


async def wait_for(receiver: Receiver, count: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while len(receiver.unique()) < count:
            await asyncio.sleep(0.05)


async def test_all_events_arrive_in_order_although_the_receiver_fails_and_the_reporting_process_is_killed(
    engine: Engine, tmp_path: Path
) -> None:
    rng, receiver = Random(7), Receiver()  # noqa: S311 - reproducible, not secret
    client: Any = redis.Redis(port=engine.port)
    environ = receiver.environ | {
        "REDIS_URL": engine.url,
        "MCP_ACTORS_SECRET_KEY": make(),
        "MCP_ACTORS_NODE_LEASE": "1",
        "MCP_ACTORS_RESUME_WINDOW": "1",
        "MCP_ACTORS_WEBHOOK_TIMEOUT": "5",
    }
    with ExitStack() as running:
        started = [running.enter_context(Process(tmp_path, "--port", "0", **environ)) for _ in range(3)]
        processes = {node_of(one.wait_until_serving()): one for one in started}
        nodes = Nodes(processes, rng)
        receiver.answer = lambda _one: 500 if rng.random() < 0.1 else 200
        for _ in range(5):
            for room in ROOMS:
                await nodes.step(room)
        receiver.hold.clear()
        for room in ROOMS:
            await nodes.step(room)
        await until(lambda: sum(receiver.under_way.values()) > 1, "requests that are under way")
        reporting = client.hget("mcp-actors:{0}:reports", "node").decode()
        lost = await nodes.kill(reporting)
        receiver.hold.set()
        async with asyncio.timeout(PATIENCE):
            while client.hget("mcp-actors:{0}:reports", "node").decode() == reporting or not lost <= gone(receiver):
                await asyncio.sleep(0.05)
        for _ in range(3):
            for room in ROOMS:
                await nodes.step(room)
        await nodes.end()
        await wait_for(receiver, sum(map(len, nodes.done.values())) + len(lost))
        await asyncio.sleep(0.5)
        for process in processes.values():
            await asyncio.to_thread(process.stop)
    client.close()
    await receiver.stop()
    assert lost
    for room, done in nodes.done.items():
        told = receiver.of_room(room)
        assert [one for one in told if one[1] not in lost or one[0] != "member-left"] == done
        assert told[0] == ("room-opened", "")
        assert told[-1] == ("room-closed", "")
    counts = Counter((one.type, one.room, str(one.data.get("id", ""))) for one in receiver.unique())
    repeated = {what for what, count in counts.items() if count > 1}
    assert all(kind.startswith("room-") for kind, _, _ in repeated)
    reasons = {str(one.data["reason"]) for one in leaves(receiver) if one.data["id"] in lost}
    assert reasons == {"timeout"}


def leaves(receiver: Receiver) -> list[Arrived]:
    return [one for one in receiver.unique() if one.type == "member-left"]


def gone(receiver: Receiver) -> set[str]:
    return {str(one.data["id"]) for one in leaves(receiver)}
