"""Events on their way from a log in memory to a real receiver."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from mcp_actors.adapters.tornado.webhook_client import WebhookClient
from mcp_actors.broker.event_log import LogUnavailable
from mcp_actors.broker.memory_event_log import MemoryEventLog
from mcp_actors.webhooks import deliverer, schedule
from mcp_actors.webhooks.deliverer import WINDOW, Counters, Deliverer, Terms
from mcp_actors.webhooks.signature import Signer
from tests.support.loop import DEADLINE, until
from tests.support.receiver import SECRET, Receiver
from tests.webhooks.events import event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from tornado.ioloop import IOLoop

    from mcp_actors.broker.event_log import Lease, Logged
    from tests.conftest import ExpectedLogs
    from tests.support.receiver import Arrived

TERMS = Terms(connections=4, attempts=3, max_age=3600.0, lease=60.0)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(schedule, "LONGEST_PAUSE", 0.05)
    monkeypatch.setattr(deliverer, "POLL", 0.01)
    monkeypatch.setattr(deliverer, "RETRY", 0.01)


@pytest.fixture
def receiver(io_loop: IOLoop) -> Iterator[Receiver]:
    made = io_loop.run_sync(_receiver)
    yield made
    made.hold.set()
    io_loop.run_sync(made.stop)


async def _receiver() -> Receiver:
    return Receiver()


class Log(MemoryEventLog):
    """A log that another process may take, and that may be out of reach."""

    def __init__(self, limit: int = 10_000) -> None:
        super().__init__(limit, time.time)
        self.is_taken = self.is_away = False
        self.released = 0

    def put(self, *numbers: int, room: str = "r") -> None:
        for number in numbers:
            self.append(event(number, room))

    async def acquire(self) -> Lease:
        self._check()
        return await super().acquire() if not self.is_taken else None  # type: ignore[return-value]

    async def release(self) -> None:
        self.released += 1

    async def read(self, after: str, count: int) -> Sequence[Logged]:
        self._check()
        return await super().read(after, count)

    async def settle(self, offsets: Sequence[str], *, given_up: int = 0, told: int | None = None) -> bool:
        self._check()
        return not self.is_taken and await super().settle(offsets, given_up=given_up, told=told)

    def _check(self) -> None:
        if self.is_away:
            raise LogUnavailable("it is away")


class Running:
    """A deliverer that runs."""

    def __init__(self, events: Log, receiver: Receiver, terms: Terms = TERMS) -> None:
        self.counters = Counters()
        self.client = WebhookClient(receiver.url, 60.0, terms.connections)
        slots = asyncio.Semaphore(terms.connections)
        self.deliverer = Deliverer(events, self.client, Signer((SECRET,)), terms, self.counters, slots)
        self.task = asyncio.create_task(self.deliverer.run())

    async def stop(self, patience: float = 0.0) -> None:
        self.deliverer.stop(patience)
        await self.task
        self.client.close()


@asynccontextmanager
async def running(events: Log, receiver: Receiver, terms: Terms = TERMS) -> AsyncIterator[Running]:
    made = Running(events, receiver, terms)
    try:
        yield made
    finally:
        await made.stop()


def numbers(arrived: Sequence[Arrived], room: str = "r") -> list[int]:
    return [int(one.data["id"]) for one in arrived if one.room == room]


async def test_events_arrive_in_the_order_of_their_rooms_and_leave_the_log(receiver: Receiver) -> None:
    events = Log()
    for number in range(200):
        events.put(number, room="rst"[number % 3])
    async with running(events, receiver) as it:
        await receiver.has(200)
        await until(lambda: not len(events), "an empty log")
        assert (it.counters.delivered, it.counters.failed, it.deliverer.oldest) == (200, 0, None)
    for number, room in enumerate("rst"):
        assert numbers(receiver.arrived, room) == list(range(number, 200, 3))


async def test_several_rooms_are_delivered_at_once_but_no_more_than_allowed(receiver: Receiver) -> None:
    receiver.hold.clear()
    events = Log()
    for number in range(20):
        events.put(number, room=str(number // 2))
    async with running(events, receiver):
        await until(lambda: len(receiver.arrived) == TERMS.connections, "as many requests as allowed")
        receiver.hold.set()
        await receiver.has(20)
    assert receiver.most_under_way == TERMS.connections
    assert all(numbers(receiver.arrived, str(room)) == [2 * room, 2 * room + 1] for room in range(10))


async def test_nothing_is_lost_while_the_receiver_is_down(receiver: Receiver, expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.webhooks", "webhook receiver is down, events wait")
    await receiver.stop()
    events = Log()
    events.put(*range(20))
    events.put(*range(20), room="s")
    async with running(events, receiver) as it:
        await until(lambda: it.counters.failed > 10, "failures")
        assert it.deliverer.waiting == 40
        assert it.deliverer.oldest is not None
        receiver.restart()
        await receiver.has(40)
    assert numbers(receiver.accepted) == numbers(receiver.accepted, "s") == list(range(20))
    assert it.counters.given_up == 0


async def test_an_event_that_always_fails_holds_up_its_own_room_only_and_not_for_ever(
    receiver: Receiver, expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors.webhooks", "webhook event fails, dropping it")
    expected_logs("mcp_actors.webhooks", "webhook events were dropped")
    expected_logs.allow("mcp_actors.webhooks", "webhook receiver is down")
    receiver.answer = lambda one: 500 if one.room == "r" and one.data["id"] == "0" else 200
    events = Log()
    events.put(0, 1)
    async with running(events, receiver) as it:
        number = 0
        while numbers(receiver.accepted) != [1]:
            events.put(number, room="s")
            number += 1
            await until(lambda: len(numbers(receiver.accepted, "s")) == number, "that the other room goes on")  # noqa: B023
        await until(lambda: any(one.type == "events-dropped" for one in receiver.accepted), "that it is told")
        await until(lambda: it.counters.dropped == 1, "that it is counted")
    assert it.counters.given_up == 1
    (told,) = [one for one in receiver.accepted if one.type == "events-dropped"]
    assert told.data == {"count": 1}
    assert numbers(receiver.accepted, "s") == list(range(number))


async def test_an_event_that_the_receiver_refuses_with_410_is_dropped_at_once(
    receiver: Receiver, expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors.webhooks", "webhook receiver refuses an event, dropping it")
    receiver.answer = lambda one: 410 if one.data["id"] == "0" else 200
    events = Log()
    events.put(0, 1)
    async with running(events, receiver) as it:
        await receiver.has(1)
        await until(lambda: not len(events), "an empty log")
    assert numbers(receiver.arrived) == [0, 1]
    assert (it.counters.refused, it.counters.failed) == (1, 0)


@pytest.mark.parametrize("status", [301, 400, 401, 404, 429, 500, 503])
async def test_any_other_answer_is_a_failure_and_repeated_with_the_same_id(receiver: Receiver, status: int) -> None:
    answers = [status, 200]
    receiver.answer = lambda _one: answers.pop(0)
    receiver.headers = {"Location": receiver.url}
    events = Log()
    events.put(0)
    async with running(events, receiver) as it:
        await receiver.has(1)
    first, second = receiver.arrived
    assert first == second
    assert it.counters.failed == 1


async def test_events_that_are_too_many_are_dropped_and_the_receiver_is_told(receiver: Receiver) -> None:
    events = Log(limit=5)
    events.put(*range(12))
    async with running(events, receiver):
        await receiver.has(6)
        await until(lambda: not len(events), "an empty log")
        assert (receiver.accepted[0].type, receiver.accepted[0].data) == ("events-dropped", {"count": 7})
    assert numbers(receiver.accepted) == [7, 8, 9, 10, 11]


async def test_a_log_that_another_process_reads_is_left_to_it(receiver: Receiver) -> None:
    events = Log()
    events.is_taken = True
    events.put(0)
    async with running(events, receiver, TERMS._replace(lease=0.03)):
        await asyncio.sleep(0.1)
        assert receiver.arrived == []
        events.is_taken = False
        await receiver.has(1)
        events.is_taken = True
        events.put(1)
        await asyncio.sleep(0.1)
        count = len(receiver.arrived)
        events.put(2)
        await asyncio.sleep(0.1)
        assert len(receiver.arrived) == count
        events.is_taken = False
        await receiver.has(3)
    assert numbers(receiver.unique()) == [0, 1, 2]


async def test_a_log_that_is_away_is_read_when_it_is_back(receiver: Receiver) -> None:
    events = Log()
    async with running(events, receiver):
        events.put(0)
        await receiver.has(1)
        events.is_away = True
        events.put(1)
        await asyncio.sleep(0.05)
        events.is_away = False
        await receiver.has(2)
    assert numbers(receiver.unique()) == [0, 1]


async def test_what_has_just_happened_is_delivered_before_the_end(receiver: Receiver) -> None:
    events = Log()
    it = Running(events, receiver)
    await until(lambda: it.deliverer._lease is not None, "the lease")
    events.put(*range(10))
    await it.stop(5.0)
    assert numbers(receiver.accepted) == list(range(10))
    assert (len(events), events.released) == (0, 1)


async def test_a_receiver_that_does_not_answer_delays_the_end_no_longer_than_it_may(receiver: Receiver) -> None:
    receiver.hold.clear()
    events = Log()
    events.put(0)
    it = Running(events, receiver)
    await until(lambda: receiver.arrived, "the request")
    async with asyncio.timeout(DEADLINE):
        await it.stop(0.2)
    assert (len(events), events.released) == (1, 1)


async def test_no_more_is_read_ahead_than_the_window_holds(receiver: Receiver) -> None:
    receiver.hold.clear()
    events = Log()
    for number in range(2 * WINDOW):
        events.put(number, room=str(number))
    async with running(events, receiver) as it:
        await until(lambda: it.deliverer._schedule.size, "that it reads")
        await asyncio.sleep(0.05)
        assert it.deliverer._schedule.size == WINDOW
        receiver.hold.set()
