"""New access tokens before the old ones expire."""

from __future__ import annotations

import asyncio
from copy import copy
from itertools import count
from typing import TYPE_CHECKING

import pytest

from mcp_actors.client import SignalingError, State, connect
from tests.support.loop import until
from tests.support.tokens import REQUIRED, token

if TYPE_CHECKING:
    from tests.conftest import ExpectedLogs
    from tests.support.server import Server


@pytest.mark.settings(**REQUIRED, auth_notice=60)
async def test_a_token_is_renewed_before_it_expires(server: Server) -> None:
    tokens = []

    async def renewed() -> str:
        tokens.append(token("ada", 3))
        return tokens[-1]

    async with connect(server.url(""), token=renewed) as client:
        room = await client.join("r")
        assert room.peer_id == "ada"
        await until(lambda: len(tokens) >= 2, "a second token")
        await room.update({"still": "here"})
        assert client.state == State.OPEN


@pytest.mark.settings(**REQUIRED)
async def test_a_client_whose_token_expired_comes_back_with_another(
    server: Server, expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors.client.authentication", "The access token was not renewed: The token is not signed")
    calls = count()

    def failing_once() -> str:
        number = next(calls)
        return [token("ada", 2), "nonsense"][number] if number < 2 else token("ada")

    async with connect(server.url(""), token=failing_once) as client:
        room = await client.join("r")
        order = room.order
        while next(copy(calls)) <= 2:  # the token has not expired
            await asyncio.sleep(0.01)
        await room.update({"still": "here"})
        assert room.order == order


@pytest.mark.settings(**REQUIRED)
async def test_a_token_can_be_sent_at_any_time_if_there_is_a_function_that_returns_one(server: Server) -> None:
    calls = count()

    def counted() -> str:
        next(calls)
        return token("ada")

    async with connect(server.url(""), token=counted) as client:
        await client.authenticate()
        assert next(calls) == 2
    async with connect(server.url(""), token=token("ada")) as client:
        with pytest.raises(SignalingError, match="no-token"):
            await client.authenticate()
