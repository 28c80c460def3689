"""Delivers the events of one log: takes its lease, reads it ahead, posts each event, and removes what was delivered."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import structlog

from mcp_actors.broker.event_log import Logged, LogUnavailable
from mcp_actors.webhooks.payload import Dropped, payload_of
from mcp_actors.webhooks.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcp_actors.broker.event_log import EventLog, Lease
    from mcp_actors.webhooks.signature import Signer

log = structlog.get_logger("mcp_actors.webhooks")

WINDOW = 1000
"""Events that are read ahead, so that rooms that wait hold up no others; more are read when half of them are left."""

POLL = 0.1
"""Seconds between looks for new events, and for which delivered ones may wait to be removed together."""

TICK = 0.001
"""The least time that a look takes, so that none is repeated at once if a clock is a little behind."""

BATCH = 50
"""Delivered events that are removed at once."""

RETRY = 0.5
"""Seconds before a log is tried again that could not be reached."""

RENEWALS = 3
"""Renewals of a lease before it would end."""

GONE = 410


class Answer(NamedTuple):
    """The status with which the receiver answered, 0 if it did not, and then why.

    `retry_after`: seconds that it wants to be left alone.
    """

    status: int
    problem: str = ""
    retry_after: float = 0.0


class Post(Protocol):
    """Sends a request to the receiver."""

    async def __call__(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """Return its answer. Raises nothing."""

    def close(self) -> None:
        """Close what is open."""


@dataclass(slots=True)
class Counters:
    """Deliveries of a process by their outcome, and events that were dropped as they waited too long or were too many.

    `dropped` are those of all processes, of the logs that this one reads.
    """

    delivered: int = 0
    failed: int = 0
    refused: int = 0
    given_up: int = 0
    dropped: int = 0


class Terms(NamedTuple):
    """How to deliver; `connections` and `attempts` are those of `Schedule`.

    `max_age`: seconds after which an event that fails is given up. `lease`: seconds until another process takes over.
    """

    connections: int
    attempts: int
    max_age: float
    lease: float


class Deliverer:
    """One log of events on its way to the receiver. `connections` limits the deliveries of all logs together."""

    def __init__(
        self,
        events: EventLog,
        post: Post,
        signer: Signer,
        terms: Terms,
        counters: Counters,
        connections: asyncio.Semaphore,
    ) -> None:
        self.waiting = 0
        """How many events the log holds; 0 if another process reads it."""
        self._log = events
        self._post = post
        self._signer = signer
        self._terms = terms
        self._connections = connections
        self._counters = counters
        self._lease: Lease | None = None
        self._valid_until = self._renew_at = self._poll_at = 0.0
        self._dropped_before: int | None = None
        self._cursor = ""
        self._schedule = self._new_schedule()
        self._settled: list[str] = []
        self._settle_at = 0.0
        self._given_up = 0
        self._told: int | None = None
        self._telling = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._stop_at: float | None = None
        self._drain_until = 0.0  # when the last events have come at the latest
        self._drained = False
        self._problem = ""

    @property
    def oldest(self) -> float | None:
        """When the oldest event happened that is not delivered, in seconds since 1970; None if there is none."""
        return min((item.at for item in self._schedule.heads()), default=None)

    async def run(self) -> None:
        """Deliver events until `stop`."""
        while not self._is_over():
            try:
                await self._step()
            except LogUnavailable as error:
                log.debug("event log is unavailable", reason=str(error))
                self._lose()
                self._renew_at = 0.0
                await self._sleep(RETRY)
        await self._end()

    def stop(self, patience: float) -> None:
        """Make `run` end: when nothing is left to deliver, or the receiver is down, or after so many seconds."""
        now = time.monotonic()
        self._stop_at, self._drain_until = now + patience, now + POLL
        self._poll_at, self._drained = 0.0, False
        self._wake.set()

    def _is_over(self) -> bool:
        if self._stop_at is None:
            return False
        now = time.monotonic()
        if self._lease is None or self._schedule.is_down or now >= self._stop_at:
            return True
        return self._drained and not self._settled and now >= self._drain_until

    async def _end(self) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=max(0.0, (self._stop_at or 0.0) - time.monotonic()))
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._lease is None:
            return
        try:
            await self._settle()
            await self._log.release()
        except LogUnavailable as error:
            log.debug("event log is unavailable", reason=str(error))

    async def _step(self) -> None:
        if time.monotonic() >= self._renew_at:
            await self._renew()
        if self._lease is None:
            await self._sleep(self._renew_at - time.monotonic())
            return
        if len(self._settled) >= BATCH or time.monotonic() >= self._settle_at:
            await self._settle()
        self._tell_dropped()
        await self._read()
        self._dispatch()
        await self._sleep(self._until_next())

    async def _renew(self) -> None:
        now = time.monotonic()
        lease = await self._log.acquire()
        self._renew_at = now + self._terms.lease / RENEWALS
        if lease is None:
            self._lose()
            return
        if self._lease is None:
            log.info("reporting events to the webhook", waiting=lease.length)
        self._lease, self._valid_until = lease, now + self._terms.lease
        self.waiting = lease.length
        if self._dropped_before is not None and lease.telling > self._dropped_before:
            count = lease.telling - self._dropped_before
            self._counters.dropped += count
            log.warning("webhook events were dropped", count=count)
        self._dropped_before = lease.telling

    def _lose(self) -> None:
        """Forget everything that was read: another process may report it, or this one will read it again."""
        self._lease = None
        self.waiting = 0
        self._cursor = ""
        self._schedule = self._new_schedule()
        self._settled, self._given_up, self._told, self._telling = [], 0, None, False
        self._poll_at = 0.0
        self._dropped_before = None

    def _new_schedule(self) -> Schedule[Logged | Dropped]:
        return Schedule(self._terms.connections, self._terms.attempts, random.random)

    async def _settle(self) -> None:
        if not self._settled and self._told is None:
            return
        offsets, given_up, told = self._settled, self._given_up, self._told
        self._settled, self._given_up, self._told = [], 0, None
        if not await self._log.settle(offsets, given_up=given_up, told=told):
            self._lose()
            self._renew_at = 0.0
            return
        self.waiting = max(0, self.waiting - len(offsets))
        if told is not None:
            self._telling = False
        if told is not None or given_up:
            self._renew_at = 0.0  # learn what else was dropped

    async def _read(self) -> None:
        if self._lease is None or self._schedule.size > WINDOW // 2 or time.monotonic() < self._poll_at:
            return
        count = WINDOW - self._schedule.size
        found = await self._log.read(self._cursor, count)
        if found:
            self._cursor = found[-1].offset
            self.waiting = max(self.waiting, self._schedule.size + len(found))
        for one in found:
            self._schedule.add(one.event.room, one)
        self._drained = not found and not self._schedule.size
        self._poll_at = 0.0 if len(found) == count else time.monotonic() + POLL

    def _tell_dropped(self) -> None:
        lease = self._lease
        if lease is not None and lease.telling > lease.told and not self._telling:
            self._telling = True
            self._schedule.add("", Dropped(lease.log, lease.told, lease.telling, time.time()))

    def _dispatch(self) -> None:
        now = time.monotonic()
        while now < self._valid_until and (found := self._schedule.next(now)) is not None:
            task = asyncio.create_task(self._deliver(self._schedule, found.room, found.item))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _deliver(self, schedule: Schedule[Logged | Dropped], room: str, item: Logged | Dropped) -> None:
        try:
            payload = payload_of(item)
            async with self._connections:
                headers = self._signer.headers(payload.id, int(time.time()), payload.body)
                answer = await self._post(headers, payload.body)
        except Exception:
            log.exception("delivering a webhook failed")
            answer = Answer(0, "a bug")
        if schedule is self._schedule:  # else the lease was lost meanwhile
            self._answered(room, item, answer)
            self._wake.set()

    def _answered(self, room: str, item: Logged | Dropped, answer: Answer) -> None:
        counters = self._counters
        if 200 <= answer.status < 300:  # noqa: PLR2004 - the statuses of success
            counters.delivered += 1
            self._works()
            self._schedule.delivered(room)
        elif answer.status == GONE:
            counters.refused += 1
            log.warning("webhook receiver refuses an event, dropping it", status=GONE)
            self._schedule.refused(room)
        else:
            counters.failed += 1
            expired = time.time() - item.at > self._terms.max_age
            if not self._schedule.failed(room, time.monotonic(), after=answer.retry_after, expired=expired):
                self._fails(answer)
                return
            counters.given_up += 1
            if isinstance(item, Logged):
                self._given_up += 1
            log.warning("webhook event fails, dropping it", status=answer.status, reason=answer.problem)
        if not self._settled and self._told is None:
            self._settle_at = time.monotonic() + POLL
        if isinstance(item, Dropped):
            self._told = item.telling
        else:
            self._settled.append(item.offset)

    def _works(self) -> None:
        if self._problem:
            self._problem = ""
            log.info("webhook receiver works again", waiting=self.waiting)

    def _fails(self, answer: Answer) -> None:
        """Log that the receiver is down, once."""
        if self._schedule.is_down and not self._problem:
            self._problem = answer.problem or f"status {answer.status}"
            log.warning("webhook receiver is down, events wait", reason=self._problem, waiting=self.waiting)

    def _until_next(self) -> float:
        now = time.monotonic()
        waits = [self._renew_at - now]
        if self._schedule.size <= WINDOW // 2:
            waits.append(self._poll_at - now)
        if self._settled or self._told is not None:
            waits.append(self._settle_at - now)
        pause = self._schedule.wait(now)
        if pause is not None:
            waits.append(pause)
        return max(0.0, min(waits))

    async def _sleep(self, seconds: float) -> None:
        """Sleep until something is delivered, or `stop` is called, but not longer."""
        if self._stop_at is not None:
            seconds = min(seconds, self._stop_at - time.monotonic())
        try:
            async with asyncio.timeout(max(TICK, seconds)):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()
