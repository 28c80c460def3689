"""The outbox: messages on their way to one client, in order, bounded, and counted as memory that the client takes."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from mcp_actors.memory_budget import MESSAGE_OVERHEAD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mcp_actors.connection.transport import Transport, TransportState
    from mcp_actors.memory_budget import MemoryBudget


class Outbox:
    """Sends messages while the transport is writable, and keeps them while it is not.

    `memory` charges the address for these messages and for the buffers of the transport; `drop` is called when the
    connection must free them. `congestion` is called with True when it is more than half full, and with False when
    three quarters are free again. When more than `max_messages` or `max_bytes` would wait, `overflow` is called, once.
    """

    __slots__ = (
        *("_account", "_buffered", "_bytes", "_closed", "_congested", "_congestion", "_drop", "_max_bytes"),
        *("_max_messages", "_overflow", "_transport", "_waiting", "_writable", "sent"),
    )

    kind = "connection"

    def __init__(
        self,
        transport: Transport,
        overflow: Callable[[], None],
        drop: Callable[[], None],
        memory: MemoryBudget,
        address: str,
        congestion: Callable[[bool], None],
        *,
        max_messages: int,
        max_bytes: int,
    ) -> None:
        self.sent = 0
        """Messages that were handed to the transport so far."""
        self._account = memory.account(address, self)
        self._buffered = 0  # bytes in the buffers of the transport, as they were last counted
        self._drop = drop
        self._transport = transport
        self._overflow = overflow
        self._congestion = congestion
        self._congested = False
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._waiting: deque[tuple[bytes, bytes]] | None = None  # an empty deque takes 760 bytes
        self._bytes = 0
        self._writable = True
        self._closed = False

    def __len__(self) -> int:
        """Return the number of messages that wait."""
        return len(self._waiting or ())

    @property
    def size(self) -> int:
        """The bytes of memory that the client takes."""
        return self._account.size

    def kept_bodies(self) -> Iterator[bytes]:
        """See `Holder`."""
        self.count_buffers()
        return (body for _, body in self._waiting or ())

    def send(self, prefix: bytes, body: bytes, bulk: bool = False) -> bool:
        """Send or keep one message; False if it will not be sent. `bulk`: see `Transport.send`."""
        if not self._writable:
            return self._keep(prefix, body)
        self.sent += 1
        self._transport.send(prefix, body, bulk)
        return True

    def writable(self, writable: bool) -> None:
        """Note whether the transport accepts more, and send what waits while it does."""
        self._writable = writable and not self._closed
        while self._writable and self._waiting:
            prefix, body = self._waiting.popleft()
            self._kept(-1, -len(prefix) - len(body))
            self.sent += 1
            self._transport.send(prefix, body)
        if self._congested and not self._holds_more_than(1, 4):
            self._congested = False
            self._congestion(False)
        self.count_buffers()

    def has_room(self, size: int) -> bool:
        """Whether a message of so many bytes may wait and leaves a quarter of the space to messages of the server."""
        return 4 * (self._bytes + size) <= 3 * self._max_bytes and 4 * len(self) < 3 * self._max_messages

    def _holds_more_than(self, part: int, of: int) -> bool:
        return of * self._bytes > part * self._max_bytes or of * len(self) > part * self._max_messages

    def count_buffers(self) -> TransportState:
        """Count the buffers of the transport, and return their state."""
        state = self._transport.state()
        self._account.add(state.memory - self._buffered)
        self._buffered = state.memory
        return state

    def pay(self) -> None:
        """See `Holder`."""
        self._drop()

    def lost(self) -> None:
        """Note that the transport is gone with its buffers. The outbox is closed."""
        self._account.close()
        self._drop = _do_nothing

    def close(self) -> None:
        """Take nothing more, and drop what waits."""
        self._closed = True
        self._writable = False
        self._kept(-len(self), -self._bytes)
        self._waiting = None
        self._overflow = self._congestion = _do_nothing  # they refer to the owner of this outbox

    def _keep(self, prefix: bytes, body: bytes) -> bool:
        if self._closed:
            return False
        if self._waiting is None:
            self._waiting = deque()
        size = len(prefix) + len(body)
        if len(self._waiting) >= self._max_messages or self._bytes + size > self._max_bytes:
            overflow = self._overflow
            self.close()
            overflow()
            return False
        self._waiting.append((prefix, body))
        self._kept(1, size)
        if not self._congested and self._holds_more_than(1, 2):
            self._congested = True
            self._congestion(True)
        return True

    def _kept(self, messages: int, size: int) -> None:
        self._bytes += size
        self._account.add(size + messages * MESSAGE_OVERHEAD)


def _do_nothing(_congested: bool = False) -> None:
    return
