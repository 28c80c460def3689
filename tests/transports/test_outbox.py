"""The outbox: order, bounds, and the end."""

from __future__ import annotations

import asyncio

import pytest
from tornado.websocket import WebSocketClosedError

from mcp_actors.transports.outbox import STOCK_WRITES, Outbox, StockWriter


class Socket:
    """A socket that can be closed."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.overflows = 0
        self.closed = False

    def write(self, frame: bytes) -> None:
        if self.closed:
            raise WebSocketClosedError
        self.taken.append(frame)

    def overflow(self) -> None:
        self.overflows += 1

    def outbox(self, max_frames: int = 3, max_bytes: int = 1000) -> Outbox:
        return Outbox(self.write, self.overflow, max_frames=max_frames, max_bytes=max_bytes)


def test_frames_are_written_at_once_while_the_socket_is_writable_and_wait_in_order_while_it_is_not() -> None:
    socket = Socket()
    outbox = socket.outbox()
    assert outbox.put(b"1")
    outbox.on_writable(False)
    assert outbox.put(b"2")
    assert outbox.put(b"3")
    assert socket.taken == [b"1"]
    outbox.on_writable(True)
    assert outbox.put(b"4")
    assert socket.taken == [b"1", b"2", b"3", b"4"]


def test_a_socket_that_has_enough_again_is_heard_while_what_waits_is_written() -> None:
    socket = Socket()

    def write(frame: bytes) -> None:
        socket.write(frame)
        outbox.on_writable(False)

    outbox = Outbox(write, socket.overflow, max_frames=9, max_bytes=99)
    for frame in (b"1", b"2", b"3"):
        outbox.put(frame)
    assert socket.taken == [b"1"]
    outbox.on_writable(True)
    assert socket.taken == [b"1", b"2"]
    outbox.on_writable(True)
    assert socket.taken == [b"1", b"2", b"3"]


@pytest.mark.parametrize(("max_frames", "max_bytes"), [(3, 1000), (1000, 3)])
def test_too_many_waiting_frames_or_bytes_overflow_once(max_frames: int, max_bytes: int) -> None:
    socket = Socket()
    outbox = socket.outbox(max_frames, max_bytes)
    outbox.on_writable(False)
    assert all(outbox.put(b"x") for _ in range(3))
    assert not outbox.put(b"x")
    assert not outbox.put(b"x")
    assert socket.overflows == 1
    outbox.on_writable(True)
    assert socket.taken == []


def test_what_was_written_makes_room_for_more() -> None:
    socket = Socket()
    outbox = socket.outbox(1, 4)
    for _ in range(5):
        outbox.on_writable(False)
        assert outbox.put(b"xxxx")
        outbox.on_writable(True)
    assert len(socket.taken) == 5


def test_a_closed_socket_takes_nothing_and_says_so() -> None:
    socket = Socket()
    outbox = socket.outbox()
    socket.closed = True
    assert not outbox.put(b"x")
    assert not outbox.put(b"x")
    assert socket.overflows == 0


class Tornado:
    """Tornado's side of a socket: each write is a future."""

    def __init__(self) -> None:
        self.pending: list[asyncio.Future[None]] = []
        self.writable: list[bool] = []

    def write_message(self, _frame: bytes) -> asyncio.Future[None]:
        self.pending.append(asyncio.get_running_loop().create_future())
        return self.pending[-1]


async def test_a_stock_socket_has_enough_at_so_many_writes_and_takes_more_when_all_are_done() -> None:
    tornado = Tornado()
    writer = StockWriter(tornado.write_message, tornado.writable.append)
    for _ in range(STOCK_WRITES):
        writer.write(b"x")
    assert tornado.writable == [False]
    for future in tornado.pending[1:]:
        future.set_result(None)
    await asyncio.sleep(0)
    assert tornado.writable == [False]
    tornado.pending[0].set_exception(WebSocketClosedError())
    await asyncio.sleep(0)
    assert tornado.writable == [False, True]
