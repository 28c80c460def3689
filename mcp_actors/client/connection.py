"""A connection that reconnects, continues its session, and moves to another process when the server asks it to."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from mcp_actors.client.authentication import Authentication
from mcp_actors.client.backoff import Backoff
from mcp_actors.client.dialing import dial
from mcp_actors.client.errors import ClientCode, SignalingError, closed, connection_lost, outcome_unknown
from mcp_actors.client.link import LOST, Link, Loss
from mcp_actors.client.requests import Requests
from mcp_actors.client.session import Seen, Session
from mcp_actors.protocol.errors import FIRST_FINAL_CODE, CloseCode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mcp_actors.client.dialing import Address
    from mcp_actors.client.events import Json
    from mcp_actors.client.token_source import TokenSource

logger = logging.getLogger(__name__)

MAX_FIRST_DELAY = 0.2
"""Seconds before the first attempt after a loss, at most: all clients of a process lose their connections at once."""

FIRST_DELAY, MAX_DELAY = 0.5, 30.0
"""Seconds before the second attempt; seconds between any two."""

STABLE_AFTER = 10.0
"""Seconds after which a connection that is lost counts as one that worked."""

NORMAL, TO_RECONNECT = 1000, 4002
"""Close codes of a client that leaves, and of one that comes back: 1000 ends the session."""

IN_NO_ROOM: Final = frozenset({CloseCode.KICKED, CloseCode.ROOM_CLOSED, CloseCode.IDLE})
"""Close codes for a connection that is in no room. The next join opens another."""


class State(StrEnum):
    """Whether requests can be sent."""

    CONNECTING = "connecting"
    OPEN = "open"
    RECONNECTING = "reconnecting"
    IDLE = "idle"
    """There is no connection, and none is needed before the next join."""
    CLOSED = "closed"


class Rooms(Protocol):
    """The rooms of a client, as its connection sees them."""

    @property
    def room(self) -> str | None:
        """One that the client is in, or about to join; None if that is not known."""

    async def restore(self, link: Link) -> None:
        """Continue the session on a new link, or begin another. Raises SignalingError if that link cannot be used."""

    def receive(self, message: Json) -> None:
        """Handle a message that answers no request. Messages of unknown types are ignored."""

    def end(self, error: SignalingError | None) -> None:
        """The connection is closed for good, by the application if there is no error."""


class Connection:
    """Keeps one link in use, from `start()` to `close()` or until the server closes it for good."""

    def __init__(
        self, address: Address, tokens: TokenSource, rooms: Rooms, on_state: Callable[[State], object] = lambda _: None
    ) -> None:
        self.state = State.CONNECTING
        self._address, self._tokens, self._rooms, self._on_state = address, tokens, rooms, on_state
        self._requests = Requests()
        self._session = Session()
        self._seen = Seen()
        self._links: set[Link] = set()
        self._link: Link | None = None
        """The one in use."""
        self._next: Link | None = None
        """The one on which the session is being resumed."""
        self._usable = asyncio.Event()
        """Set while there is a link that is not about to be replaced, and after the end."""
        self._wanted = asyncio.Event()
        self._wanted.set()
        self._end: SignalingError | None = None
        self._failure: SignalingError | None = None
        """Why there is no connection yet."""
        self._backoff = Backoff(FIRST_DELAY, MAX_DELAY)
        self._hurry = asyncio.Event()
        """Set when the next attempt must not wait."""
        self._task: asyncio.Task[None] | None = None
        self.authentication = Authentication(tokens, self.ask)

    @property
    def link(self) -> Link | None:
        """The link in use, if there is one."""
        return self._link if self._link and self._link.is_open else None

    def start(self) -> None:
        """Connect, and stay connected."""
        self._task = asyncio.create_task(self._run())

    def reconnect(self) -> None:
        """Continue on another connection now, without waiting for the next attempt or for signs of a loss."""
        self._hurry.set()
        if link := self.link:
            link.abort()

    async def ready(self, patience: float) -> Link:
        """Wait at most `patience` seconds for a link on which a room can be joined. Raises SignalingError."""
        self._wanted.set()
        if self._link and self._link.asked_to_move.done():  # it lets nobody join; otherwise a later move takes its time
            self._link.hurry.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._usable.wait()
        if self._end:
            raise self._end
        if self._link is None or not self._usable.is_set():
            raise self._failure or SignalingError(ClientCode.UNREACHABLE, f"No answer from {self._address.url}.")
        return self._link

    async def ask(
        self,
        link: Link,
        kind: str,
        room: str | None,
        payload: Json,
        on_reply: Callable[[Link, Json], None] | None = None,
    ) -> Json:
        """Send a request on this link or not at all. Raises SignalingError."""
        if not link.is_open:
            raise connection_lost()
        request = self._requests.add(kind, room, payload, negotiation=None, resend=False, on_reply=on_reply)
        self._requests.send(request, link)
        answer = await self._requests.answer_of(request)
        self._requests.max_bytes = answer.get("max_message_bytes", self._requests.max_bytes)
        return answer

    async def request(self, kind: str, room: str, payload: Json, *, negotiation: int | None = None) -> Json:
        """Send a request, and return the payload of its reply.

        While there is no connection it waits until the session goes on; it is sent again if it may not have arrived.
        Raises SignalingError.
        """
        if self._end:
            raise self._end
        link = self.link
        if link is None and self._session.token is None and not self._knows_the_outcome():
            raise connection_lost()
        request = self._requests.add(kind, room, payload, negotiation=negotiation, resend=True)
        if link is None and self._knows_the_outcome():
            request.after = self._next
        if link:
            self._requests.send(request, link)
        return await self._requests.answer_of(request)

    async def close(self) -> None:
        """Close for good: the server tells the others at once. Requests without a reply fail."""
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._finish(closed(NORMAL, "closed by the application"), by_application=True)
        await asyncio.gather(*(link.close(NORMAL) for link in self._links))

    async def _run(self) -> None:
        try:
            while True:
                await self._wanted.wait()
                self._use(await self._connect())
                self._lose(await self._stay())
        except SignalingError as error:
            self._finish(error)
        except Exception as error:
            logger.exception("The client has failed")
            self._finish(SignalingError(ClientCode.CLOSED, f"The client has failed: {error!r}."))

    async def _connect(self) -> Link:
        while True:
            await self._pause(self._backoff.next(Link.now(), MAX_FIRST_DELAY * (self.state == State.RECONNECTING)))
            try:
                return await self._attempt()
            except SignalingError as error:
                if not error.retryable:
                    raise
                self._failure = error
                self._note_limit(error)

    async def _pause(self, seconds: float) -> None:
        """Wait for the next attempt, or only as long as the server wants."""
        await _first(asyncio.sleep(seconds), self._hurry.wait())
        if self._hurry.is_set():
            self._hurry.clear()
            await asyncio.sleep(self._backoff.least(Link.now()))

    async def _attempt(self) -> Link:
        address = self._address.for_room(self._rooms.room)
        link = Link(await dial(address, await self._tokens.get()), self._session, self._received)
        self._links.add(link)
        link.lost.add_done_callback(lambda _: self._links.discard(link))
        link.lost.add_done_callback(lambda lost: self._release(link, lost.result()))
        self._next = link
        try:
            await self._rooms.restore(link)
        except SignalingError:
            if self._link is None:
                self._session = link.session
            if not link.is_open:
                raise self._error_of(link.lost.result(), link.complaint) from None
            await link.close(TO_RECONNECT)
            raise
        return link

    def _knows_the_outcome(self) -> bool:
        """Whether the server has said on the next link if the session goes on, so that the application may know."""
        return self._next is not None and self._next.is_open and self._next.resumed is not None

    def _use(self, link: Link) -> None:
        """Use a link that is restored. Requests that may not have arrived are sent again, if the session goes on."""
        self._link, self._session = link, link.session
        self._enter(State.OPEN)
        self._failure = None
        for request in self._requests.held():
            if link.complete or request.after is link:
                self._requests.send(request, link)
            else:
                self._requests.fail(request, outcome_unknown(request.kind) if request.sent else connection_lost())
        self._usable.set()

    async def _stay(self) -> Loss:
        """Use the link until it is lost, and others when the server asks to move."""
        while True:
            link = cast("Link", self._link)
            await _either(link.lost, link.asked_to_move)
            loss = await self._move(link) if link.is_open else link.lost.result()
            if loss:
                return loss

    async def _move(self, old: Link) -> Loss | None:
        """Replace a link that will be closed soon. It stays in use until the next one is ready, or it is lost."""
        self._usable.clear()
        await _first(asyncio.sleep(old.asked_to_move.result()), old.hurry.wait(), asyncio.shield(old.lost))
        if self._session.token is None:  # this client's id is free only after the old link is closed
            await old.close(TO_RECONNECT)
        while old.is_open:
            try:
                link = await self._attempt()
            except SignalingError as error:
                self._note_limit(error)
                await asyncio.sleep(self._backoff.next(Link.now(), MAX_FIRST_DELAY))
            else:
                self._release(old, Loss(LOST, "moved"))
                self._use(link)
                await old.close(NORMAL)
                return None
        loss = old.lost.result()
        return Loss(LOST, "moving") if loss.code == CloseCode.REPLACED else loss  # by this client's next link

    def _lose(self, loss: Loss) -> None:
        """Decide after a link is lost what comes next. Raises SignalingError if nothing does."""
        link, self._link = self._link, None
        self._usable.clear()
        if link and link.now() - link.opened_at > STABLE_AFTER:
            self._backoff.reset()
        if loss.code in IN_NO_ROOM:
            self._session = Session()
            self._wanted.clear()
            self._enter(State.IDLE)
            return
        self._failure = self._error_of(loss, link.complaint if link else "")
        if not self._failure.retryable:
            raise self._failure
        self._enter(State.RECONNECTING)

    def _release(self, link: Link, loss: Loss) -> None:
        """Hold the requests of a link until the session goes on; fail those that must not be sent again."""
        requests = self._requests.sent_on(link)
        if loss.code == CloseCode.TOO_BIG:
            self._requests.fail_largest(requests)
        for request in self._requests.sent_on(link):
            if request.resend and self._session.token is not None:
                self._requests.hold(request)
            else:
                self._requests.fail(request, outcome_unknown(request.kind))

    def _finish(self, error: SignalingError, *, by_application: bool = False) -> None:
        if self._end:
            return
        self._end, self._link = error, None
        self._enter(State.CLOSED)
        self.authentication.stop()
        self._requests.fail_all(error)
        self._rooms.end(None if by_application else error)
        self._usable.set()

    def _enter(self, state: State) -> None:
        if state != self.state:
            self.state = state
            self._on_state(state)

    def _error_of(self, loss: Loss, complaint: str) -> SignalingError:
        """The error for a loss. `complaint`: what the server has said last on this connection, if anything."""
        if loss.code == LOST or (loss.code == CloseCode.TOKEN_EXPIRED and self._tokens.renewable):
            return connection_lost()
        return closed(loss.code, loss.reason, complaint, retryable=loss.code < FIRST_FINAL_CODE)

    def _note_limit(self, error: SignalingError) -> None:
        milliseconds = error.details.get("retry_after_ms")
        if isinstance(milliseconds, int | float):
            self._backoff.wait_until(Link.now() + milliseconds / 1000)

    def _received(self, link: Link, message: Json) -> None:
        if (delivery := message.get("delivery")) is not None:
            if not link.is_new(delivery):
                return
            if link is self._link:  # which may have begun another session
                self._session = link.session
        room, at = message.get("room"), message.get("at")
        if room is not None and at is not None:
            link.session.keep_position(room, at)
        if "sender" in message:  # its id is that of the sender's request
            if not self._seen.is_duplicate(message):
                self._rooms.receive(message)
        elif not self._settle(link, message):
            self._handle(link, message)

    def _settle(self, link: Link, message: Json) -> bool:
        """Answer the request that this message answers, if it does."""
        payload = message.get("payload") or {}
        error = SignalingError.from_payload(payload) if message.get("type") == "error" else None
        if error:
            self._note_limit(error)
            link.complaint = error.message
        return self._requests.settle(message.get("id"), link, payload, error)

    def _handle(self, link: Link, message: Json) -> None:
        match message.get("type"):
            case "reconnect":
                link.ask_to_move(message["payload"]["after_ms"] / 1000)
            case "token-expiring":
                self.authentication.renew(link)
            case _:
                self._rooms.receive(message)


async def _first(*awaitables: Awaitable[Any]) -> None:
    """Wait for one of these, and cancel the others."""
    tasks: list[asyncio.Future[Any]] = [asyncio.ensure_future(awaitable) for awaitable in awaitables]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


async def _either(*futures: asyncio.Future[Any]) -> None:
    """Wait for one of these."""
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
