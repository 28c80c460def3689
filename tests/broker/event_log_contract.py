"""The promises of every log of membership events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from tests.webhooks.events import event

if TYPE_CHECKING:
    from mcp_actors.broker.event_log import EventLog, MembershipEvent

LIMIT = 5
"""How many events the log holds at most."""


class Appendable(Protocol):
    """A log, and how a test appends to it."""

    log: EventLog

    def append(self, one: MembershipEvent) -> None:
        """Append an event."""


class EventLogContract:
    """The fixture `opened` is an empty log."""

    async def test_events_are_read_in_their_order_and_again_until_they_are_settled(self, opened: Appendable) -> None:
        assert await opened.log.acquire() is not None
        for number in range(3):
            opened.append(event(number))
        first = await opened.log.read("", 2)
        assert [one.event for one in first] == [event(0), event(1)]
        assert first[0].offset < first[1].offset
        assert first[0].at <= first[1].at
        rest = await opened.log.read(first[-1].offset, 10)
        assert [one.event for one in rest] == [event(2)]
        assert await opened.log.settle([first[1].offset])
        assert [one.event for one in await opened.log.read("", 10)] == [event(0), event(2)]
        lease = await opened.log.acquire()
        assert lease is not None
        assert (lease.length, lease.told, lease.telling) == (2, 0, 0)

    async def test_the_oldest_are_dropped_and_counted_until_the_application_knows(self, opened: Appendable) -> None:
        for number in range(LIMIT + 2):
            opened.append(event(number))
        lease = await opened.log.acquire()
        assert lease is not None
        assert (lease.told, lease.telling, lease.length) == (0, 2, LIMIT)
        assert [one.event for one in await opened.log.read("", 10)] == [event(n) for n in range(2, LIMIT + 2)]
        opened.append(event(9))
        again = await opened.log.acquire()
        assert again is not None
        assert (again.log, again.told, again.telling) == (lease.log, 0, 2)  # the application is being told of two
        await opened.log.settle([], told=2)
        last = await opened.log.acquire()
        assert last is not None
        assert (last.told, last.telling) == (2, 3)

    async def test_an_event_that_was_delivered_although_it_was_dropped_was_not_dropped(
        self, opened: Appendable
    ) -> None:
        await opened.log.acquire()
        opened.append(event(0))
        (first,) = await opened.log.read("", 1)
        for number in range(1, LIMIT + 1):
            opened.append(event(number))
        await opened.log.settle([first.offset])
        lease = await opened.log.acquire()
        assert lease is not None
        assert lease.telling == 0

    async def test_events_that_are_given_up_are_dropped(self, opened: Appendable) -> None:
        await opened.log.acquire()
        opened.append(event(0))
        (first,) = await opened.log.read("", 1)
        await opened.log.settle([first.offset], given_up=1)
        lease = await opened.log.acquire()
        assert lease is not None
        assert (lease.telling, lease.length) == (1, 0)
