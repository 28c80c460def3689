"""The port between a connection and the adapter that moves its bytes."""

from __future__ import annotations

from typing import Protocol


class TransportState(Protocol):
    """The bytes that wait in the buffers of a transport."""

    @property
    def memory(self) -> int:
        """Bytes of memory that the buffers take, in the process and in the kernel."""

    @property
    def waiting(self) -> bool:
        """Whether the client has not taken everything yet."""

    @property
    def taken(self) -> int | None:
        """Bytes that the client has taken so far; None if that is not known."""


class Transport(Protocol):
    """The side of an adapter that a connection uses. No method waits or raises.

    The adapter calls `frame_received`, `binary_received`, `control_frame_received`, `pong_received`, `writable` and
    `closing` of the connection, and last of all `lost`.
    """

    received: int
    """Bytes that have arrived so far."""

    written: int
    """Bytes that were written to the socket so far, or that the ASGI server has taken."""

    has_pings: bool
    """Whether it sends pings, and hands their pongs on. If not, whoever reads the frames pings the client."""

    def send(self, prefix: bytes, body: bytes, bulk: bool = False) -> None:
        """Send one text message in two parts, joined when they are written; many receivers may share the body.

        `bulk`: it is sent to many at once, and should hold up nothing that is not.
        """

    def ping(self, data: bytes) -> None:
        """Send a ping."""

    def close(self, code: int, reason: str) -> None:
        """Start the closing handshake. A paused transport reads nothing more, and ends its side of the stream."""

    def abort(self) -> None:
        """Drop the connection at once."""

    def state(self) -> TransportState:
        """Return what waits in its buffers."""

    def pause(self) -> None:
        """Stop reading: no frame is received until `resume`."""

    def resume(self) -> None:
        """Read again."""
