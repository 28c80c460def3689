"""The heartbeat, and closing all at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mcp_actors.protocol.errors import CloseCode
from mcp_actors.protocol.events import LeaveReason
from mcp_actors.transports.connections import SLOTS, Connections
from tests.support.client import DEADLINE

if TYPE_CHECKING:
    from tests.conftest import ExpectedLogs

INTERVAL = 0.02


class Pinged:
    """A connection that answers pings while `alive`."""

    def __init__(self, connections: Connections, *, alive: bool = True) -> None:
        self.heard = True
        self.alive = alive
        self.pings = 0
        self.closed: CloseCode | None = None
        self.left: LeaveReason | None = None
        self.asked: float | None = None
        self.done = asyncio.Event()
        self.roomless_for = 0.0
        self._connections = connections
        connections.add(self)

    def ping(self) -> None:
        self.pings += 1
        self.heard = self.alive
        if self.pings == 3:
            self.done.set()

    def roomless(self, now: float) -> float:
        return self.roomless_for

    def ask_to_reconnect(self, after: float) -> None:
        self.asked = after

    def close(self, code: CloseCode, leave: LeaveReason = LeaveReason.DISCONNECTED) -> None:
        self.closed, self.left = code, leave
        self._connections.remove(self)
        self.done.set()

    def abort(self) -> None:
        self._connections.remove(self)


class Stubborn(Pinged):
    """A connection that does not go when told to."""

    def close(self, code: CloseCode, leave: LeaveReason = LeaveReason.DISCONNECTED) -> None:
        self.closed, self.left = code, leave


async def beat(connections: Connections, *pinged: Pinged) -> None:
    """Let the heartbeat run until each connection is closed or was pinged three times."""
    heart = asyncio.create_task(connections.keep_alive())
    async with asyncio.timeout(DEADLINE):
        for connection in pinged:
            await connection.done.wait()
    heart.cancel()
    await asyncio.gather(heart, return_exceptions=True)


async def test_the_silent_are_closed_after_one_unanswered_ping_and_the_others_stay() -> None:
    connections = Connections(10, INTERVAL)
    alive, dead = Pinged(connections), Pinged(connections, alive=False)
    await beat(connections, alive, dead)
    assert (dead.pings, dead.closed, dead.left) == (1, CloseCode.PING_TIMEOUT, LeaveReason.TIMEOUT)
    assert alive.closed is None
    assert len(connections) == 1


async def test_each_of_many_is_pinged_once_a_round() -> None:
    connections = Connections(10_000, INTERVAL)
    many = [Pinged(connections) for _ in range(3 * SLOTS + 1)]
    await beat(connections, *many)
    assert {connection.pings for connection in many} <= {3, 4}


async def test_comings_and_goings_bring_nobody_forward() -> None:
    connections = Connections(10_000, 10 * INTERVAL)
    steady = [Pinged(connections) for _ in range(SLOTS // 2)]
    looks: dict[Pinged, list[float]] = {connection: [] for connection in steady}
    loop = asyncio.get_running_loop()
    for connection in steady:
        connection.ping = lambda seen=looks[connection]: seen.append(loop.time())  # type: ignore[method-assign, misc]
    heart = asyncio.create_task(connections.keep_alive())
    async with asyncio.timeout(DEADLINE):
        while any(len(seen) < 2 for seen in looks.values()):
            for connection in steady:
                connection.heard = True
            for _ in range(7):
                connections.remove(Pinged(connections))
            Pinged(connections)
            await asyncio.sleep(INTERVAL / 4)
    heart.cancel()
    await asyncio.gather(heart, return_exceptions=True)
    assert min(seen[1] - seen[0] for seen in looks.values()) > 5 * INTERVAL


async def test_a_connection_that_fails_does_not_stop_the_heartbeat_of_others(expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.connection", "heartbeat failed")

    class Failing(Pinged):
        def ping(self) -> None:
            raise ValueError("a bug")

    connections = Connections(10, INTERVAL)
    Failing(connections)
    await beat(connections, Pinged(connections))


async def test_no_interval_is_no_heartbeat() -> None:
    connections = Connections(10, 0)
    connection = Pinged(connections, alive=False)
    await connections.keep_alive()
    assert connection.pings == 0


async def test_who_says_nothing_in_time_is_closed_and_who_spoke_is_not() -> None:
    connections = Connections(10, 0, first_words=INTERVAL)
    silent, spoken = Pinged(connections), Pinged(connections)
    connections.spoke(spoken)
    await beat(connections, silent)
    assert silent.closed is CloseCode.IDLE
    assert spoken.closed is None
    assert spoken.pings == 0


async def test_who_is_in_no_room_for_too_long_is_closed_and_the_others_are_pinged() -> None:
    connections = Connections(10, INTERVAL, roomless=5.0)
    idle, busy = Pinged(connections), Pinged(connections)
    idle.roomless_for, busy.roomless_for = 5.0, 4.9
    await beat(connections, idle, busy)
    assert (idle.closed, idle.pings) == (CloseCode.IDLE, 0)
    assert busy.closed is None


async def test_full_is_at_the_limit() -> None:
    connections = Connections(2, 0)
    first = Pinged(connections)
    refusals = [connections.refusal]
    Pinged(connections)
    refusals.append(connections.refusal)
    connections.remove(first)
    refusals.append(connections.refusal)
    assert refusals == [None, "The server holds as many connections as it may; try again later.", None]


async def test_closing_all_waits_until_they_are_gone_or_patience_ends() -> None:
    connections = Connections(10, 0)
    quick = Pinged(connections)
    await connections.close_all(CloseCode.GOING_AWAY, DEADLINE)
    assert quick.closed is CloseCode.GOING_AWAY
    assert "stopping" in str(connections.refusal)
    stubborn = Stubborn(connections)
    await connections.close_all(CloseCode.GOING_AWAY, 0.01)
    assert stubborn.closed is CloseCode.GOING_AWAY
    assert len(connections) == 0
