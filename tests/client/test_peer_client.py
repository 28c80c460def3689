"""The ids of peers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mcp_actors.client import connect
from tests.support.tokens import REQUIRED, token

if TYPE_CHECKING:
    from tests.support.server import Server


async def test_a_peer_without_an_id_gets_a_random_one(server: Server) -> None:
    async with connect(server.url("")) as client:
        ids = {(await client.join(room)).peer_id for room in ("r", "s")}
        assert len(ids) == 2
        assert all(len(one) == 36 for one in ids)


@pytest.mark.settings(**REQUIRED)
async def test_a_token_says_who_a_peer_is(server: Server) -> None:
    async with connect(server.url(""), token=token("ada")) as client:
        room = await client.join("r")
        assert (room.peer_id, room.peers["ada"].verified) == ("ada", True)


async def test_metadata_and_presence_are_kept_for_the_next_connection(server: Server) -> None:
    async with connect(server.url("")) as client:
        room = await client.join("r", "a", metadata={"name": "Ada"}, presence=True)
        await room.update({"name": "Ada", "muted": True})
        assert room.payload == {"peer_id": "a", "metadata": {"name": "Ada", "muted": True}, "presence": True}
