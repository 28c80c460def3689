from __future__ import annotations

import asyncio
from random import Random

import pytest

from tests.simulation.loop import START, Process, SimulationLoop, SimulationOver
from tests.simulation.network import Delay, Network, StreamTransport


class Lines(asyncio.Protocol):
    """The data that arrives, and how the connection ends."""

    def __init__(self) -> None:
        self.data = b""
        self.ended: list[Exception | None] = []

    def data_received(self, data: bytes) -> None:
        self.data += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.append(exc)


def make(seed: int = 1) -> SimulationLoop:
    return SimulationLoop(Random(seed))  # noqa: S311 - reproducible, not secret


def test_time_passes_only_when_nothing_else_can_happen() -> None:
    loop = make()

    async def sleep() -> float:
        await asyncio.sleep(3600)
        return loop.time()

    assert loop.run_until_complete(sleep()) == START + 3600
    loop.end()


def test_a_process_keeps_the_order_of_its_callbacks_and_the_seed_mixes_processes() -> None:
    def order(seed: int) -> list[str]:
        loop, seen = make(seed), list[str]()
        for name in ("a", "b", "c"):
            process = Process(loop, name)
            for number in range(3):
                loop.at(START + number, process, seen.append, f"{name}{number}")
        with pytest.raises(SimulationOver):
            loop.run_forever()
        loop.end()
        return seen

    for seed in range(5):
        for name in ("a", "b", "c"):
            assert [one for one in order(seed) if one[0] == name] == [f"{name}{number}" for number in range(3)]
        assert order(seed) == order(seed)
    assert len({tuple(order(seed)) for seed in range(20)}) > 1


def test_a_paused_process_is_late_and_a_dead_one_does_nothing_more() -> None:
    loop, seen = make(), list[str]()
    slow, dead, other = (Process(loop, name) for name in ("slow", "dead", "other"))
    for process in (slow, dead, other):
        loop.at(START + 1, process, lambda process=process: seen.append(f"{process} {loop.now - START:g}"))
    slow.pause()
    dead.kill()
    loop.at(START + 2, other, slow.resume)
    with pytest.raises(SimulationOver):
        loop.run_forever()
    loop.end()
    assert seen == ["other 1", "slow 2"]


def test_a_process_has_a_clock_of_its_own() -> None:
    loop = make()
    fast = Process(loop, "fast", rate=1.5)

    async def sleep() -> float:
        await asyncio.sleep(3)
        return loop.time()

    assert loop.run_until_complete(fast.spawn(sleep())) == pytest.approx(START + 3)
    assert loop.now == pytest.approx(START + 2)
    loop.end()


def test_a_simulation_has_no_outside() -> None:
    loop = make()
    with pytest.raises(RuntimeError, match="no threads"):
        loop.run_in_executor(None, print)
    with pytest.raises(RuntimeError, match="no names"):
        loop.run_until_complete(loop.getaddrinfo("example.com", 80))
    with pytest.raises(RuntimeError, match="no sockets"):
        loop.run_until_complete(loop.create_server(Lines))
    loop.end()


def connected(loop: SimulationLoop) -> tuple[Network, asyncio.Transport, Lines, Lines]:
    """A network, and a connection from one process to another."""
    network, here, there = Network(loop, loop.rng), Process(loop, "here"), Process(loop, "there")
    mine, theirs = Lines(), Lines()
    network.listen("there", there, lambda end: StreamTransport(end, theirs))
    transport, _ = loop.run_until_complete(here.spawn(loop.create_connection(lambda: mine, "there", 1)))
    return network, transport, mine, theirs


def test_a_connection_keeps_order_whatever_packets_take() -> None:
    loop = make()
    network, transport, _, theirs = connected(loop)
    network.slow(Delay(0.0, 1.0, loss=0.5))
    for number in range(10):
        transport.write(b"%d" % number)
    loop.run_until_complete(asyncio.sleep(60))
    assert theirs.data == b"0123456789"
    loop.end()


def test_a_blocked_path_holds_what_is_sent_and_tells_nobody() -> None:
    loop = make()
    network, transport, mine, theirs = connected(loop)
    network.path("here", "there").block(loop.now)
    transport.write(b"late")
    loop.run_until_complete(asyncio.sleep(60))
    assert (theirs.data, mine.ended, theirs.ended) == (b"", [], [])
    network.path("here", "there").open()
    loop.run_until_complete(asyncio.sleep(60))
    assert theirs.data == b"late"
    loop.end()


@pytest.mark.parametrize(("last_bytes", "data"), [(True, b"last"), (False, b"")])
def test_a_connection_is_cut_with_or_without_its_last_bytes(*, last_bytes: bool, data: bytes) -> None:
    loop = make()
    network, transport, mine, theirs = connected(loop)
    transport.write(b"last")
    network.wires[0].cut(last_bytes=last_bytes)
    loop.run_until_complete(asyncio.sleep(1))
    assert theirs.data == data
    assert [type(error) for error in (*mine.ended, *theirs.ended)] == [ConnectionResetError] * 2
    loop.end()


def test_the_connections_of_a_killed_process_are_reset_unless_its_machine_is_gone() -> None:
    for silent in (False, True):
        loop = make()
        network, _, mine, _ = connected(loop)
        network.kill(network.wires[0].server.process, silent=silent)
        loop.run_until_complete(asyncio.sleep(60))
        assert bool(mine.ended) is not silent
        loop.end()
