"""A client of an endpoint in this process: what an agent does in a room, it does as any other client does."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from mcp_actors.adapters.mcp.loopback_transport import LoopbackTransport
from mcp_actors.adapters.mcp.tool import ToolError
from mcp_actors.connection.connection import Connection
from mcp_actors.protocol.errors import CloseCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp_actors.adapters.mcp.caller import Caller
    from mcp_actors.connection.connection import Endpoint
    from mcp_actors.connection.environment import Environment
    from mcp_actors.sessions import Session

REPLY_TIMEOUT = 15.0
"""Seconds until a request without a reply counts as failed: more than anything takes that the server gives up by
itself."""

LEFT, MOVED_ON = 1000, 1012
"""Close codes of a client that leaves for good, and of one that will come back to another process."""

UNKNOWN = "It is not known whether this was done."
NO_REPLY = f"The server has not answered in time. {UNKNOWN}"
STOPPING = "This server process is stopping; call again in some seconds."


class Heard(Struct, frozen=True):
    """A message of the server, as far as it matters who gets it."""

    type: str
    id: str | int | UnsetType | None = UNSET
    sender: str | UnsetType = UNSET
    payload: Raw = Raw(b"{}")


class _Words(Struct, frozen=True):
    """What errors, and messages about removals, say."""

    message: str = ""
    code: str = ""


_heard = msgspec.json.Decoder(Heard).decode
_words = msgspec.json.Decoder(_Words).decode


class RequestFailed(ToolError):
    """A request that was answered with an error; `code` is that of the protocol."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class AgentClient:
    """One connection of an agent to an endpoint.

    `ended` is called at the end. `news` is set when something has come that no request asked for. `close_code` is set
    when the connection is closed, and `last_words` to what the server has said of it.
    """

    def __init__(self, environment: Environment, endpoint: Endpoint, address: str, ended: Callable[[], None]) -> None:
        self.news = asyncio.Event()
        self.close_code: int | None = None
        self.last_words = ""
        self._transport = LoopbackTransport(self._received, self._ended)
        loop = asyncio.get_running_loop()
        self._connection = Connection(environment, endpoint, self._transport, address, loop)
        self._transport.connection = self._connection
        self._loop = loop
        self._when_ended = [ended]
        self._replies: dict[str, asyncio.Future[Heard | None]] = {}
        self._requests = 0
        self._prefix = secrets.token_hex(4)  # the session may hold replies to its earlier clients

    @property
    def session(self) -> Session | None:
        """The session; None before it has begun, and after the end."""
        return self._connection.session

    def is_in(self, room: str) -> bool:
        """Whether the session is in a room."""
        return self.session is not None and room in self.session.rooms

    def when_ended(self, call: Callable[[], None]) -> None:
        """Make a further call at the end."""
        self._when_ended.append(call)

    def describe_end(self) -> str:
        """Say why the connection has ended, and what to do."""
        return _describe_end(self.close_code, self.last_words)

    def open(self, caller: Caller) -> None:
        """Begin, with what the caller may do. Raises `RequestFailed`."""
        self._connection.opened(caller.token, caller.admission)
        self._expect_open()

    async def request(self, kind: str, room: str | None = None, payload: Any = None, **fields: Any) -> Any:
        """Send a request, with further fields, and return the payload of its reply. Raises `RequestFailed`."""
        self._expect_open()
        self._requests += 1
        name = f"{self._prefix}-{self._requests}"
        message = {"type": kind, "id": name, **fields} | ({} if room is None else {"room": room})
        reply = self._replies[name] = self._loop.create_future()
        try:
            async with asyncio.timeout(REPLY_TIMEOUT):
                await self._transport.receive(msgspec.json.encode({**message, "payload": payload or {}}))
                heard = await reply
        except TimeoutError:
            raise RequestFailed(NO_REPLY) from None
        finally:
            del self._replies[name]
            reply.cancel()
        if heard is None:
            raise RequestFailed(f"{self.describe_end()} {UNKNOWN}")
        if heard.type == "error":
            words = _words(heard.payload)
            raise RequestFailed(words.message, words.code)
        return msgspec.json.decode(heard.payload)

    def close(self, code: int = LEFT) -> None:
        """Close the connection; with `LEFT` the session ends, with `MOVED_ON` it waits to be resumed."""
        if self.close_code is None:
            self._connection.closing(code)
            self._transport.end(code)

    def _expect_open(self) -> None:
        if self.close_code is not None:
            raise RequestFailed(self.describe_end())

    def _received(self, frame: bytes) -> None:
        heard = _heard(frame)
        if heard.sender is UNSET and heard.id is not UNSET:
            reply = self._replies.get(str(heard.id))
            if reply is not None and not reply.done():
                reply.set_result(heard)
            return
        if heard.type in ("error", "kicked", "room-closed"):
            self.last_words = _words(heard.payload).message
        elif heard.type == "reconnect":  # the server is about to stop, and waits for its clients to go
            self.last_words = STOPPING
            self._loop.call_later(0, self.close, MOVED_ON)
        self.news.set()

    def _ended(self, code: int) -> None:
        self.close_code = code
        self.news.set()
        for reply in self._replies.values():
            if not reply.done():
                reply.set_result(None)
        for call in self._when_ended:
            call()


def _describe_end(code: int | None, words: str) -> str:
    """Say why a connection has ended, and what to do."""
    ends = {
        CloseCode.KICKED: "A moderator has removed you from the room.",
        CloseCode.ROOM_CLOSED: "A moderator has closed the room.",
        CloseCode.TOKEN_EXPIRED: "Your access token has expired; call again with a new one.",
        CloseCode.TOKEN_REVOKED: "Your access token was revoked.",
        CloseCode.REPLACED: "Another process has gone on with the membership meanwhile; call again.",
        CloseCode.SERVICE_RESTART: STOPPING,
        CloseCode.SLOW_PEER: "Too much waited for you to be received; join again.",
        CloseCode.ROOM_LOST: "The room was lost to a failure of the server; join again.",
    }
    end = ends.get(CloseCode(code)) if code in set(CloseCode) else None
    return " ".join(dict.fromkeys(part for part in (end, words) if part)) or "The membership has ended; join again."
