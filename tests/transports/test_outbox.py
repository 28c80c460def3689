"""The outbox: order, bounds, and the end."""

from __future__ import annotations

import asyncio

import pytest
from tornado.websocket import WebSocketClosedError

from mcp_actors.transports.outbox import Outbox


class Socket:
    """A socket that takes a frame when told to."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.pending: list[asyncio.Future[None]] = []
        self.overflows = 0
        self.closed = False

    def write(self, frame: bytes) -> asyncio.Future[None]:
        if self.closed:
            raise WebSocketClosedError
        self.taken.append(frame)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.pending.append(future)
        return future

    async def take(self) -> None:
        pending, self.pending = self.pending, []
        for future in pending:
            future.set_result(None)
        await asyncio.sleep(0)

    def overflow(self) -> None:
        self.overflows += 1

    def outbox(self, max_frames: int = 3, max_bytes: int = 1000) -> Outbox:
        return Outbox(self.write, self.overflow, max_frames=max_frames, max_bytes=max_bytes)


async def test_frames_are_written_in_order_and_no_faster_than_they_are_taken() -> None:
    socket = Socket()
    outbox = socket.outbox()
    assert [outbox.put(frame) for frame in (b"1", b"2", b"3")] == [True] * 3
    assert socket.taken == [b"1"]
    await socket.take()
    assert socket.taken == [b"1", b"2", b"3"]
    assert outbox.put(b"4")
    await socket.take()
    assert socket.taken == [b"1", b"2", b"3", b"4"]
    await socket.take()
    assert outbox.put(b"5")
    assert socket.taken[-1] == b"5"
    await socket.take()


@pytest.mark.parametrize(("max_frames", "max_bytes"), [(3, 1000), (1000, 3)])
async def test_too_many_waiting_frames_or_bytes_overflow_once(max_frames: int, max_bytes: int) -> None:
    socket = Socket()
    outbox = socket.outbox(max_frames, max_bytes)
    assert all(outbox.put(b"x") for _ in range(4))
    assert not outbox.put(b"x")
    assert not outbox.put(b"x")
    assert socket.overflows == 1
    await socket.take()
    assert socket.taken == [b"x"]


async def test_a_single_frame_may_exceed_what_may_wait() -> None:
    socket = Socket()
    assert socket.outbox(1, 3).put(b"xxxx")
    await socket.take()


async def test_a_closed_socket_takes_nothing_and_says_so() -> None:
    socket = Socket()
    outbox = socket.outbox()
    socket.closed = True
    assert not outbox.put(b"x")
    assert not outbox.put(b"x")
    assert socket.overflows == 0


async def test_a_write_that_fails_closes_the_outbox() -> None:
    socket = Socket()
    outbox = socket.outbox()
    outbox.put(b"1")
    outbox.put(b"2")
    socket.pending[0].set_exception(WebSocketClosedError())
    await asyncio.sleep(0)
    assert not outbox.put(b"3")
    assert socket.taken == [b"1"]
