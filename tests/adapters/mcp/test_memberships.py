"""Memberships of agents: bounded, renewed, and resumed at other processes."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from mcp import Client
from mcp_types import CallToolRequestParams

from mcp_actors.adapters.mcp.caller import Caller, current
from mcp_actors.broker.revocations import Revocation
from tests.support.agents import agent, holder
from tests.support.loop import until
from tests.support.server import Process, Server
from tests.support.tokens import REQUIRED, bearer, token
from tests.support.waiting_tool import call, call_headers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tornado.ioloop import IOLoop

    from bench.engine import Engine
    from mcp_actors.counters.agents import AgentCounters
    from tests.conftest import ExpectedLogs

pytestmark = pytest.mark.settings(mcp=True)


@pytest.fixture
def cluster(io_loop: IOLoop, tmp_path: Path, engine: Engine, prefix: str) -> Iterator[list[Server]]:
    """Three processes that share their rooms and their secret."""
    shared = {"redis_url": engine.url, "redis_prefix": prefix, "secret_key": REQUIRED["secret_key"], "mcp": True}
    started = [Server(tmp_path, **shared) for _ in range(3)]
    for server in started:
        io_loop.run_sync(server.start)
    yield started
    for server in started:
        io_loop.run_sync(server.stop)


def _counters(server: Server) -> AgentCounters:
    assert server.app.mcp is not None
    return server.app.mcp.counters


async def test_a_membership_is_used_at_any_process(cluster: list[Server]) -> None:
    person = await cluster[0].user()
    await person.enter("r", "ada")
    async with agent(cluster[0].app.mcp) as bot:
        joined = await bot.call("join_room", room="r", name="bot")
    await person.expect("user-joined", user_id="bot")
    membership, after = joined["membership"], joined["last_seq"]
    for round_, server in enumerate((*cluster, *cluster)):
        await person.say("message", "r", {"content": round_}, id=f"m-{round_}")
        assert (await person.hear())["type"] == "ack"
        async with agent(server.app.mcp) as bot:
            received = await bot.call("receive_messages", membership=membership, after=after, wait_seconds=25)
            assert [one["content"] for one in received["messages"]] == [round_], received
            assert not received["missed"]
            after = received["last_seq"]
            await bot.call("send_message", membership=membership, content=f"at {round_}")
        await person.expect("message", content=f"at {round_}")
    async with agent(cluster[1].app.mcp) as bot:
        await bot.call("leave_room", membership=membership)
    await person.expect("user-left", user_id="bot")
    for server in cluster:
        assert server.app.mcp is not None
        assert len(server.app.mcp.memberships) == 0


async def test_a_call_that_waits_ends_when_the_membership_is_used_elsewhere(cluster: list[Server]) -> None:
    here, there, _ = cluster
    async with agent(here.app.mcp) as bot, agent(there.app.mcp) as same:
        joined = await bot.call("join_room", room="r")
        membership, after = joined["membership"], joined["last_seq"]
        waiting = asyncio.create_task(bot.call("receive_messages", membership=membership, after=after, wait_seconds=25))
        await until(lambda: _counters(here).waiting == 1, "the call that waits")
        await same.call("send_message", membership=membership, content="from elsewhere")
        received = await waiting
        assert (received["messages"], received["last_seq"]) == ([], after)


async def test_two_calls_resume_a_membership_once(cluster: list[Server]) -> None:
    here, there, _ = cluster
    async with agent(here.app.mcp) as bot:
        membership = (await bot.call("join_room", room="r"))["membership"]
    async with agent(there.app.mcp) as bot:
        calls = [bot.call("send_message", membership=membership, content=number) for number in range(5)]
        assert all(one["sent"] for one in await asyncio.gather(*calls))
        assert _counters(there).resumed == 1


async def test_agents_survive_a_process_that_stops(cluster: list[Server]) -> None:
    stopping, other, _ = cluster
    person = await other.user()
    await person.enter("r", "ada")
    async with agent(stopping.app.mcp) as bot:
        joined = await bot.call("join_room", room="r", name="bot")
        await person.expect("user-joined")
        waiting = asyncio.create_task(
            bot.call("receive_messages", membership=joined["membership"], after=joined["last_seq"], wait_seconds=25)
        )
        await until(lambda: _counters(stopping).waiting == 1, "the call that waits")
        await stopping.shut_down()
        assert (await waiting)["messages"] == []
    await person.say("message", "r", {"content": "still there?"})
    async with agent(other.app.mcp) as bot:
        received = await bot.call(
            "receive_messages", membership=joined["membership"], after=joined["last_seq"], wait_seconds=25
        )
    assert [one["content"] for one in received["messages"]] == ["still there?"]


async def test_agents_survive_a_process_that_is_killed(
    cluster: list[Server], tmp_path: Path, engine: Engine, prefix: str
) -> None:
    person = await cluster[0].user()
    await person.enter("r", "ada")
    environ = {
        "REDIS_URL": engine.url,
        "MCP_ACTORS_SECRET_KEY": REQUIRED["secret_key"],
        "MCP_ACTORS_REDIS_PREFIX": prefix,
        "MCP_ACTORS_MCP": "true",
    }
    starting = Process(tmp_path, "serve", "--port", "0", **environ)
    with await asyncio.to_thread(starting.wait_until_serving) as killed:
        async with Client(f"http://127.0.0.1:{killed.port}/mcp") as client:
            result = await client.call_tool("join_room", {"room": "r", "name": "bot"})
            joined = result.structured_content
        assert joined is not None
        await person.expect("user-joined", user_id="bot")
        killed.process.kill()
        killed.process.wait()
    async with agent(cluster[1].app.mcp) as bot:
        assert (await bot.call("send_message", membership=joined["membership"], content="still here"))["sent"]
        await person.expect("message", content="still here")
        await person.say("message", "r", {"content": "good"}, id="m")
        await person.expect("ack")
        received = await bot.call("receive_messages", membership=joined["membership"], wait_seconds=25)
        assert [one["content"] for one in received["messages"]] == ["good"]


@pytest.mark.settings(
    max_memory_bytes=1_048_576, max_address_memory_bytes=1_048_576, max_session_bytes=2_000_000, connection_byte_rate=0
)
async def test_what_waits_for_agents_is_part_of_the_memory_of_clients(
    server: Server, expected_logs: ExpectedLogs
) -> None:
    expected_logs.allow("mcp_actors.memory")
    person = await server.user()
    await person.enter("r", "ada")
    async with agent(server.app.mcp) as bot:
        joined = await bot.call("join_room", room="r", name="bot")
        await person.expect("user-joined")
        waited = 0
        while not waited:
            await person.say("message", "r", {"content": "x" * 60_000}, id="m")
            if (await person.hear())["type"] == "user-left":
                waited = server.app.memory.paid
        assert "join_room again" in await bot.refusal("receive_messages", membership=joined["membership"])


@pytest.mark.settings(max_user_mcp_memberships=2)
async def test_each_agent_has_a_limited_number_of_memberships(server: Server) -> None:
    async with agent(server.app.mcp) as bot:
        first = await bot.call("join_room", room="a")
        await bot.call("join_room", room="b")
        assert "You have 2 memberships already" in await bot.refusal("join_room", room="c")
        await bot.call("leave_room", membership=first["membership"])
        await bot.call("join_room", room="c")
    async with agent(server.app.mcp, Caller("192.0.2.7")) as other:
        await other.call("join_room", room="c")


@pytest.mark.settings(max_mcp_memberships=1)
async def test_a_process_has_a_limited_number_of_memberships(server: Server) -> None:
    async with agent(server.app.mcp) as bot:
        await bot.call("join_room", room="a")
    async with agent(server.app.mcp, Caller("192.0.2.7")) as other:
        assert "as many memberships as it may" in await other.refusal("join_room", room="a")


@pytest.mark.settings(**REQUIRED)
async def test_a_membership_goes_on_with_the_next_token(server: Server) -> None:
    person = await server.user(**bearer("ada"))
    await person.expect("authenticated")
    await person.enter("r", "ada")
    async with agent(server.app.mcp, replace(holder("bot"), token=token("bot", jti="first"))) as bot:
        joined = await bot.call("join_room", room="r")
        await person.expect("user-joined")
        bot.caller = holder("bot")
        await bot.call("send_message", membership=joined["membership"], content="renewed")
        await person.expect("message", content="renewed")
        await server.app.node.broker.revocations.revoke(Revocation("jti", "first", time.time() + 600))
        await bot.call("send_message", membership=joined["membership"], content="after the first token")
        await person.expect("message", content="after the first token")
    assert _counters(server).resumed == 0


@pytest.mark.settings(**REQUIRED, auth_leeway=0)
async def test_an_agent_whose_token_ends_goes_on_with_a_new_one(server: Server) -> None:
    soon = replace(holder("bot"), token=token("bot", 3))
    async with agent(server.app.mcp, soon) as bot:
        joined = await bot.call("join_room", room="r")
        membership, after = joined["membership"], joined["last_seq"]
        ended = await bot.refusal("receive_messages", membership=membership, after=after, wait_seconds=25)
        assert "Your access token has expired" in ended
        bot.caller = holder("bot")
        assert (await bot.call("send_message", membership=membership, content="back"))["sent"]


@pytest.mark.settings(**REQUIRED)
async def test_an_agent_whose_token_is_revoked_leaves(server: Server) -> None:
    person = await server.user(**bearer("ada"))
    await person.expect("authenticated")
    await person.enter("r", "ada")
    async with agent(server.app.mcp, holder("bot")) as bot:
        joined = await bot.call("join_room", room="r")
        await person.expect("user-joined")
        waiting = asyncio.create_task(
            bot.refusal("receive_messages", membership=joined["membership"], after=joined["last_seq"], wait_seconds=25)
        )
        await server.app.node.broker.revocations.revoke(Revocation("sub", "bot", time.time() + 600))
        await person.expect("user-left", user_id="bot")
        assert "revoked" in await waiting


def _head_and_body(tool: str, **arguments: Any) -> tuple[bytes, bytes]:
    """A call of a tool as HTTP."""
    request = call()
    request["params"] |= {"name": tool, "arguments": arguments}
    body = json.dumps(request).encode()
    headers = {**call_headers(), "Mcp-Name": tool, "Host": "localhost", "Content-Length": str(len(body))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST /mcp HTTP/1.1\r\n{lines}\r\n".encode(), body


async def _cut_off(door: Any, moment: Random, tool: str, **arguments: Any) -> None:
    """Call a tool over a connection that is dropped: in the request, at once behind it, or a moment later."""
    head, body = _head_and_body(tool, **arguments)
    _, writer = await asyncio.open_connection("127.0.0.1", door.port)
    sent = head + body
    writer.write(sent[: moment.choice([len(head), len(sent) - 1, len(sent), len(sent), len(sent)])])
    await writer.drain()
    await asyncio.sleep(moment.choice([0.0, 0.0, 0.05, 0.3]))
    writer.transport.abort()


@pytest.mark.settings(
    mcp_lease=1.0,
    max_address_mcp_requests=0,
    max_user_mcp_memberships=1000,
    mcp_call_rate=0,
    mcp_address_call_rate=0,
)
async def test_200_agents_that_are_cut_off_at_random_leave_no_task_and_no_member(door: Any) -> None:
    application, moment = door.app.mcp, Random(7)  # noqa: S311 - the same cuts each time
    handler = application.server.get_request_handler("tools/call").handler
    before = asyncio.all_tasks()

    async def join(number: int) -> str:
        current.set(Caller("127.0.0.1"))
        asked = CallToolRequestParams(name="join_room", arguments={"room": f"r{number % 7}"})
        result = await handler(None, asked)
        return str(result.structured_content["membership"])

    async def work(number: int) -> None:
        if number % 2:
            await _cut_off(door, moment, "join_room", room=f"r{number % 7}")
        elif number % 4:
            await _cut_off(door, moment, "send_message", membership=await join(number), content=number)
        else:
            await _cut_off(door, moment, "receive_messages", membership=await join(number), after=3, wait_seconds=25)

    await asyncio.gather(*map(work, range(200)))
    assert application.counters.joined >= 100
    await until(lambda: not door.app.node.rooms() and not len(application.memberships), "the end of all leases")
    await until(lambda: not application.counters.waiting, "the end of all calls")
    await until(lambda: not len(door.app.connections) and not door.app.sessions.by_id, "the end of all sessions")
    await until(lambda: asyncio.all_tasks() <= before, "the end of all tasks")
