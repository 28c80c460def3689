"""The WebSocket of an agent: JSON-RPC messages to the server of the SDK and back, with the limits of all WebSockets."""

from __future__ import annotations

import asyncio
import contextvars
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import anyio
import structlog
from mcp.shared.message import ServerMessageMetadata, SessionMessage
from mcp_types import JSONRPCError, JSONRPCRequest, JSONRPCResponse

from mcp_actors.adapters.mcp.caller import current
from mcp_actors.connection.connection import Connection
from mcp_actors.protocol.errors import CloseCode, RateLimited

if TYPE_CHECKING:
    from types import TracebackType

    from mcp.server.lowlevel import Server

    from mcp_actors.adapters.mcp.caller import Caller
    from mcp_actors.adapters.mcp.json_rpc import Frame
    from mcp_actors.adapters.mcp.request_slots import RequestSlots

log = structlog.get_logger("mcp_actors.mcp")

MAX_UNHANDLED = 64
"""Messages of one agent that wait to be handled. Nothing is read from it while there are more."""

MESSAGE_COST = 100
"""Deliveries for which a message counts: the SDK takes a millisecond for it, in which as many are sent."""

TOO_MANY = (
    "Too many requests are under way (MCP_ACTORS_MAX_MCP_REQUESTS, MCP_ACTORS_MAX_ADDRESS_MCP_REQUESTS); end some, or"
    " try again in a moment."
)


class AgentConnection(Connection):
    """A connection whose messages the server of the SDK answers, in a task that ends with it."""

    __slots__ = ("_inbox", "_serving", "_slots", "_under_way")

    _serving: asyncio.Task[None] | None
    _inbox: Any
    _slots: RequestSlots
    _under_way: int

    def serve(self, server: Server[Any], slots: RequestSlots, caller: Caller) -> None:
        """Have the server answer the messages, as those of a caller."""
        self._slots, self._under_way = slots, 0
        self._inbox, messages = anyio.create_memory_object_stream[SessionMessage | Exception](MAX_UNHANDLED)
        context = contextvars.copy_context()
        context.run(current.set, caller)
        work = self._serve(server, messages)
        self._serving = asyncio.get_running_loop().create_task(work, context=context)
        self._environment.running.add(self._serving)
        self._serving.add_done_callback(self._environment.running.discard)

    def receive(self, frame: Frame) -> None:
        """Hand a message on, and charge it. Raises `RateLimited` if it is a request, and too many are under way."""
        self.costs.charge_delivery(MESSAGE_COST, 0)
        message, metadata = frame.message, None
        if isinstance(message, JSONRPCRequest):
            if not self._slots.take(self.address):
                raise RateLimited(TOO_MANY, retry_after_ms=1000)
            self._under_way += 1
            metadata = ServerMessageMetadata(on_request_unanswered=self._unanswered)
        self._environment.connections.spoke(self)
        self._environment.connections.joins(self)  # the time in which it may be idle begins anew
        item = SessionMessage(message, metadata)
        try:
            self._inbox.send_nowait(item)
        except anyio.WouldBlock:
            self.run(self._hand_on_later(item), frame, pause=True)  # type: ignore[arg-type]
        except anyio.BrokenResourceError:
            log.debug("message of a closed connection dropped", connection=self.id)

    def sent(self, message: SessionMessage) -> None:
        """Send a message of the server."""
        if isinstance(message.message, JSONRPCResponse | JSONRPCError):
            self._release(1)
        self.send(b"", message.message.model_dump_json(by_alias=True, exclude_unset=True).encode())

    def lost(self, code: int | None) -> None:
        """Forget the connection, and end what is under way for it."""
        super().lost(code)
        self._inbox.close()
        self._release(self._under_way)

    def ask_to_reconnect(self, after: float) -> None:
        """Close in so many seconds: the protocol has no message for that, and clients connect again."""
        timer = self._loop.call_later(after, partial(self.close, CloseCode.SERVICE_RESTART))
        if self._serving is not None:
            self._serving.add_done_callback(lambda _done: timer.cancel())

    @property
    def in_room(self) -> bool:
        """Whether a request is under way, so that the connection is not idle."""
        return self._under_way > 0

    async def _serve(self, server: Server[Any], messages: Any) -> None:
        try:
            await server.run(messages, _Outbound(self), server.create_initialization_options())
        except Exception:
            log.exception("serving an agent failed", connection=self.id)
        finally:
            messages.close()
        self.close(CloseCode.INTERNAL)

    async def _hand_on_later(self, item: SessionMessage) -> None:
        try:
            await self._inbox.send(item)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            log.debug("message of a closed connection dropped", connection=self.id)

    async def _unanswered(self) -> None:
        self._release(1)

    def _release(self, count: int) -> None:
        count = min(count, self._under_way)
        self._under_way -= count
        self._slots.release(self.address, count)


class _Outbound:
    """The stream of the SDK's messages to one agent. It never waits: the outbox of the connection is bounded."""

    def __init__(self, connection: AgentConnection) -> None:
        self._connection = connection

    async def send(self, message: SessionMessage, /) -> None:
        self._connection.sent(message)

    async def aclose(self) -> None:
        """Do nothing: the connection is closed when the server has ended."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self.aclose()
