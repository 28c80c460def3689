from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mcp_actors.transports.frame_loop import MOST_GATHERED, FrameLoop
from mcp_actors.transports.frames import PING, TEXT, write_close, write_frame
from mcp_actors.transports.turns import Turns
from mcp_actors.transports.writes import Writes

if TYPE_CHECKING:
    from tests.conftest import ExpectedLogs


class Handler:
    """A handler that hears nothing."""

    request = None

    def on_writable(self, writable: bool) -> None:
        return

    def on_closing(self, code: int | None) -> None:
        return

    def on_ws_connection_close(self, close_code: int | None = None, close_reason: str | None = None) -> None:
        return


class Notebook(asyncio.Transport):
    """A transport that notes what is asked of it, call by call."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[bytes | str] = []
        self.broken = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.broken:
            raise RuntimeError("this transport is broken")
        self.noted.append(bytes(data))

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        return

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.noted.append("eof")

    def close(self) -> None:
        self.noted.append("close")

    def abort(self) -> None:
        self.noted.append("abort")


def connection(writes: Writes) -> tuple[FrameLoop, Notebook]:
    loop, notebook = FrameLoop(Handler(), writes, Turns(1), 1000), Notebook()  # type: ignore[arg-type]
    loop.connection_made(notebook)
    return loop, notebook


async def test_all_frames_of_a_turn_go_to_each_socket_in_one_piece() -> None:
    writes = Writes()
    (a, a_notes), (b, b_notes) = connection(writes), connection(writes)
    a.write_text(b"one")
    b.write_text(b"for b")
    a.write(write_frame(PING, b"2"))
    a.write_text(b"three")
    assert a_notes.noted == b_notes.noted == []
    await asyncio.sleep(0)
    assert a_notes.noted == [write_frame(TEXT, b"one") + write_frame(PING, b"2") + write_frame(TEXT, b"three")]
    assert b_notes.noted == [write_frame(TEXT, b"for b")]
    a.write_text(b"later")
    await asyncio.sleep(0)
    assert a_notes.noted[1:] == [write_frame(TEXT, b"later")]
    assert len(b_notes.noted) == 1


async def test_what_is_much_does_not_wait_for_the_end_of_the_turn() -> None:
    loop, notebook = connection(Writes())
    half = write_frame(TEXT, b"x" * (MOST_GATHERED // 2))
    for _ in range(2):
        loop.write(half)
    assert notebook.noted == [half + half]
    loop.write_text(b"rest")
    await asyncio.sleep(0)
    assert notebook.noted[1:] == [write_frame(TEXT, b"rest")]


async def test_what_was_gathered_goes_before_the_end() -> None:
    loop, notebook = connection(Writes())
    loop.write_text(b"last words")
    loop.on_close(1000, "")
    assert notebook.noted == [write_frame(TEXT, b"last words") + write_close(1000, ""), "close"]
    loop.connection_lost(None)
    await asyncio.sleep(0)
    assert len(notebook.noted) == 2


async def test_a_connection_that_is_gone_by_the_end_of_the_turn_is_not_written_to() -> None:
    writes = Writes()
    (a, a_notes), (b, b_notes) = connection(writes), connection(writes)
    a.write_text(b"in vain")
    b.write_text(b"for b")
    a.connection_lost(None)
    await asyncio.sleep(0)
    assert a_notes.noted == []
    assert b_notes.noted == [write_frame(TEXT, b"for b")]


async def test_a_socket_that_fails_keeps_no_other_from_its_frames(expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.connection", "writing failed")
    writes = Writes()
    (a, a_notes), (b, b_notes) = connection(writes), connection(writes)

    a_notes.broken = True
    a.write_text(b"in vain")
    b.write_text(b"for b")
    await asyncio.sleep(0)
    assert a_notes.noted == ["abort"]
    assert b_notes.noted == [write_frame(TEXT, b"for b")]
