"""Streams of updates, with the official client."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from mcp import MCPError
from mcp.client.subscriptions import ResourcesListChanged, ResourceUpdated
from mcp_types import SubscriptionFilter, SubscriptionsListenRequestParams
from msgspec import structs

from mcp_actors.adapters.mcp.caller import Caller, current
from mcp_actors.broker.revocations import Revocation
from tests.support.agents import agent, holder
from tests.support.loop import until

if TYPE_CHECKING:
    from mcp.client.subscriptions import Subscription

    from tests.conftest import ExpectedLogs
    from tests.support.server import Server

pytestmark = pytest.mark.settings(mcp=True)
DEADLINE = 20.0
ROSTER = "room://r/roster"


async def _next(stream: Subscription) -> object:
    async with asyncio.timeout(DEADLINE):
        return await anext(stream)


async def test_changes_of_rosters_and_of_open_rooms_are_told_at_all_processes(servers: list[Server]) -> None:
    here, there = servers
    async with agent(there.app.mcp) as bot:
        listening = bot.listen(resource_subscriptions=[ROSTER], resources_list_changed=True)
        async with listening as stream:
            person = await here.user()
            await person.enter("r", "ada")
            assert {await _next(stream), await _next(stream)} == {ResourceUpdated(ROSTER), ResourcesListChanged()}
            await person.say("update", "r", {"metadata": {"name": "Ada"}})
            assert await _next(stream) == ResourceUpdated(ROSTER)
            await person.close()
            assert {await _next(stream), await _next(stream)} == {ResourceUpdated(ROSTER), ResourcesListChanged()}
        assert there.app.mcp is not None
        watch = there.app.mcp.watch
        await until(lambda: not len(watch), "the end of the stream")


async def test_only_rooms_that_the_caller_may_see_are_served(server: Server) -> None:
    async with agent(server.app.mcp, holder("bot", "team")) as bot:
        subscriptions = [ROSTER, "room://team/roster", "file:///etc/passwd"]
        async with bot.listen(resource_subscriptions=subscriptions, resources_list_changed=True) as stream:
            assert stream.honored.resource_subscriptions == ["room://team/roster"]
            person = await server.user()
            await person.enter("r", "ada")
            await person.say("join-room", "team")
            assert {await _next(stream), await _next(stream)} == {
                ResourceUpdated("room://team/roster"),
                ResourcesListChanged(),
            }


async def test_a_caller_whose_token_was_revoked_is_told_nothing(server: Server) -> None:
    async with (
        agent(server.app.mcp, holder("bot")) as bot,
        agent(server.app.mcp, Caller("127.0.0.1", is_operator=True)) as other,
        bot.listen(resource_subscriptions=[ROSTER]) as stream,
    ):
        async with other.listen(resource_subscriptions=[ROSTER]) as control:
            await server.app.node.broker.revocations.revoke(Revocation("sub", "bot", time.time() + 600))
            person = await server.user()
            await person.enter("r", "ada")
            assert await _next(control) == ResourceUpdated(ROSTER)
        assert server.app.mcp is not None
        await server.app.mcp.stop()
        assert [event async for event in stream] == []


async def test_a_stream_ends_with_the_token_of_the_caller(server: Server) -> None:
    caller = holder("bot")
    assert caller.grant is not None
    soon = replace(caller, grant=structs.replace(caller.grant, expires=time.time() + 2))
    async with agent(server.app.mcp, soon) as bot, bot.listen(resource_subscriptions=[ROSTER]) as stream:
        async with asyncio.timeout(DEADLINE):
            assert [event async for event in stream] == []


async def test_a_stream_ends_when_the_server_stops(server: Server) -> None:
    async with agent(server.app.mcp) as bot, bot.listen(resources_list_changed=True) as stream:
        assert server.app.mcp is not None
        await server.app.mcp.stop()
        async with asyncio.timeout(DEADLINE):
            assert [event async for event in stream] == []


@pytest.mark.settings(max_mcp_subscriptions=2)
async def test_a_process_watches_a_limited_number_of_rooms(server: Server) -> None:
    async with agent(server.app.mcp) as bot:
        two = ["room://a/roster", "room://b/roster"]
        async with bot.listen(resource_subscriptions=two), bot.listen(resource_subscriptions=two):
            with pytest.raises(MCPError, match="as many rooms as it may"):
                async with bot.listen(resource_subscriptions=["room://c/roster"]):
                    pass
        assert server.app.mcp is not None
        watch = server.app.mcp.watch
        await until(lambda: not len(watch), "the end of the streams")
        async with bot.listen(resource_subscriptions=["room://c/roster"]):
            pass


class Stuck:
    """The request of a client that reads the acknowledgement, and then nothing until it is told to."""

    def __init__(self) -> None:
        self.request_id = "listen"
        self.session = self
        self.sent: list[Any] = []
        self.reads = asyncio.Event()

    async def send_notification(self, notification: Any, related_request_id: Any = None) -> None:
        self.sent.append(notification)
        if len(self.sent) > 1:
            await self.reads.wait()


@pytest.mark.settings(max_mcp_notices=2)
async def test_a_stream_whose_client_does_not_read_ends_when_too_much_waits(
    server: Server, expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp.server.subscriptions", "backlog full")
    application = server.app.mcp
    assert application is not None
    handler: Any = application.server.get_request_handler("subscriptions/listen")
    rooms = [f"r{number}" for number in range(9)]
    wanted = SubscriptionFilter(resource_subscriptions=[f"room://{room}/roster" for room in rooms])
    current.set(Caller("127.0.0.1"))
    client = Stuck()
    stream = asyncio.create_task(handler.handler(client, SubscriptionsListenRequestParams(notifications=wanted)))
    await until(lambda: client.sent, "the acknowledgement")
    person = await server.user()
    await person.enter("lobby", "ada")
    for room in rooms:
        await person.say("join-room", room)
    await until(lambda: len(client.sent) == 2, "the first notice")
    await until(lambda: len(server.app.node.rooms()) == 10, "all rooms")
    await until(lambda: any("backlog full" in record.getMessage() for record in expected_logs.records), "the end")
    client.reads.set()
    async with asyncio.timeout(DEADLINE):
        await stream
    assert len(client.sent) <= 1 + 1 + 2  # the acknowledgement, what was being sent, and what waited
