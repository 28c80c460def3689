"""Reads a stream of frames with our reader, and with that of the `websockets` library."""

from __future__ import annotations

from websockets.exceptions import PayloadTooBig
from websockets.frames import CloseCode, Opcode
from websockets.protocol import OPEN, SERVER, Protocol

from mcp_actors.ws.frames import FrameError, FrameReader

LIMIT = 300
"""Bytes of the longest message: short enough to be exceeded often."""

LONGEST_CONTROL_FRAME = 125
CONTROL_BIT = 0x08

Event = tuple[str, bytes] | tuple[str, int | None]


class Recorder:
    """A receiver and control that keeps its events. Batches are counted, and so are fragments."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.batches = 0
        self.counted = 0

    def frame_received(self, frame: bytes) -> None:
        self.events.append(("text", frame))

    def binary_received(self, data: bytes) -> None:
        self.events.append(("binary", data))

    def ping_received(self, data: bytes) -> None:
        self.events.append(("ping", data))

    def pong_received(self, data: bytes) -> None:
        self.events.append(("pong", data))

    def control_frame_received(self, size: int) -> None:
        self.counted += 1

    def close_received(self, code: int | None) -> None:
        self.events.append(("close", code))

    def batch_ended(self) -> None:
        self.batches += 1


def read(*chunks: bytes, limit: int = LIMIT) -> tuple[list[Event], int | None]:
    """Return the events that our reader finds in these bytes, and the code it fails with."""
    recorder = Recorder()
    reader = FrameReader(recorder, recorder, limit)
    try:
        for chunk in chunks:
            reader.receive(chunk)
            while reader.paused:
                reader.resume()
    except FrameError as error:
        return recorder.events, error.code
    return recorder.events, None


def read_by_websockets(*chunks: bytes) -> tuple[list[Event], int | None]:
    """Return what the library finds in them."""
    protocol = Protocol(SERVER, state=OPEN, max_size=LIMIT)
    for chunk in chunks:
        protocol.receive_data(chunk)
    events: list[Event] = []
    message, kind = bytearray(), ""
    for frame in protocol.events_received():
        match frame.opcode:  # type: ignore[union-attr]
            case Opcode.TEXT | Opcode.BINARY | Opcode.CONT:
                kind = {Opcode.TEXT: "text", Opcode.BINARY: "binary"}.get(frame.opcode, kind)  # type: ignore[union-attr]
                message += frame.data  # type: ignore[union-attr]
                if frame.fin:  # type: ignore[union-attr]
                    events.append((kind, bytes(message)))
                    message.clear()
            case Opcode.PING | Opcode.PONG:
                events.append((frame.opcode.name.lower(), bytes(frame.data)))  # type: ignore[union-attr]
            case Opcode.CLOSE:
                assert protocol.close_rcvd is not None
                code = protocol.close_rcvd.code
                events.append(("close", None if code == CloseCode.NO_STATUS_RCVD else code))
    failed = protocol.parser_exc is not None and not isinstance(protocol.parser_exc, EOFError)
    if failed and protocol.close_rcvd is not None and "incomplete fragmented message" in str(protocol.parser_exc):
        # the library refuses a close frame between fragments, where RFC 6455 (section 5.4) allows control frames
        code = protocol.close_rcvd.code
        events.append(("close", None if code == CloseCode.NO_STATUS_RCVD else code))
        return events, None
    assert protocol.close_sent is not None or not failed
    return events, protocol.close_sent.code if failed and protocol.close_sent else None


def websockets_waits(*chunks: bytes) -> bool:
    """Return whether the library waits for the rest of a frame at the end of these bytes."""
    protocol = Protocol(SERVER, state=OPEN, max_size=LIMIT)
    for chunk in chunks:
        protocol.receive_data(chunk)
    protocol.receive_eof()
    return "stream ends after" in str(protocol.parser_exc)


def websockets_counts_a_control_frame(stream: bytes) -> bool:
    """Return whether the library ends a stream at a control frame between fragments, as it counts it to their message.

    RFC 6455 (section 5.4) lets control frames stand there, and they are no part of the message.
    """
    protocol = Protocol(SERVER, state=OPEN, max_size=LIMIT)
    for at in range(len(stream)):
        protocol.receive_data(stream[at : at + 1])
        problem = protocol.parser_exc
        if problem is not None:  # of a short frame, at the second byte of its head
            short = isinstance(problem, PayloadTooBig) and (problem.size or LIMIT) <= LONGEST_CONTROL_FRAME
            return short and bool(stream[at - 1] & CONTROL_BIT)
    return False
