"""RFC 6455 frames, sans I/O: bytes in, messages out; strict, and bounded before anything is allocated."""

from __future__ import annotations

from struct import Struct
from typing import Protocol

from tornado.util import _websocket_mask as unmask  # the C function Tornado's own loop uses

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
DATA_OPCODES = frozenset({CONTINUATION, TEXT, BINARY})
CONTROL_OPCODES = frozenset({CLOSE, PING, PONG})

FINAL, RESERVED, OPCODE = 0x80, 0x70, 0x0F
MASKED, LENGTH = 0x80, 0x7F
LENGTH_16, LENGTH_64 = 126, 127
MAX_CONTROL_LENGTH = 125
MASK_SIZE = 4
MAX_16 = 0xFFFF
SHORT_HEAD, HEAD_16, HEAD_64 = 2, 4, 10
_short_head, _head_16, _head_64 = Struct("!BB").pack, Struct("!BBH").pack, Struct("!BBQ").pack

FINAL_TEXT = FINAL | TEXT

NORMAL, PROTOCOL_ERROR, INVALID_DATA, TOO_BIG = 1000, 1002, 1007, 1009
SENDABLE_CODES = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)})
"""Close codes that may stand in a close frame (RFC 6455, section 7.4, and the registry it founded)."""

TURN = 8
"""Frames handled before others get their turn: a read of 256 KiB can hold 40,000 of them.

Beside a flood, p99 of other rooms was 26 to 32 ms with turns of 256 frames, and 5 to 7 ms with 16, on a busy machine.
"""


class FrameError(Exception):
    """The client broke RFC 6455; the connection is to be closed with this code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Sink(Protocol):
    """Where a `FrameReader` puts what it has read."""

    def on_text(self, payload: bytes) -> None:
        """A text message, valid UTF-8."""

    def on_binary(self, payload: bytes) -> None:
        """A binary message."""

    def on_ping(self, payload: bytes) -> None:
        """A ping, at most 125 bytes."""

    def on_pong(self, payload: bytes) -> None:
        """A pong, at most 125 bytes."""

    def on_fragment(self) -> None:
        """A part of a message, not the last."""

    def on_close(self, code: int | None, reason: str) -> None:
        """A close frame; nothing comes after it."""

    def on_turn(self) -> None:
        """A full turn was handled; the reader has paused until `resume`."""


class FrameReader:
    """Reads the frames of one client; `max_message` is the most bytes of one message, fragments added up.

    While `paused`, which the sink may set at any time, what arrives is kept and nothing is handed out.
    """

    __slots__ = (
        *("_at", "_buffer", "_fragments", "_held", "_later", "_max_message", "_need", "_opcode", "_sink"),
        *("ended", "paused"),
    )

    def __init__(self, sink: Sink, max_message: int) -> None:
        self.paused = False
        self.ended = False
        self._sink = sink
        self._max_message = max_message
        self._buffer = bytearray()
        self._need = 0
        self._held, self._at = b"", 0
        self._later = bytearray()
        self._fragments: bytearray | None = None
        self._opcode = 0

    def receive(self, data: bytes) -> None:
        """Take bytes as they arrive. Raises `FrameError`, after which nothing more is read."""
        if self.ended:
            return
        if self.paused:
            self._later += data
            return
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._need:
                return
            data = bytes(self._buffer)
            self._buffer.clear()
        self._read(data, 0)

    def resume(self) -> None:
        """Go on after a pause. Raises `FrameError`."""
        self.paused = False
        held, self._held = self._held, b""
        if not self.ended:
            self._read(held, self._at)
        if self._later and not self.paused:
            later = bytes(self._later)
            self._later.clear()
            self.receive(later)

    def end(self) -> None:
        """Read nothing more."""
        self.ended = True
        self._held = b""
        self._fragments = None
        self._buffer.clear()
        self._later.clear()

    def _read(self, data: bytes, at: int) -> None:
        """Read `data` from `at` on; keep what is left: whole frames as they are while paused, else the begin of one."""
        try:
            at = self._read_frames(data, at)
        except FrameError:
            self.end()
            raise
        if self.ended:
            return
        if self.paused:
            self._held, self._at = data, at
        elif at < len(data):
            self._buffer += memoryview(data)[at:]

    def _read_frames(self, data: bytes, at: int) -> int:  # noqa: C901 - the hot loop: a call per step would double its cost
        """Hand out the whole frames in `data` from `at` on; return where they end, and set what the next one needs."""
        end, turn = len(data), TURN
        while not (self.paused or self.ended):
            if end - at < SHORT_HEAD:
                self._need = SHORT_HEAD
                break
            first, second = data[at], data[at + 1]
            length, body = second & LENGTH, at + SHORT_HEAD + MASK_SIZE
            if first != FINAL_TEXT or self._fragments is not None:
                self._check(first, length)
            if not second & MASKED:
                raise FrameError(PROTOCOL_ERROR, "a client's frame must be masked")
            if length >= LENGTH_16:
                head = HEAD_16 if length == LENGTH_16 else HEAD_64
                if end - at < head:
                    self._need = head
                    break
                shortest = LENGTH_16 if length == LENGTH_16 else MAX_16 + 1
                length, body = int.from_bytes(data[at + SHORT_HEAD : at + head], "big"), at + head + MASK_SIZE
                if length < shortest:
                    raise FrameError(PROTOCOL_ERROR, "a length must be written in as few bytes as it can")
            if length > self._max_message or self._fragments is not None:
                self._check_size(first, length)
            stop = body + length
            if stop > end:
                self._need = stop - at
                break
            payload = unmask(data[body - MASK_SIZE : body], data[body:stop])
            at = stop
            if first == FINAL_TEXT:
                self._text(payload)
            else:
                self._take(first, payload)
            turn -= 1
            if not turn and not self.paused:
                self.paused = True
                self._sink.on_turn()
        return at

    def _check(self, first: int, length: int) -> None:
        """Check the first byte of a frame, and the length of a control frame."""
        opcode = first & OPCODE
        if first & RESERVED:
            raise FrameError(PROTOCOL_ERROR, "reserved bits must be 0")
        if opcode in CONTROL_OPCODES:
            if not first & FINAL:
                raise FrameError(PROTOCOL_ERROR, "a control frame must not be fragmented")
            if length > MAX_CONTROL_LENGTH:
                raise FrameError(PROTOCOL_ERROR, "a control frame must have at most 125 bytes")
        elif opcode not in DATA_OPCODES:
            raise FrameError(PROTOCOL_ERROR, "the opcode is unknown")
        elif opcode == CONTINUATION and self._fragments is None:
            raise FrameError(PROTOCOL_ERROR, "there is nothing to continue")
        elif opcode != CONTINUATION and self._fragments is not None:
            raise FrameError(PROTOCOL_ERROR, "the message before was not finished")

    def _check_size(self, first: int, length: int) -> None:
        size = length
        if self._fragments is not None and first & OPCODE == CONTINUATION:
            size += len(self._fragments)
        if size > self._max_message:
            raise FrameError(TOO_BIG, "too-big")

    def _take(self, first: int, payload: bytes) -> None:
        """Handle one frame that is not a text message whole."""
        match first & OPCODE:
            case 0x9:
                self._sink.on_ping(payload)
            case 0xA:
                self._sink.on_pong(payload)
            case 0x8:
                code, reason = read_close(payload)
                self.end()
                self._sink.on_close(code, reason)
            case opcode:
                self._fragment(opcode, payload, final=bool(first & FINAL))

    def _fragment(self, opcode: int, payload: bytes, *, final: bool) -> None:
        if self._fragments is None:
            self._opcode = opcode
            if final:
                self._sink.on_binary(payload)
                return
            self._fragments = bytearray()
        self._fragments += payload
        if final:
            payload, self._fragments = bytes(self._fragments), None
            if self._opcode == TEXT:
                self._text(payload)
            else:
                self._sink.on_binary(payload)
        else:
            self._sink.on_fragment()

    def _text(self, payload: bytes) -> None:
        if not payload.isascii():
            check_utf8(payload)
        self._sink.on_text(payload)


def check_utf8(payload: bytes) -> None:
    """Raise `FrameError` unless the bytes are UTF-8."""
    try:
        payload.decode()
    except UnicodeDecodeError:
        raise FrameError(INVALID_DATA, "text must be UTF-8") from None


def read_close(payload: bytes) -> tuple[int | None, str]:
    """The code and the reason in a close frame; the code is None if the frame is empty. Raises `FrameError`."""
    if not payload:
        return None, ""
    check_utf8(payload[2:])
    code = int.from_bytes(payload[:2], "big")
    if len(payload) < 2 or code not in SENDABLE_CODES:  # noqa: PLR2004 - a code has 2 bytes
        raise FrameError(PROTOCOL_ERROR, "the close code is invalid")
    return code, payload[2:].decode()


def write_close(code: int, reason: str) -> bytes:
    """A close frame; the reason is cut to what fits."""
    text = reason.encode()[: MAX_CONTROL_LENGTH - 2].decode(errors="ignore")
    return write_frame(CLOSE, code.to_bytes(2, "big") + text.encode())


def write_frame(opcode: int, payload: bytes) -> bytes:
    """One whole frame from the server, which does not mask."""
    length = len(payload)
    if length < LENGTH_16:
        return _short_head(FINAL | opcode, length) + payload
    if length <= MAX_16:
        return _head_16(FINAL | opcode, LENGTH_16, length) + payload
    return _head_64(FINAL | opcode, LENGTH_64, length) + payload


class Framer:
    """Frames text messages, and the one it framed last only once: a broadcast puts one payload many times."""

    __slots__ = ("_frame", "_payload")

    def __init__(self) -> None:
        self._payload = b""
        self._frame = write_frame(TEXT, b"")

    def text(self, payload: bytes) -> bytes:
        """The frame of a text message, valid UTF-8."""
        if payload is not self._payload:
            self._payload, self._frame = payload, write_frame(TEXT, payload)
        return self._frame
