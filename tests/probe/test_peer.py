"""Peers of a probe."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from mcp_actors.client import PeerJoined, Signal, State
from mcp_actors.probe.peer import Peer, Unwanted, check_websocket, random_room

if TYPE_CHECKING:
    from tests.support.server import Server


def test_rooms_are_random() -> None:
    assert random_room() != random_room()


async def test_a_handshake_is_accepted_or_refused_with_the_reason(server: Server) -> None:
    assert (await check_websocket(server.url("/ws/signaling/"))).outcome == "ok"
    check = await check_websocket(server.url("/elsewhere/"))
    assert check.outcome == "failed"
    assert "404" in check.text
    assert "correct the path" in check.advice


async def test_a_peer_waits_for_events_and_states(server: Server) -> None:
    endpoint = server.url("/ws/signaling/")
    async with Peer.enter(endpoint, "r") as one, Peer.enter(endpoint, "r") as other:
        assert set(other.room.peers) == {one.room.peer_id, other.room.peer_id}
        await other.room.signal(one.room.peer_id, 1)
        assert (await one.next(Signal)).data == 1
        async with Peer.enter(endpoint, "r"):
            with pytest.raises(Unwanted):
                await one.next(Signal, PeerJoined)
        one.client.reconnect()
        await asyncio.gather(one.until(State.RECONNECTING))
        await one.until(State.OPEN)
