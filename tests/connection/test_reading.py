"""Reading pauses for as long as there is a reason to."""

from __future__ import annotations

import asyncio

from mcp_actors.connection.reading import Reading
from tests.support.loop import until
from tests.support.transport import FakeLoop, FakeTransport


def test_a_pause_lasts_as_long_as_it_should() -> None:
    transport, loop = FakeTransport(), FakeLoop()
    Reading(transport, loop.loop).pause_for(1.0)
    loop.advance(0.9)
    assert transport.paused
    loop.advance(0.2)
    assert not transport.paused


async def test_reading_resumes_when_the_last_reason_is_gone() -> None:
    transport, loop = FakeTransport(), FakeLoop()
    reading, done = Reading(transport, loop.loop), asyncio.get_running_loop().create_future()
    reading.pause_until(done)
    reading.pause_for(1.0)
    loop.advance(1.0)
    assert transport.paused
    done.set_result(None)
    await until(lambda: not transport.paused, "it reads again")


async def test_the_end_resumes_reading_at_once_and_nothing_pauses_it_again() -> None:
    transport, loop = FakeTransport(), FakeLoop()
    reading, done = Reading(transport, loop.loop), asyncio.get_running_loop().create_future()
    reading.pause_for(1.0)
    reading.pause_until(done)
    reading.end()
    assert not transport.paused
    reading.pause_for(1.0)
    reading.pause_until(asyncio.get_running_loop().create_future())
    assert not transport.paused
    loop.advance(2.0)
    done.set_result(None)


def test_a_deaf_end_leaves_the_transport_paused() -> None:
    transport, loop = FakeTransport(), FakeLoop()
    reading = Reading(transport, loop.loop)
    reading.pause_for(1.0)
    reading.end(deaf=True)
    loop.advance(2.0)
    assert transport.paused


def test_a_pause_since_the_last_look_is_known_even_if_it_is_over() -> None:
    transport, loop = FakeTransport(), FakeLoop()
    reading = Reading(transport, loop.loop)
    assert not reading.take_paused()
    reading.pause_for(1.0)
    assert [reading.take_paused(), reading.take_paused()] == [True, True]
    loop.advance(1.1)
    assert [reading.take_paused(), reading.take_paused()] == [True, False]
