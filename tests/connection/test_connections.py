"""The open connections: limited, pinged, and closed when they are dead or idle, or all together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mcp_actors.connection.connections import BATCH, SLOTS, Connections
from mcp_actors.protocol.errors import CloseCode
from mcp_actors.protocol.events import LeaveReason
from tests.support.client import DEADLINE
from tests.support.loop import until

if TYPE_CHECKING:
    from tests.conftest import ExpectedLogs

INTERVAL = 0.02


class FakeConnection:
    """A connection that answers pings while `alive`."""

    def __init__(self, connections: Connections, *, alive: bool = True) -> None:
        self.id = 7
        self.alive = alive
        self.in_room = True
        self.pings = 0
        self.closed: CloseCode | None = None
        self.left: LeaveReason | None = None
        self.asked: float | None = None
        self.stuck = self.dropped = False
        self.done = asyncio.Event()
        self._heard = True
        self._connections = connections
        connections.add(self, asyncio.get_running_loop().time())

    def take_heard(self) -> bool:
        heard, self._heard = self._heard, False
        return heard

    def is_stuck(self) -> bool:
        return self.stuck

    def ping(self) -> None:
        self.pings += 1
        self._heard = self.alive
        if self.pings == 3:
            self.done.set()

    def ask_to_reconnect(self, after: float) -> None:
        self.asked = after

    def close(self, code: CloseCode, leave: LeaveReason = LeaveReason.DISCONNECTED) -> None:
        self.closed, self.left = code, leave
        self._connections.remove(self)
        self.done.set()

    def drop(self) -> None:
        self.dropped = True
        if self.closed is None:
            self.close(CloseCode.SLOW_PEER)
        self._connections.remove(self)


def watched(interval: float, limit: int = 10_000, *, first: float = 0.0, idle: float = 0.0) -> Connections:
    return Connections(limit, interval, first_message_timeout=first, idle_timeout=idle)


async def beat(connections: Connections, *until_done: FakeConnection) -> None:
    """Let the heartbeat run until each connection is closed or was pinged three times."""
    task = asyncio.create_task(connections.run())
    async with asyncio.timeout(DEADLINE):
        for connection in until_done:
            await connection.done.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_dead_connection_is_closed_after_one_unanswered_ping_and_others_stay() -> None:
    connections = watched(INTERVAL)
    alive, dead = FakeConnection(connections), FakeConnection(connections, alive=False)
    await beat(connections, alive, dead)
    assert (dead.pings, dead.closed, dead.left) == (1, CloseCode.PING_TIMEOUT, LeaveReason.TIMEOUT)
    assert alive.closed is None
    assert len(connections) == 1


async def test_a_connection_that_takes_nothing_is_dropped_as_slow_though_its_client_is_heard() -> None:
    connections = watched(INTERVAL)
    stuck, other = FakeConnection(connections), FakeConnection(connections)
    stuck.stuck = True
    await beat(connections, stuck, other)
    assert (stuck.dropped, stuck.closed, other.closed) == (True, CloseCode.SLOW_PEER, None)


async def test_each_of_many_connections_is_pinged_once_a_round() -> None:
    connections = watched(INTERVAL)
    many = [FakeConnection(connections) for _ in range(3 * SLOTS + 1)]
    await beat(connections, *many)
    assert {connection.pings for connection in many} <= {3, 4}


async def test_a_ping_does_not_come_early_because_others_open_and_close() -> None:
    connections = watched(10 * INTERVAL)
    loop = asyncio.get_running_loop()

    class Steady(FakeConnection):
        def __init__(self, connections: Connections) -> None:
            super().__init__(connections)
            self.times: list[float] = []

        def ping(self) -> None:
            super().ping()
            self.times.append(loop.time())

    steady = [Steady(connections) for _ in range(SLOTS // 2)]
    task = asyncio.create_task(connections.run())
    async with asyncio.timeout(DEADLINE):
        while any(len(connection.times) < 2 for connection in steady):
            for _ in range(7):
                connections.remove(FakeConnection(connections))
            FakeConnection(connections)
            await asyncio.sleep(INTERVAL / 4)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert min(connection.times[1] - connection.times[0] for connection in steady) > 5 * INTERVAL


async def test_a_connection_that_fails_does_not_stop_the_heartbeat_of_others(expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.connection", "heartbeat failed")

    class Failing(FakeConnection):
        def ping(self) -> None:
            raise ValueError("a bug")

    connections = watched(INTERVAL)
    Failing(connections)
    await beat(connections, FakeConnection(connections))


async def test_without_an_interval_nothing_is_pinged() -> None:
    connections = watched(0)
    connection = FakeConnection(connections, alive=False)
    task = asyncio.create_task(connections.run())
    await asyncio.sleep(5 * INTERVAL)
    task.cancel()
    assert connection.pings == 0
    assert connection.closed is None


async def test_a_connection_without_a_first_message_is_closed_in_time() -> None:
    connections = watched(0, first=INTERVAL)
    silent, spoken = FakeConnection(connections), FakeConnection(connections)
    connections.spoke(spoken)
    await beat(connections, silent)
    assert silent.closed is CloseCode.IDLE
    assert spoken.closed is None
    assert spoken.pings == 0


async def test_a_connection_in_no_room_is_closed_in_time_and_others_are_pinged() -> None:
    connections = watched(INTERVAL, idle=INTERVAL)
    idle, busy = FakeConnection(connections), FakeConnection(connections)
    idle.in_room = False
    await beat(connections, idle, busy)
    assert idle.closed is CloseCode.IDLE
    assert busy.closed is None


async def test_the_idle_time_starts_anew_with_each_join() -> None:
    connections = watched(INTERVAL, idle=10.0)
    connection = FakeConnection(connections)
    connection.in_room = False
    task = asyncio.create_task(connections.run())
    for _ in range(3):
        before = connection.pings
        await until(lambda before=before: connection.pings > before, "it is checked")  # type: ignore[misc]
        connections.joins(connection)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert connection.closed is None


async def test_no_more_connections_are_accepted_than_the_limit() -> None:
    connections = watched(0, limit=2)
    first = FakeConnection(connections)
    refusals = [connections.refusal]
    FakeConnection(connections)
    refusals.append(connections.refusal)
    connections.remove(first)
    refusals.append(connections.refusal)
    assert refusals == [None, "The server holds as many connections as it may; try again later.", None]


async def test_closing_all_waits_until_they_are_gone_and_aborts_the_rest_in_time() -> None:
    class Stubborn(FakeConnection):
        def close(self, code: CloseCode, leave: LeaveReason = LeaveReason.DISCONNECTED) -> None:
            self.closed, self.left = code, leave

    connections = watched(0)
    quick = FakeConnection(connections)
    await connections.close_all(CloseCode.GOING_AWAY, DEADLINE)
    assert quick.closed is CloseCode.GOING_AWAY
    assert "stopping" in str(connections.refusal)
    stubborn = Stubborn(connections)
    await connections.close_all(CloseCode.GOING_AWAY, 0.01)
    assert stubborn.closed is CloseCode.GOING_AWAY
    assert len(connections) == 0


async def test_many_connections_are_closed_in_several_turns_of_the_loop() -> None:
    connections = watched(0)
    many = [FakeConnection(connections) for _ in range(3 * BATCH)]
    task = asyncio.create_task(connections.close_all(CloseCode.GOING_AWAY, DEADLINE))
    open_at_each_turn = []
    while not task.done():
        open_at_each_turn.append(len(connections))
        await asyncio.sleep(0)
    assert {2 * BATCH, BATCH} <= set(open_at_each_turn)
    assert all(one.closed is CloseCode.GOING_AWAY for one in many)


async def test_a_connection_that_cannot_be_closed_does_not_keep_the_others_open(expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.connection", "closing a connection failed")

    class Failing(FakeConnection):
        def close(self, code: CloseCode, leave: LeaveReason = LeaveReason.DISCONNECTED) -> None:
            raise ValueError("a bug")

        def drop(self) -> None:
            raise ValueError("a bug")

    connections = watched(0)
    Failing(connections)
    other = FakeConnection(connections)
    await connections.close_all(CloseCode.GOING_AWAY, 0.01)
    assert other.closed is CloseCode.GOING_AWAY
