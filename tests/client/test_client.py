"""Rooms over one connection, and over the next."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from mcp_actors.client import (
    EventsDropped,
    PeerAway,
    PeerBack,
    PeerJoined,
    PeerLeft,
    PeerUpdated,
    Rejoined,
    Signal,
    SignalingError,
    State,
    connect,
)
from tests.client.conftest import heard, url
from tests.support.loop import until

if TYPE_CHECKING:
    from mcp_actors.client.room import Room
    from tests.support.server import Server
    from tests.web.network_path import NetworkPath


async def ended(room: Room) -> bool:
    """Whether no more events come."""
    return [event async for event in room] == []


async def test_the_roster_is_exact_from_the_reply_on(servers: list[Server]) -> None:
    async with connect(servers[0].url("")) as one, connect(servers[1].url("")) as other:
        a = await one.join("r", "a", metadata={"name": "Ada"})
        b = await other.join("r", "b")
        assert [(peer.peer_id, peer.metadata) for peer in b.peers.values()] == [("a", {"name": "Ada"}), ("b", {})]
        assert b.order > a.order
        assert await heard(a, PeerJoined) == [PeerJoined(peer_id="b", order=b.order)]
        await b.update({"muted": True})
        assert await heard(a, PeerUpdated) == [PeerUpdated(peer_id="b", metadata={"muted": True})]
        assert a.peers["b"].metadata == {"muted": True}
        await b.leave()
        assert await heard(a, PeerLeft) == [PeerLeft(peer_id="b", reason="left")]
        assert list(a.peers) == ["a"]
        assert await ended(b)


async def test_a_client_whose_connection_is_lost_misses_nothing_and_nobody_notices(paths: list[NetworkPath]) -> None:
    async with connect(url(paths[0])) as one, connect(url(paths[1])) as other:
        a, b = await one.join("r", "a"), await other.join("r", "b")
        await heard(a, PeerJoined)
        paths[1].cut()
        assert await a.signal("b", 1) in {"delivered", "queued"}
        requests = [asyncio.create_task(b.signal("a", number)) for number in (2, 3)]
        await until(lambda: other.state == State.RECONNECTING, "that the client has noticed")
        assert await a.signal("b", 4) == "queued"
        paths[1].mend()
        assert [event.data for event in await heard(b, Signal, 2)] == [1, 4]
        assert [event.data for event in await heard(a, Signal, 2)] == [2, 3]
        assert await asyncio.gather(*requests) == ["delivered"] * 2


async def test_a_request_whose_reply_is_lost_is_answered_and_carried_out_once(
    server: Server, path: NetworkPath
) -> None:
    async with connect(server.url("")) as one, connect(url(path)) as other:
        a, b = await one.join("r", "a"), await other.join("r", "b")
        await heard(a, PeerJoined)
        path.freeze_answers()
        request = asyncio.create_task(b.signal("a", 1))
        await heard(a, Signal)
        path.cut()
        path.mend()
        assert await request == "delivered"
        await b.signal("a", 2)
        assert [event.data for event in await heard(a, Signal)] == [2]


async def test_all_rooms_of_a_connection_go_on(server: Server, path: NetworkPath) -> None:
    async with connect(server.url("")) as one, connect(url(path)) as other:
        theirs = [await one.join(name, "a") for name in ("r", "s", "t")]
        ours = [await other.join(name, "b") for name in ("r", "s", "t")]
        orders = [room.order for room in ours]
        for room in theirs:
            await heard(room, PeerJoined)
        path.cut()
        for room in theirs:
            await room.signal("b", room.name)
        path.mend()
        assert [(await heard(room, Signal))[0].data for room in ours] == ["r", "s", "t"]
        assert [await room.signal("a", room.name) for room in ours] == ["delivered"] * 3
        assert [room.order for room in ours] == orders
        assert [(await heard(room, Signal))[0].data for room in theirs] == ["r", "s", "t"]


@pytest.mark.settings(resume_window=0)
async def test_a_client_that_cannot_resume_joins_again(server: Server, path: NetworkPath) -> None:
    async with connect(server.url("")) as one, connect(url(path)) as other:
        a, b = await one.join("r", "a"), await other.join("r", "b")
        order = b.order
        path.cut()
        await until(lambda: other.state == State.RECONNECTING, "that the client has noticed")
        with pytest.raises(SignalingError, match="connection-lost"):
            await b.signal("a", 1)
        path.mend()
        assert await heard(b, Rejoined) == [Rejoined(resumed=False)]
        assert b.order > order
        assert await b.signal("a", 2) == "delivered"
        assert [type(event) for event in [await anext(a) for _ in range(4)]] == [
            PeerJoined,
            PeerLeft,
            PeerJoined,
            Signal,
        ]


async def test_a_room_left_without_a_connection_is_left_on_the_next(server: Server, path: NetworkPath) -> None:
    async with connect(server.url("")) as one, connect(url(path)) as other:
        a, b = await one.join("r", "a"), await other.join("r", "b")
        s = await other.join("s", "b")
        await heard(a, PeerJoined)
        path.cut()
        await until(lambda: other.state == State.RECONNECTING, "that the client has noticed")
        await b.leave()
        await s.leave()
        path.mend()
        assert await heard(a, PeerLeft) == [PeerLeft(peer_id="b", reason="left")]


async def test_a_join_waits_for_the_next_connection(path: NetworkPath) -> None:
    async with connect(url(path)) as client:
        await client.join("r", "a")
        path.cut()
        await until(lambda: client.state == State.RECONNECTING, "that the client has noticed")
        joining = asyncio.create_task(client.join("s", "a"))
        path.mend()
        assert list((await joining).peers) == ["a"]
        assert set(client.rooms) == {"r", "s"}


@pytest.mark.settings(resume_window=1)  # the id of a client without a session is free after it
@pytest.mark.parametrize("before", [(), ("q",)], ids=["in no room", "in another room"])
async def test_a_join_whose_reply_is_lost_is_done_on_the_next_connection(
    server: Server, path: NetworkPath, before: tuple[str, ...]
) -> None:
    async with connect(server.url("")) as one, connect(url(path)) as other:
        a = await one.join("r", "a")
        for room in before:
            await other.join(room, "b")
        path.freeze_answers()
        joining = asyncio.create_task(other.join("r", "b"))
        await heard(a, PeerJoined)
        path.cut()
        path.mend()
        b = await joining
        assert list(b.peers) == ["a", "b"]
        assert await b.signal("a", 1) == "delivered"


async def test_a_join_that_is_cancelled_leaves_nobody_in_the_room(server: Server, path: NetworkPath) -> None:
    async with connect(server.url("")) as one, connect(url(path)) as other:
        a = await one.join("r", "a")
        path.freeze_answers()
        joining = asyncio.create_task(other.join("r", "b"))
        await heard(a, PeerJoined)
        joining.cancel()
        with pytest.raises(asyncio.CancelledError):
            await joining
        assert await heard(a, PeerLeft) == [PeerLeft(peer_id="b", reason="left")]


async def test_a_room_is_joined_once(server: Server) -> None:
    async with connect(server.url("")) as client:
        room = await client.join("r", "a")
        with pytest.raises(SignalingError, match="already-in-room"):
            await client.join("r", "b")
        await room.leave()
        assert list((await client.join("r", "b")).peers) == ["b"]


async def test_errors_of_the_server_are_raised_and_cost_nothing(server: Server) -> None:
    async with connect(server.url("")) as one, connect(server.url("")) as other:
        a = await one.join("r", "a")
        with pytest.raises(SignalingError) as caught:
            await other.join("r", "a")
        assert (caught.value.code, caught.value.retryable) == ("peer-id-taken", True)
        with pytest.raises(SignalingError, match="peer-not-found"):
            await a.signal("b", 1)
        await other.join("r", "b")
        assert await a.signal("b", 1) == "delivered"


async def test_a_room_of_a_client_that_closes_has_ended(server: Server) -> None:
    async with connect(server.url("")) as watching:
        watcher = await watching.join("r", "w")
        async with connect(server.url("")) as client:
            a = await client.join("r", "a")
            reading = asyncio.create_task(ended(a))
            await heard(watcher, PeerJoined)
        assert await reading
        assert client.state == State.CLOSED
        assert await heard(watcher, PeerLeft) == [PeerLeft(peer_id="a", reason="disconnected")]
        await client.close()
        await a.leave()
        for request in (a.signal("w", 1), client.join("r", "a")):
            with pytest.raises(SignalingError, match="closed by the application"):
                await request


async def test_a_client_that_is_closed_while_it_has_no_connection_is_closed(path: NetworkPath) -> None:
    client = connect(url(path))
    async with client:
        a = await client.join("r", "a")
        path.cut()
        await until(lambda: client.state == State.RECONNECTING, "that the client has noticed")
        request = asyncio.create_task(a.signal("b", 1))
        await asyncio.sleep(0)
    with pytest.raises(SignalingError, match="closed by the application"):
        await request
    assert await ended(a)


async def test_presence_tells_who_has_no_connection(server: Server, path: NetworkPath) -> None:
    async with connect(server.url("")) as one, connect(url(path)) as other:
        a, b = await one.join("r", "a", presence=True), await other.join("r", "b")
        await heard(a, PeerJoined)
        path.cut()
        assert await heard(a, PeerAway) == [PeerAway(peer_id="b")]
        assert [peer.away for peer in a.peers.values()] == [False, True]
        path.mend()
        assert await heard(a, PeerBack) == [PeerBack(peer_id="b")]
        assert [peer.away for peer in a.peers.values()] == [False, False]
        assert await b.signal("a", 1) == "delivered"


async def test_events_that_nobody_reads_are_dropped_and_the_roster_stays_exact(server: Server) -> None:
    async with connect(server.url(""), max_events=2) as one, connect(server.url("")) as other:
        a, b = await one.join("r", "a"), await other.join("r", "b")
        for number in range(4):
            await b.signal("a", number)
        await b.leave()
        await until(lambda: list(a.peers) == ["a"], "that the leave has arrived")
        assert await heard(a, EventsDropped) == [EventsDropped(count=4)]
        assert [event.data for event in await heard(a, Signal)] == [3]
        assert await heard(a, PeerLeft) == [PeerLeft(peer_id="b", reason="left")]
