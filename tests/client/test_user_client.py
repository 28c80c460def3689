"""Users, who continue their session as peers do."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from mcp_actors.client import Message, Rejoined, State, UserJoined, UserLeft, connect_user
from tests.client.conftest import heard, url
from tests.support.loop import until
from tests.support.tokens import REQUIRED, token

if TYPE_CHECKING:
    from tests.support.server import Server
    from tests.web.network_path import NetworkPath


@pytest.mark.settings(**REQUIRED)
async def test_a_token_says_who_the_user_is(server: Server) -> None:
    async with connect_user(server.url(""), token=token("ada")) as client:
        assert client.user_id == "ada"
        room = await client.join("r")
        assert room.users["ada"].verified


async def test_a_user_misses_nothing_either(paths: list[NetworkPath]) -> None:
    async with connect_user(url(paths[0]), "a") as one, connect_user(url(paths[1]), "b") as other:
        a, b = await one.join("r"), await other.join("r")
        quiet = await other.join("s")
        assert await heard(a, UserJoined) == [UserJoined(user_id="b")]
        assert list(b.users) == ["a", "b"]
        paths[1].cut()
        await a.send(1)
        await until(lambda: other.state == State.RECONNECTING, "that the client has noticed")
        sending = asyncio.create_task(b.send(2))
        paths[1].mend()
        assert await heard(b, Message) == [Message(sender="a", content=1)]
        await sending
        assert await heard(a, Message) == [Message(sender="b", content=2)]
        await quiet.update({"x": 1})


@pytest.mark.settings(resume_window=0)
async def test_a_user_that_cannot_resume_joins_again(server: Server, path: NetworkPath) -> None:
    async with connect_user(server.url(""), "a") as one, connect_user(url(path), "b") as other:
        a, b = await one.join("r"), await other.join("r")
        path.cut()
        path.mend()
        assert await heard(b, Rejoined) == [Rejoined(resumed=False)]
        await b.send("again")
        assert [type(event) for event in [await anext(a) for _ in range(4)]] == [
            UserJoined,
            UserLeft,
            UserJoined,
            Message,
        ]
