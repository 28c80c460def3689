"""Events that wait to be read."""

from __future__ import annotations

import asyncio

import pytest

from mcp_actors.client import EventsDropped, PeerAway, SignalingError
from mcp_actors.client.event_queue import EventQueue

EVENTS = [PeerAway(peer_id=name) for name in "abcd"]


async def test_events_come_in_order_and_then_the_end() -> None:
    queue = EventQueue(4)
    reading = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    for event in EVENTS[:2]:
        queue.put(event)
    assert [await reading, await queue.get()] == EVENTS[:2]
    queue.put(EVENTS[2])
    queue.end()
    queue.put(EVENTS[3])
    assert await queue.get() == EVENTS[2]
    for _ in range(2):
        with pytest.raises(StopAsyncIteration):
            await queue.get()


async def test_an_error_is_raised_after_the_events_before_it() -> None:
    queue = EventQueue(4)
    queue.put(EVENTS[0])
    queue.end(SignalingError("room-full", "Full."))
    queue.end()
    assert await queue.get() == EVENTS[0]
    for _ in range(2):
        with pytest.raises(SignalingError, match="room-full"):
            await queue.get()


async def test_beyond_the_limit_all_that_wait_are_dropped_and_counted() -> None:
    queue = EventQueue(2)
    for event in EVENTS[:3]:
        queue.put(event)
    assert [await queue.get() for _ in range(2)] == [EventsDropped(count=2), EVENTS[2]]
