"""Frame loops without sockets: a receiver that keeps its events, and a transport that records the calls to it."""

from __future__ import annotations

import asyncio

from mcp_actors.adapters.tornado.upgrade import frame_loops
from mcp_actors.ws.frame_loop import FrameLoop, FrameLoops

MAX_MESSAGE = 1000


class RecordingReceiver:
    """Keeps what its frame loop tells."""

    def __init__(self) -> None:
        self.events: list[tuple[str, object]] = []

    @property
    def texts(self) -> list[object]:
        """The text messages that were received."""
        return [value for kind, value in self.events if kind == "text"]

    def frame_received(self, frame: bytes) -> None:
        self.events.append(("text", frame))

    def binary_received(self, data: bytes) -> None:
        self.events.append(("binary", data))

    def control_frame_received(self, size: int) -> None:
        self.events.append(("control", size))

    def pong_received(self, data: bytes) -> None:
        self.events.append(("pong", data))

    def buffers_grew(self) -> None:
        self.events.append(("buffers grew", None))

    def writable(self, writable: bool) -> None:
        self.events.append(("writable", writable))

    def closing(self, code: int | None) -> None:
        self.events.append(("closing", code))

    def lost(self, code: int | None) -> None:
        self.events.append(("lost", code))


class RecordingTransport(asyncio.Transport):
    """Records what is asked of it, call by call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[bytes | str] = []
        self.broken = False
        self.reading = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.broken:
            raise RuntimeError("this transport is broken")
        self.calls.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.calls.append("eof")

    def close(self) -> None:
        self.calls.append("close")

    def abort(self) -> None:
        self.calls.append("abort")


def shared() -> FrameLoops:
    """Return what the frame loops of one test share."""
    return frame_loops()


def connected(
    loops: FrameLoops, receiver: RecordingReceiver | None = None, *, connect: bool = True
) -> tuple[FrameLoop, RecordingTransport]:
    """Return a frame loop, connected to a transport unless told otherwise."""
    frame_loop, transport = FrameLoop(loops, MAX_MESSAGE), RecordingTransport()
    frame_loop.serve(receiver or RecordingReceiver())
    if connect:
        frame_loop.connection_made(transport)
    return frame_loop, transport
