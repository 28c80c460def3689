"""Checks wait with a deadline."""

from __future__ import annotations

from functools import partial

import pytest

from mcp_actors.conformance.client import Failed
from mcp_actors.conformance.clients.scene import scene
from tests.conformance.clients.faulty_client import FaultyClient


async def test_an_event_that_does_not_come_fails_a_check() -> None:
    async with scene(partial(FaultyClient, ""), patience=0.1) as acting:
        with pytest.raises(Failed, match="an event closed was expected"):
            await acting.event("closed")


async def test_messages_that_differ_fail_a_check() -> None:
    async with scene(partial(FaultyClient, "")) as acting:
        connection = await acting.joined()
        await acting.send(connection, "another", 2)
        with pytest.raises(Failed, match=r"one.* were expected, not .*another"):
            await acting.messages("one")


async def test_another_client_has_a_server_of_its_own_and_the_same_transcript() -> None:
    async with scene(partial(FaultyClient, "")) as acting:
        other = await acting.another()
        await other.joined()
        await acting.server.no_connection(0)
        assert "a connection" in acting.server.transcript
