"""The transport without a socket."""

from __future__ import annotations

import asyncio

from mcp_actors.adapters.mcp.loopback_transport import LoopbackTransport


class Recorder:
    """A connection that records what the transport tells it."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.delivered: list[bytes] = []
        self.ends: list[int] = []
        self.lost_with: list[int | None] = []
        self.transport = LoopbackTransport(self.delivered.append, self.ends.append)
        self.transport.connection = self  # type: ignore[assignment]

    def frame_received(self, frame: bytes) -> None:
        self.heard.append(frame)

    def lost(self, code: int | None) -> None:
        self.lost_with.append(code)


async def test_it_moves_messages_both_ways_and_counts_their_bytes() -> None:
    recorder = Recorder()
    transport = recorder.transport
    transport.send(b"{", b"}")
    await transport.receive(b"abc")
    assert (recorder.delivered, recorder.heard) == ([b"{}"], [b"abc"])
    assert (transport.written, transport.received) == (2, 3)


async def test_a_paused_connection_receives_nothing_until_it_reads_again() -> None:
    recorder = Recorder()
    recorder.transport.pause()
    sending = asyncio.create_task(recorder.transport.receive(b"abc"))
    for _ in range(9):
        await asyncio.sleep(0)
    assert recorder.heard == []
    recorder.transport.resume()
    await sending
    assert recorder.heard == [b"abc"]


async def test_a_ping_is_a_sign_of_life_and_no_acknowledgement() -> None:
    recorder = Recorder()
    recorder.transport.ping(b"17.abc")
    assert recorder.transport.received > 0
    assert recorder.heard == []


async def test_it_ends_once_and_tells_the_connection_last() -> None:
    recorder = Recorder()
    recorder.transport.close(4504, "kicked")
    recorder.transport.abort()
    assert (recorder.ends, recorder.lost_with) == ([4504], [])
    await asyncio.sleep(0)
    assert recorder.lost_with == [4504]
