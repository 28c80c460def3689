"""Frames of one turn of the loop go to each socket in one piece."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from mcp_actors.ws.frames import PING, TEXT, write_close, write_frame
from mcp_actors.ws.write_coalescer import BULK_WRITES, MAX_PENDING
from tests.support.frame_loops import connected, shared

if TYPE_CHECKING:
    from tests.conftest import ExpectedLogs


async def test_all_frames_of_a_turn_go_to_each_socket_in_one_piece() -> None:
    loops = shared()
    (a, a_transport), (b, b_transport) = connected(loops), connected(loops)
    a.send(b"o", b"ne")
    b.send(b"", b"for b")
    a.ping(b"2")
    a.send(b"three", b"")
    assert a_transport.calls == b_transport.calls == []
    await asyncio.sleep(0)
    assert a_transport.calls == [write_frame(TEXT, b"one") + write_frame(PING, b"2") + write_frame(TEXT, b"three")]
    assert b_transport.calls == [write_frame(TEXT, b"for b")]
    a.send(b"", b"later")
    await asyncio.sleep(0)
    assert a_transport.calls[1:] == [write_frame(TEXT, b"later")]
    assert len(b_transport.calls) == 1


async def test_a_shared_body_is_not_copied_before_the_write() -> None:
    loops, body = shared(), b"x" * 10_000
    pairs = [connected(loops) for _ in range(3)]
    references = sys.getrefcount(body)
    for number, (frame_loop, _) in enumerate(pairs):
        frame_loop.send(b"%d" % number, body)
    assert sys.getrefcount(body) == references + 3
    await asyncio.sleep(0)
    assert [transport.calls for _, transport in pairs] == [
        [write_frame(TEXT, b"%d" % number + body)] for number in range(3)
    ]


async def test_many_bytes_do_not_wait_for_the_end_of_the_turn() -> None:
    frame_loop, transport = connected(shared())
    half = b"x" * (MAX_PENDING // 2)
    frame_loop.send(half, b"")
    frame_loop.send(b"", half)
    assert transport.calls == [write_frame(TEXT, half) * 2]
    frame_loop.send(b"", b"rest")
    await asyncio.sleep(0)
    assert transport.calls[1:] == [write_frame(TEXT, b"rest")]


async def test_pending_frames_are_written_before_the_socket_is_closed() -> None:
    frame_loop, transport = connected(shared())
    frame_loop.send(b"", b"last words")
    frame_loop.close_received(1000)
    assert transport.calls == [write_frame(TEXT, b"last words") + write_close(1000, ""), "close"]
    frame_loop.connection_lost(None)
    await asyncio.sleep(0)
    assert len(transport.calls) == 2


async def test_a_connection_that_is_lost_in_the_same_turn_is_not_written_to() -> None:
    loops = shared()
    (a, a_transport), (b, b_transport) = connected(loops), connected(loops)
    a.send(b"", b"in vain")
    b.send(b"", b"for b")
    a.connection_lost(None)
    a.send(b"", b"late")
    await asyncio.sleep(0)
    assert a_transport.calls == []
    assert b_transport.calls == [write_frame(TEXT, b"for b")]


async def test_frames_that_are_sent_before_there_is_a_socket_wait_for_it() -> None:
    frame_loop, transport = connected(shared(), connect=False)
    frame_loop.send(b"", b"first")
    await asyncio.sleep(0)
    frame_loop.send(b"", b"second")
    frame_loop.connection_made(transport)
    assert transport.calls == [write_frame(TEXT, b"first") + write_frame(TEXT, b"second")]


async def test_a_socket_that_fails_does_not_affect_others(expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.ws", "write failed")
    loops = shared()
    (a, a_transport), (b, b_transport) = connected(loops), connected(loops)
    a_transport.broken = True
    a.send(b"", b"in vain")
    b.send(b"", b"for b")
    await asyncio.sleep(0)
    assert a_transport.calls == ["abort"]
    assert b_transport.calls == [write_frame(TEXT, b"for b")]


async def test_bulk_frames_are_written_over_several_turns_and_those_of_a_connection_together() -> None:
    loops = shared()
    crowd = [connected(loops) for _ in range(2 * BULK_WRITES + 1)]
    written: list[int] = []
    for number in range(4):
        for frame_loop, _ in crowd if number < 2 else crowd[-1:]:
            frame_loop.send(b"", b"%d" % number, bulk=True)
        written.append(sum(bool(transport.calls) for _, transport in crowd))
        await asyncio.sleep(0)
    frames = [write_frame(TEXT, b"%d" % number) for number in range(4)]
    assert written == [0, BULK_WRITES, 2 * BULK_WRITES, 2 * BULK_WRITES + 1]
    assert crowd[0][1].calls == [frames[0], frames[1]]
    assert crowd[BULK_WRITES][1].calls == [frames[0] + frames[1]]
    assert crowd[-1][1].calls == [frames[0] + frames[1] + frames[2], frames[3]]


async def test_a_frame_that_is_no_bulk_frame_is_written_in_its_turn_with_those_before_it() -> None:
    loops = shared()
    crowd = [connected(loops) for _ in range(2 * BULK_WRITES)]
    for frame_loop, _ in crowd:
        frame_loop.send(b"", b"to many", bulk=True)
    last, transport = crowd[-1]
    last.send(b"", b"to one")
    last.send(b"", b"to many again", bulk=True)
    last.send(b"", b"to one again")
    await asyncio.sleep(0)
    texts = (b"to many", b"to one", b"to many again", b"to one again")
    assert transport.calls == [b"".join(write_frame(TEXT, text) for text in texts)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert {len(transport.calls) for _, transport in crowd} == {1}


async def test_a_connection_that_is_lost_before_its_bulk_frames_are_written_affects_no_other(
    expected_logs: ExpectedLogs,
) -> None:
    expected_logs("mcp_actors.ws", "write failed")
    loops = shared()
    (lost, lost_transport), (broken, broken_transport), (other, transport) = (connected(loops) for _ in range(3))
    broken_transport.broken = True
    for frame_loop in (lost, broken, other):
        frame_loop.send(b"", b"to many", bulk=True)
    lost.connection_lost(None)
    await asyncio.sleep(0)
    assert (lost_transport.calls, broken_transport.calls) == ([], ["abort"])
    assert transport.calls == [write_frame(TEXT, b"to many")]
