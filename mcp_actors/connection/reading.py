"""When a client is not read from: while it is slowed, and while it waits for an answer that decides who it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future, TimerHandle

    from mcp_actors.connection.transport import Transport


class Reading:
    """Pauses a transport for as long as there is a reason to, and resumes it when there is none."""

    __slots__ = ("_ended", "_loop", "_paused_lately", "_reasons", "_timer", "_transport")

    def __init__(self, transport: Transport, loop: AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._reasons = 0
        self._timer: TimerHandle | None = None
        self._ended = False
        self._paused_lately = False

    def take_paused(self) -> bool:
        """Return whether reading was paused at any time since the last call."""
        paused, self._paused_lately = self._paused_lately, self._reasons > 0
        return paused

    def pause_for(self, seconds: float) -> None:
        """Read nothing for so many seconds."""
        if not self._ended:
            self._pause()
            self._timer = self._loop.call_later(seconds, self._resume)

    def pause_until(self, done: Future[Any]) -> None:
        """Read nothing until a future is done."""
        if not self._ended:
            self._pause()
            done.add_done_callback(self._resume)

    def end(self, *, deaf: bool = False) -> None:
        """Drop all reasons, as the connection ends; `deaf` leaves the transport paused for good."""
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
        if deaf:
            self._transport.pause()
        elif self._reasons:
            self._transport.resume()

    def _pause(self) -> None:
        self._reasons += 1
        self._paused_lately = True
        if self._reasons == 1:
            self._transport.pause()

    def _resume(self, _done: object = None) -> None:
        self._reasons -= 1
        if not self._reasons and not self._ended:
            self._transport.resume()
