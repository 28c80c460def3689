"""Sessions over the wire: a client that lost its connection comes back with its token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mcp_actors.protocol.identifiers import RoomId
from tests.support.loop import until

if TYPE_CHECKING:
    from tests.support.client import Client, Frame
    from tests.support.server import Server


async def pair(server: Server, **how: Any) -> tuple[Client, Client, Frame]:
    """Peers `a` and `b` in room `r`, with nothing left to hear, and what `a` was told when it joined."""
    a, b = await server.peer(), await server.peer()
    joined = await a.join("r", "a")
    await b.join("r", "b", **how)
    await a.expect("peer-joined", peer_id="b")
    return a, b, joined


async def lose(server: Server, client: Client) -> None:
    """Cut a connection, and wait until the server knows."""
    client.vanish()
    await until(lambda: server.app.sessions._away, "that the session waits")


async def resume(server: Server, joined: Frame, received: int, room: str = "r", peer_id: str = "a") -> Client:
    """Come back on a new connection; what is told is still to be heard."""
    client = await server.peer()
    await client.say("join", room, {"peer_id": peer_id, "resume": joined["resume"], "received": received}, id="back")
    return client


async def signal(client: Client, target: str, data: int) -> str:
    """Send a signal; the status of its ack is returned."""
    await client.say("signal", "r", {"target_peer_id": target, "data": data}, id=data)
    status: str = (await client.expect("ack"))["payload"]["status"]
    return status


async def test_a_client_that_comes_back_missed_nothing_and_nobody_saw_it_go(server: Server) -> None:
    a, b, joined = await pair(server)
    assert await signal(b, "a", 1) == "delivered"
    await a.expect("signal")
    await lose(server, a)
    assert [await signal(b, "a", number) for number in (2, 3)] == ["queued", "queued"]
    again = await resume(server, joined, a.received)
    assert [(await again.expect("signal"))["payload"]["data"] for _ in range(2)] == [2, 3]
    reply = await again.expect("joined", resumed=True, complete=True, order=joined["order"])
    assert reply["id"] == "back"
    assert [peer["peer_id"] for peer in reply["payload"]["peers"]] == ["a", "b"]
    assert await signal(again, "b", 4) == "delivered"
    await b.expect("signal")
    assert await b.drain("r") == []


@pytest.mark.settings(ping_interval=0)  # whose pong would say that the client has it, as its library does
async def test_what_was_written_and_not_read_comes_again(server: Server) -> None:
    a, b, joined = await pair(server)
    seen = a.received
    for number in range(5):
        assert await signal(b, "a", number) == "delivered"
    await lose(server, a)
    again = await resume(server, joined, seen)
    assert [(await again.expect("signal"))["payload"]["data"] for _ in range(5)] == list(range(5))
    await again.expect("joined", resumed=True, complete=True)


async def test_a_client_may_come_back_before_the_server_noticed_and_its_old_connection_is_closed_for_good(
    server: Server,
) -> None:
    a, b, joined = await pair(server)
    again = await resume(server, joined, a.received)
    await again.expect("joined", resumed=True, complete=True)
    await a.expect_close(4501)
    assert await signal(b, "a", 1) == "delivered"
    await again.expect("signal")
    assert await b.drain("r") == []


async def test_a_token_that_was_used_is_used_up(server: Server) -> None:
    a, _, joined = await pair(server)
    again = await resume(server, joined, a.received)
    fresh = (await again.expect("joined", resumed=True))["payload"]
    assert await again.drain("r") == []
    assert fresh["resume"] != joined["resume"]
    other = await resume(server, joined, a.received)
    await other.expect_error("peer-id-taken")
    await signal(again, "b", 1)
    third = await resume(server, fresh, again.received)
    await third.expect("joined", resumed=True, complete=True)


async def test_a_token_still_works_for_a_client_that_did_not_get_the_next(server: Server) -> None:
    a, _, joined = await pair(server)
    seen = a.received
    for attempt in range(2):
        lost = await server.peer()
        lost.stop_reading()
        await lost.say("join", "r", {"peer_id": "a", "resume": joined["resume"], "received": seen})
        await until(lambda: generation_of_a(server) == attempt + 2, "that the session goes on")  # noqa: B023 - at once
        lost.vanish()
    again = await resume(server, joined, seen)
    for _ in range(2):
        await again.expect("joined", resumed=True)  # the replies that were lost, as they were
    await again.expect("joined", resumed=True, complete=True)


def generation_of_a(server: Server) -> int:
    """How many connections the session of the first client has had."""
    session, *_ = server.app.sessions._sessions.values()
    return session.generation


@pytest.mark.parametrize("token", ["x", "", "\u00e4", "A" * 44, "e30.e30.e30"])
async def test_a_token_that_is_none_is_no_help_and_no_harm(server: Server, token: str) -> None:
    a = await server.peer()
    joined = await a.join("r", "a", resume=token)
    assert joined["resumed"] is False
    assert "complete" not in joined


async def test_a_token_does_not_help_under_another_id(server: Server) -> None:
    a, b, joined = await pair(server)
    await lose(server, a)
    other = await resume(server, joined, 0, peer_id="eve")
    await other.expect("joined", resumed=False, order=3)
    assert [message["type"] for message in await b.drain("r")] == ["peer-joined"]
    assert server.app.sessions._away


@pytest.mark.settings(resume_window=0.3)
async def test_a_client_that_stays_away_for_too_long_leaves(server: Server) -> None:
    a, b, joined = await pair(server)
    await lose(server, a)
    await b.expect("peer-left", peer_id="a", reason="timeout")
    again = await resume(server, joined, 0)
    await again.expect("joined", resumed=False, order=3)


async def test_a_client_that_says_good_bye_leaves_at_once(server: Server) -> None:
    a, b, joined = await pair(server)
    await a.close()
    await b.expect("peer-left", peer_id="a", reason="disconnected")
    again = await resume(server, joined, 0)
    await again.expect("joined", resumed=False)


@pytest.mark.settings(resume_window=0)
async def test_where_sessions_do_not_wait_there_are_no_tokens_and_no_numbers(server: Server) -> None:
    a, b, joined = await pair(server)
    assert not {"resume", "resumed", "complete"} & set(joined)
    assert a.received == 0
    a.vanish()
    await b.expect("peer-left", peer_id="a", reason="disconnected")


@pytest.mark.settings(max_session_messages=3)
async def test_what_waits_for_a_client_is_bounded_and_it_is_told_what_it_lost(server: Server) -> None:
    a, b, joined = await pair(server)
    seen = a.received
    await lose(server, a)
    for number in range(5):
        await signal(b, "a", number)
    again = await resume(server, joined, seen)
    assert [(await again.expect("signal"))["payload"]["data"] for _ in range(3)] == [2, 3, 4]
    await again.expect("joined", resumed=True, complete=False)


async def test_those_who_asked_hear_who_is_away_and_back(server: Server) -> None:
    a, b, joined = await pair(server, presence=True)
    c = await server.peer()
    await c.join("r", "c")
    await b.expect("peer-joined")
    await lose(server, a)
    await b.expect("peer-away", peer_id="a")
    d = await server.peer()
    roster = (await d.join("r", "d"))["peers"]
    assert [peer["peer_id"] for peer in roster if peer.get("away")] == ["a"]
    again = await resume(server, joined, 0)
    await b.expect("peer-joined", peer_id="d")
    await b.expect("peer-back", peer_id="a")
    assert [message["type"] for message in await c.drain("r")] == ["peer-joined"]
    await again.end()


async def test_a_join_without_a_token_takes_the_place_of_one_who_is_away(server: Server) -> None:
    a, b, _ = await pair(server)
    await lose(server, a)
    newcomer = await server.peer()
    assert (await newcomer.join("r", "a"))["resumed"] is False
    await b.expect("peer-left", peer_id="a", reason="replaced")
    await b.expect("peer-joined", peer_id="a", order=3)
    assert not server.app.sessions._away


async def test_the_answer_to_what_was_asked_on_the_old_connection_is_not_lost(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, joined = await pair(server)
    await b.join("s", "b")
    held: list[tuple[Any, ...]] = []
    join = server.app.node.broker.join
    monkeypatch.setattr(server.app.node.broker, "join", lambda *asked, **_how: held.append(asked))
    await a.say("join", "s", {"peer_id": "b"}, id="refused")
    await until(lambda: held, "that the broker is asked")
    a.vanish()  # which the server cannot notice: it reads nothing until the join is done
    again = await resume(server, joined, a.received)
    assert (await again.expect("joined", resumed=True, complete=True))["id"] == "back"
    join(*held[0])
    assert (await again.expect("error", code="peer-id-taken"))["id"] == "refused"


async def test_all_rooms_of_a_session_come_back_with_it(server: Server) -> None:
    a, b, joined = await pair(server)
    await a.join("s", "a2")
    await b.join("s", "b2")
    await a.expect("peer-joined")
    await lose(server, a)
    await b.say("signal", "s", {"target_peer_id": "a2", "data": 1})
    again = await resume(server, joined, a.received)
    assert (await again.expect("signal"))["room"] == "s"
    await again.expect("joined", resumed=True, complete=True)
    await again.say("join", "s", {"peer_id": "a2", "resume": joined["resume"]})
    assert (await again.expect("joined", resumed=True, complete=True))["room"] == "s"


async def test_users_come_back_too(server: Server) -> None:
    uma, vic = await server.user(), await server.user()
    await uma.say("connect", None, {"user_id": "uma"})
    token = (await uma.expect("connected", resumed=False))["payload"]["resume"]
    await uma.say("join-room", "r")
    await uma.expect("room-joined")
    await vic.enter("r", "vic")
    await uma.expect("user-joined")
    await lose(server, uma)
    await vic.say("message", "r", {"content": "hi"})
    again = await server.user()
    await again.say("connect", None, {"user_id": "uma", "resume": token, "received": uma.received})
    await again.expect("message", content="hi")
    await again.expect("connected", resumed=True, complete=True)
    await again.say("message", "r", {"content": "back"})
    await vic.expect("message", content="back")


async def test_a_users_token_is_of_no_use_to_another(server: Server) -> None:
    uma = await server.user()
    await uma.say("connect", None, {"user_id": "uma"})
    token = (await uma.expect("connected"))["payload"]["resume"]
    eve = await server.user()
    await eve.say("connect", None, {"user_id": "eve", "resume": token})
    await eve.expect("connected", resumed=False)


@pytest.mark.settings(ping_interval=0.2)
async def test_what_a_client_is_known_to_have_is_kept_no_longer(server: Server) -> None:
    a, b, joined = await pair(server)
    for number in range(10):
        await signal(b, "a", number)
    for _ in range(10):
        await a.expect("signal")
    session = next(one for one in server.app.sessions._sessions.values() if one.is_in(RoomId("r")))
    await until(lambda: not session._kept, "that a pong has come")
    again = await resume(server, joined, a.received)
    await again.expect("joined", resumed=True, complete=True)
