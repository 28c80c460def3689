"""RFC 6455 frames, sans I/O: bytes in, messages out. Strict, and sizes are checked before memory is allocated."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Protocol

Unmask = Callable[[bytes, bytes], bytes]
"""Applies a 4-byte mask to a payload."""

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
"""Close codes that a close frame may carry (RFC 6455, section 7.4, and the IANA registry)."""

BATCH = 8
"""Frames of one client that are handled before the loop turns: a read of 256 KiB can hold 40,000.

Beside a flood, p99 of other rooms was 26 to 32 ms with 256 frames, and 5 to 7 ms with 16, on a busy machine.
"""


class FrameError(Exception):
    """The client broke RFC 6455; close the connection with `code`."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def unmask_in_python(mask: bytes, payload: bytes) -> bytes:
    """Apply a mask without a C extension."""
    size = len(payload)
    key = (mask * (size // MASK_SIZE + 1))[:size]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(key, "little")).to_bytes(size, "little")


class Receiver(Protocol):
    """Receives the messages of a client."""

    def frame_received(self, frame: bytes) -> None:
        """Take a text message, valid UTF-8."""

    def binary_received(self, data: bytes) -> None:
        """Take a binary message."""

    def pong_received(self, data: bytes) -> None:
        """Take a pong."""

    def control_frame_received(self, size: int) -> None:
        """Count a frame that is no whole message: a ping, a pong or a fragment."""


class Control(Protocol):
    """Keeps the connection of a client."""

    def ping_received(self, data: bytes) -> None:
        """Answer a ping of at most 125 bytes."""

    def close_received(self, code: int | None) -> None:
        """Take a close frame; nothing is read after it."""

    def batch_ended(self) -> None:
        """Rest after a full batch; the reader has paused until `resume`."""


class FrameReader:
    """Reads the frames of one client. `max_message` limits the bytes of one message, all fragments together.

    While `paused`, which may be set at any time, bytes are kept and nothing is handed out. While `closing`, messages
    are dropped, and only a close frame is waited for.
    """

    __slots__ = (
        *("_at", "_buffer", "_fragments", "_held", "_max_message", "_need", "_opcode", "_reading"),
        *("_unmask", "closing", "control", "ended", "paused", "receiver"),
    )

    def __init__(
        self, receiver: Receiver, control: Control, max_message: int, unmask: Unmask = unmask_in_python
    ) -> None:
        self.receiver = receiver
        self.paused = self.closing = self.ended = False
        self.control = control
        self._max_message = max_message
        self._unmask = unmask
        self._buffer = bytearray()  # the start of a frame, or what arrived during a pause
        self._need = 0
        self._held, self._at = b"", 0  # what a pause has left of a read
        self._fragments: bytearray | None = None
        self._opcode = 0
        self._reading = False

    @property
    def kept(self) -> int:
        """Bytes that are kept: of a message that is not complete, or that arrived during a pause."""
        return len(self._buffer) + len(self._held) + len(self._fragments or b"")

    def receive(self, data: bytes) -> None:
        """Read bytes as they arrive. Raises `FrameError`, after which nothing more is read."""
        if self.ended:
            return
        if self._buffer or self.paused:
            self._buffer += data
            if self.paused or len(self._buffer) < self._need:
                return
            data = bytes(self._buffer)
            self._buffer.clear()
        self._read(data, 0)

    def resume(self) -> None:
        """Continue after a pause. Raises `FrameError`."""
        self.paused = False
        if self._reading or self.ended:
            return  # a read under way continues by itself
        data, at = self._held, self._at
        self._held = b""
        if self._buffer:
            data, at = data[at:] + self._buffer, 0
            self._buffer.clear()
        self._read(data, at)

    def end(self) -> None:
        """Read nothing more."""
        self.ended = True
        self._held = b""
        self._fragments = None
        self._buffer.clear()

    def _read(self, data: bytes, at: int) -> None:
        """Read `data` from `at` on, and keep the rest: whole frames while paused, else the start of a frame."""
        self._reading = True
        try:
            at = self._read_frames(data, at)
        except FrameError:
            self.end()
            raise
        finally:
            self._reading = False
        if self.ended:
            return
        if self.paused:
            self._held, self._at = data, at
        elif at < len(data):
            self._buffer += memoryview(data)[at:]

    def _read_frames(self, data: bytes, at: int) -> int:  # noqa: C901 - the hot loop: a call per step would double its cost
        """Hand out the whole frames in `data` from `at` on; return where they end, and set the size of the next."""
        end, batch, unmask = len(data), BATCH, self._unmask
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
                self._handle(first, payload)
            batch -= 1
            if not batch and not self.paused:
                batch = BATCH
                self.paused = True
                self.control.batch_ended()
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

    def _handle(self, first: int, payload: bytes) -> None:
        """Handle one frame other than a whole text message."""
        opcode = first & OPCODE
        if opcode == CLOSE:
            code = read_close(payload)
            self.end()
            self.control.close_received(code)
        elif opcode not in CONTROL_OPCODES:
            self._fragment(opcode, payload, final=bool(first & FINAL))
        else:
            if opcode == PING:
                self.control.ping_received(payload)
            else:
                self.receiver.pong_received(payload)
            if not self.closing:
                self.receiver.control_frame_received(len(payload))

    def _fragment(self, opcode: int, payload: bytes, *, final: bool) -> None:
        if self._fragments is None:
            self._opcode, self._fragments = opcode, bytearray()
        self._fragments += payload
        if final:
            payload, self._fragments = bytes(self._fragments), None
            if self._opcode == TEXT:
                self._text(payload)
            elif not self.closing:
                self.receiver.binary_received(payload)
        elif not self.closing:
            self.receiver.control_frame_received(0)

    def _text(self, payload: bytes) -> None:
        if not payload.isascii():
            check_utf8(payload)
        if not self.closing:
            self.receiver.frame_received(payload)


def check_utf8(payload: bytes) -> None:
    """Raise `FrameError` unless the bytes are UTF-8."""
    try:
        payload.decode()
    except UnicodeDecodeError:
        raise FrameError(INVALID_DATA, "text must be UTF-8") from None


def read_close(payload: bytes) -> int | None:
    """Return the code of a close frame, None if the frame is empty. Raises `FrameError`."""
    if not payload:
        return None
    check_utf8(payload[2:])
    code = int.from_bytes(payload[:2], "big")
    if len(payload) < 2 or code not in SENDABLE_CODES:  # noqa: PLR2004 - a code has 2 bytes
        raise FrameError(PROTOCOL_ERROR, "the close code is invalid")
    return code


def write_close(code: int, reason: str) -> bytes:
    """Build a close frame; the reason is cut to what fits."""
    return write_frame(CLOSE, code.to_bytes(2, "big") + close_reason(reason).encode())


def close_reason(text: str) -> str:
    """Return as much of a text as fits into a close frame."""
    return text.encode()[: MAX_CONTROL_LENGTH - 2].decode(errors="ignore")


def write_frame(opcode: int, payload: bytes) -> bytes:
    """Build one whole frame of the server, which does not mask."""
    return frame_header(opcode, len(payload)) + payload


def frame_header(opcode: int, length: int) -> bytes:
    """Build the header of a whole frame with a payload of `length` bytes."""
    if length < LENGTH_16:
        return _short_head(FINAL | opcode, length)
    if length <= MAX_16:
        return _head_16(FINAL | opcode, LENGTH_16, length)
    return _head_64(FINAL | opcode, LENGTH_64, length)
