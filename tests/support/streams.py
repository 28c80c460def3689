"""What our frame reader makes of a stream of bytes, and what another implementation makes of it."""

from __future__ import annotations

from websockets.exceptions import PayloadTooBig
from websockets.frames import CloseCode, Opcode
from websockets.protocol import OPEN, SERVER, Protocol

from mcp_actors.transports.frames import FrameError, FrameReader

LIMIT = 300
"""Bytes of the longest message, here: short enough to be exceeded often."""

LONGEST_CONTROL_FRAME = 125
CONTROL_BIT = 0x08

Event = tuple[str, bytes] | tuple[str, int | None, str]


class Recorder:
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.turns = 0

    def on_text(self, payload: bytes) -> None:
        self.events.append(("text", payload))

    def on_binary(self, payload: bytes) -> None:
        self.events.append(("binary", payload))

    def on_ping(self, payload: bytes) -> None:
        self.events.append(("ping", payload))

    def on_pong(self, payload: bytes) -> None:
        self.events.append(("pong", payload))

    def on_close(self, code: int | None, reason: str) -> None:
        self.events.append(("close", code, reason))

    def on_fragment(self) -> None:
        """The whole message is what counts."""

    def on_turn(self) -> None:
        self.turns += 1


def read(*chunks: bytes, limit: int = LIMIT) -> tuple[list[Event], int | None]:
    """What our reader makes of these bytes: the events, and the code it fails with."""
    recorder = Recorder()
    reader = FrameReader(recorder, limit)
    try:
        for chunk in chunks:
            reader.receive(chunk)
            while reader.paused:
                reader.resume()
    except FrameError as error:
        return recorder.events, error.code
    return recorder.events, None


def read_by_websockets(*chunks: bytes) -> tuple[list[Event], int | None]:
    """What the library makes of them."""
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
                events.append(("close", None if code == CloseCode.NO_STATUS_RCVD else code, protocol.close_rcvd.reason))
    failed = protocol.parser_exc is not None and not isinstance(protocol.parser_exc, EOFError)
    if failed and protocol.close_rcvd is not None and "incomplete fragmented message" in str(protocol.parser_exc):
        # the library refuses a close frame between fragments, where RFC 6455 (section 5.4) allows control frames
        code = protocol.close_rcvd.code
        events.append(("close", None if code == CloseCode.NO_STATUS_RCVD else code, protocol.close_rcvd.reason))
        return events, None
    assert protocol.close_sent is not None or not failed
    return events, protocol.close_sent.code if failed and protocol.close_sent else None


def websockets_waits(*chunks: bytes) -> bool:
    """Whether the library still waits for the rest of a frame at the end of these bytes."""
    protocol = Protocol(SERVER, state=OPEN, max_size=LIMIT)
    for chunk in chunks:
        protocol.receive_data(chunk)
    protocol.receive_eof()
    return "stream ends after" in str(protocol.parser_exc)


def websockets_counts_a_control_frame(stream: bytes) -> bool:
    """Whether the library ends a stream at a control frame between fragments, which it counts to their message.

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
