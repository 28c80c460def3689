"""One connection of a member that has several in turn."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from picows import WSCloseCode, WSError, WSListener, WSMsgType

from bench.chaos.member import decode, dial, encode, now

if TYPE_CHECKING:
    from picows import WSFrame, WSTransport

    from bench.chaos.record import Link, Role


class Owner(Protocol):
    """Whose connection it is."""

    def greets(self, line: Line) -> None:
        """It is connected."""

    def reads(self, line: Line, message: dict[str, Any]) -> None:
        """It brought a message."""

    def over(self, line: Line) -> None:
        """It is gone."""


class Line(WSListener):
    """Notes in its link what becomes of it. `name` is the id of the request with which it comes back."""

    def __init__(self, owner: Owner, link: Link, name: str) -> None:
        self.link = link
        self.name = name
        self.token = ""
        """What the answer gave to come back with the next time."""
        self.deaf = False
        """Whether the member has given it up without closing it, as one does whose network changes."""
        self.mute = False
        """Whether what is said on it is lost on its way, as just before a connection breaks."""
        self.decided: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done once the request was answered, or cannot be."""
        self._owner = owner
        self._transport: WSTransport | None = None
        self.gone = asyncio.Event()

    @property
    def open(self) -> bool:
        """Whether there is a connection."""
        return self._transport is not None and not self.gone.is_set()

    async def dial(self, role: Role, url: str, patience: float) -> None:
        """Connect and wait for the answer; `link.refused` says why there is none."""
        try:
            async with asyncio.timeout(patience):
                await dial(self, role, url, patience)
                await self.decided
        except (TimeoutError, OSError, WSError) as error:
            self.link.refused = self.link.refused or type(error).__name__
            self.cut()

    def say(self, message: dict[str, Any]) -> None:
        """Send a message, if there is a connection."""
        if self._transport is not None and self.open and not self.mute:
            self._transport.send(WSMsgType.TEXT, encode(message))

    def cut(self) -> None:
        """End it without a word."""
        self.link.expected = True
        if self._transport is not None:
            self._transport.disconnect(graceful=False)
        elif self.link.ended_at is None:
            self.link.ended_at = now()

    def hang_up(self) -> None:
        """Close with 1000, and do not wait for the answer."""
        if self._transport is not None and self.open:
            self._transport.send_close(WSCloseCode.OK)
        self.cut()

    async def bid_farewell(self, patience: float) -> None:
        """Close with 1000, and cut it if that is not answered."""
        self.link.expected = True
        if self._transport is not None and self.open:
            self._transport.send_close(WSCloseCode.OK)
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self.gone.wait()
        self.cut()

    def decide(self) -> None:
        """The request was answered."""
        if not self.decided.done():
            self.decided.set_result(None)

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Let the member speak, if it has not given up meanwhile."""
        self._transport = transport
        if self.link.ended_at is not None:
            transport.disconnect(graceful=False)
            return
        self._owner.greets(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Pass on what came."""
        if frame.msg_type == WSMsgType.TEXT:
            if not self.deaf:
                self._owner.reads(self, decode(frame.get_payload_as_bytes()))
        elif frame.msg_type == WSMsgType.CLOSE:
            reason = frame.get_close_reason() or ""
            self.link.closed = f"closed with {frame.get_close_code()} {reason}".rstrip()
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Note the end."""
        self.gone.set()
        self.link.ended_at = now()
        self.link.closed = self.link.closed or "cut"
        self.decide()
        self._owner.over(self)
