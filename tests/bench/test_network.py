from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import TYPE_CHECKING

import pytest

from bench.chaos.network import BOTH, Network, Path

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

DEADLINE = 30.0
SILENCE = 0.2
"""Seconds in which nothing may arrive over a path that is held."""

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Stage:
    """A path to a server played by the test."""

    def __init__(self) -> None:
        self.path: Path
        self.accepted: asyncio.Queue[Ends] = asyncio.Queue()
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        self.accepted.put_nowait((reader, writer))

    async def dialed(self) -> Ends:
        """Return the near end of a new connection."""
        ends = await asyncio.open_connection("127.0.0.1", self.path.port)
        self.writers.append(ends[1])
        return ends

    async def arrived(self) -> Ends:
        """Return the far end of the next connection."""
        async with asyncio.timeout(DEADLINE):
            return await self.accepted.get()

    async def connected(self) -> tuple[Ends, Ends]:
        """Return both ends of a new connection."""
        return await self.dialed(), await self.arrived()


@asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    made = Stage()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    with Network(Random(1)) as network:  # noqa: S311 - no secret
        made.path = network.path(server.sockets[0].getsockname()[1])
        yield made
        for writer in made.writers:
            writer.transport.abort()
        server.close()
        await server.wait_closed()


async def read(reader: asyncio.StreamReader, count: int) -> bytes:
    async with asyncio.timeout(DEADLINE):
        return await reader.readexactly(count)


async def silent(reader: asyncio.StreamReader) -> bool:
    """Whether nothing arrives for a while, not even the end."""
    try:
        async with asyncio.timeout(SILENCE):
            await reader.read(1)
    except TimeoutError:
        return True
    return False


async def test_bytes_pass_in_both_directions() -> None:
    async with stage() as on:
        (near, to_near), (far, to_far) = await on.connected()
        to_near.write(b"up")
        to_far.write(b"down")
        assert (await read(far, 2), await read(near, 4)) == (b"up", b"down")


async def test_a_held_direction_delivers_everything_in_order_once_it_is_mended() -> None:
    async with stage() as on:
        (near, to_near), (far, to_far) = await on.connected()
        on.path.hold("up")
        to_near.write(b"12")
        assert await silent(far)
        to_near.write(b"34")
        to_far.write(b"down")
        assert await read(near, 4) == b"down", "the other direction is open"
        on.path.mend()
        assert await read(far, 4) == b"1234"


async def test_the_end_of_a_connection_is_held_like_data() -> None:
    async with stage() as on:
        (_, to_near), (far, _) = await on.connected()
        on.path.hold(*BOTH)
        to_near.close()
        assert await silent(far)
        on.path.mend()
        async with asyncio.timeout(DEADLINE):
            assert await far.read() == b""


async def test_a_new_connection_over_a_held_path_reaches_nobody_until_it_is_mended() -> None:
    async with stage() as on:
        on.path.hold("down")
        near, to_near = await on.dialed()
        to_near.write(b"hello")
        assert await silent(near)
        assert on.accepted.empty()
        on.path.mend()
        far, _ = await on.arrived()
        assert await read(far, 5) == b"hello"


@pytest.mark.parametrize(("stall", "share", "least"), [(0.0, 0.0, 0.1), (0.2, 1.0, 0.3)], ids=["latency", "stalled"])
async def test_delayed_bytes_are_late(stall: float, share: float, least: float) -> None:
    async with stage() as on:
        (_, to_near), (far, _) = await on.connected()
        on.path.delay(0.1, stall, share)
        began = time.monotonic()
        to_near.write(b"late")
        assert await read(far, 4) == b"late"
        assert time.monotonic() - began >= least / 2  # a timer counts from the start of the loop's turn


async def test_a_connection_to_a_port_where_nobody_listens_is_aborted() -> None:
    with Network(Random(1)) as network:  # noqa: S311 - no secret
        near, to_near = await asyncio.open_connection("127.0.0.1", network.path(1).port)
        async with asyncio.timeout(DEADLINE):
            with suppress(ConnectionResetError):
                assert await near.read() == b""
        to_near.transport.abort()


async def test_a_cut_ends_all_connections_and_further_ones_are_accepted() -> None:
    async with stage() as on:
        (near, to_near), (far, to_far) = await on.connected()
        to_near.write(b"up")
        to_far.write(b"down")
        assert (await read(far, 2), await read(near, 4)) == (b"up", b"down"), "both directions are open"
        on.path.cut()
        for end in (near, far):
            async with asyncio.timeout(DEADLINE):
                with suppress(ConnectionError):
                    assert await end.read() == b""
        (_, to_near), (far, _) = await on.connected()
        to_near.write(b"again")
        assert await read(far, 5) == b"again"


async def test_a_redirected_path_connects_to_the_other_port() -> None:
    greeted = asyncio.Event()

    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        greeted.set()
        writer.close()

    async with stage() as on:
        other = await asyncio.start_server(greet, "127.0.0.1", 0)
        on.path.redirect(other.sockets[0].getsockname()[1])
        await on.dialed()
        async with asyncio.timeout(DEADLINE):
            await greeted.wait()
        assert on.accepted.empty()
        other.close()
        await other.wait_closed()
