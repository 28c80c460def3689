"""The state of a socket, as the kernel of Linux tells it; elsewhere nothing is known."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from asyncio import BaseTransport

SO_MEMINFO = 55
"""Linux's socket option of that name, which `socket` does not know."""

MEMINFO = struct.Struct("=9I")
RECEIVED, SENT, QUEUED = 0, 2, 5
"""Where `SO_MEMINFO` has the memory of the receive queue and of the send queue, `SENT` for a Unix socket."""

TCP_INFO = getattr(socket, "TCP_INFO", 0)
INFO = struct.Struct("=120xQ")
"""`TCP_INFO` up to the bytes that the other side has acknowledged."""

RESET_ABOVE = 16_384
"""Bytes in the send queue of a dropped connection from which on it is reset: the kernel would keep them for minutes."""

RESET = struct.pack("=ii", 1, 0)


class SocketState(NamedTuple):
    """The bytes that wait in the buffers of a connection.

    `memory`: bytes of memory that they take, in the process and in the kernel. `waiting`: whether the client has not
    taken everything yet. `taken`: bytes that it has taken so far, None if that is not known.
    """

    memory: int
    waiting: bool
    taken: int | None


def socket_state(transport: BaseTransport) -> SocketState:
    """Return the state of the kernel's buffers of a transport."""
    sock = transport.get_extra_info("socket")
    if sock is None or not TCP_INFO:
        return SocketState(0, waiting=False, taken=None)
    try:
        memory = MEMINFO.unpack(sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, MEMINFO.size))
        is_unix = sock.family == socket.AF_UNIX
        queued, taken = memory[SENT if is_unix else QUEUED], None
        if queued and not is_unix:
            (taken,) = INFO.unpack(sock.getsockopt(socket.IPPROTO_TCP, TCP_INFO, INFO.size))
    except (OSError, struct.error):  # another system, or no TCP
        return SocketState(0, waiting=False, taken=None)
    return SocketState(memory[RECEIVED] + queued, queued > 0, taken)


def limit_receive_buffer(transport: BaseTransport, size: int) -> None:
    """Let the kernel buffer so many bytes that arrive; it may take up to twice as much memory for them."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        with suppress(OSError):  # the client is gone
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)


def reset_on_close(transport: BaseTransport) -> None:
    """Have the kernel drop what it has queued when the socket is closed, if that is much."""
    if socket_state(transport).memory > RESET_ABOVE:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
