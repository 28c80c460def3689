"""Sessions over real sockets: a client that lost its connection resumes its session with a token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mcp_actors.connection.connection import Connection
from mcp_actors.sessions.resume_tokens import ResumeTokens, new_session_id
from tests.support.loop import until

if TYPE_CHECKING:
    from tests.support.client import Client, Frame
    from tests.support.server import Server


async def pair(server: Server, **how: Any) -> tuple[Client, Client, Frame]:
    """Peers `a` and `b` in room `r`, with nothing left to hear, and the answer to the join of `a`."""
    a, b = await server.peer(), await server.peer()
    joined = await a.join("r", "a")
    await b.join("r", "b", **how)
    await a.expect("peer-joined", peer_id="b")
    return a, b, joined


async def lose(server: Server, client: Client) -> None:
    """Cut a connection, and wait until the server has noticed."""
    before = len(server.app.connections)
    client.vanish()
    await until(lambda: len(server.app.connections) < before, "the connection is lost")


async def resume(server: Server, joined: Frame, received: int, room: str = "r", peer_id: str = "a") -> Client:
    """Resume on a new connection, with its answers left to hear."""
    client = await server.peer()
    await client.say("join", room, {"peer_id": peer_id, "resume": joined["resume"], "received": received}, id="back")
    return client


async def signal(client: Client, target: str, data: int) -> str:
    """Send a signal; the status of its ack is returned."""
    await client.say("signal", "r", {"target_peer_id": target, "data": data}, id=data)
    status: str = (await client.expect("ack"))["payload"]["status"]
    return status


async def test_a_client_that_resumes_has_missed_nothing_and_the_room_noticed_nothing(server: Server) -> None:
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
async def test_messages_that_were_sent_and_not_read_are_sent_again(server: Server) -> None:
    a, b, joined = await pair(server)
    seen = a.received
    for number in range(5):
        assert await signal(b, "a", number) == "delivered"
    await lose(server, a)
    again = await resume(server, joined, seen)
    assert [(await again.expect("signal"))["payload"]["data"] for _ in range(5)] == list(range(5))
    await again.expect("joined", resumed=True, complete=True)


async def test_a_client_may_resume_before_the_server_notices_the_loss_and_its_old_connection_is_closed(
    server: Server,
) -> None:
    a, b, joined = await pair(server)
    again = await resume(server, joined, a.received)
    await again.expect("joined", resumed=True, complete=True)
    await a.expect_close(4501)
    assert await signal(b, "a", 1) == "delivered"
    await again.expect("signal")
    assert await b.drain("r") == []


async def test_a_token_can_be_used_once(server: Server) -> None:
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


async def test_a_token_is_valid_until_the_client_has_the_next(server: Server) -> None:
    a, _, joined = await pair(server)
    seen = a.received
    for _ in range(2):
        lost = await server.peer()
        lost.stop_reading()
        await lost.say("join", "r", {"peer_id": "a", "resume": joined["resume"], "received": seen})
        await until(lambda: resumed(server) == 1, "the session is resumed")
        lost.vanish()
        await until(lambda: resumed(server) == 0, "the connection is lost")
    again = await resume(server, joined, seen)
    for _ in range(2):
        await again.expect("joined", resumed=True)  # the replies that were lost, as they were
    await again.expect("joined", resumed=True, complete=True)


def resumed(server: Server) -> int:
    """Return the number of open connections whose session was resumed."""
    return sum(isinstance(one, Connection) and one.resumed and not one.closed for one in server.app.connections)


@pytest.mark.parametrize("token", ["x", "", "\u00e4", "A" * 44, "e30.e30.e30"])
async def test_an_invalid_token_is_ignored(server: Server, token: str) -> None:
    a = await server.peer()
    joined = await a.join("r", "a", resume=token)
    assert joined["resumed"] is False
    assert "complete" not in joined


async def test_a_token_is_ignored_under_another_id(server: Server) -> None:
    a, b, joined = await pair(server)
    await lose(server, a)
    other = await resume(server, joined, 0, peer_id="eve")
    await other.expect("joined", resumed=False, order=3)
    assert [message["type"] for message in await b.drain("r")] == ["peer-joined"]


@pytest.mark.settings(resume_window=0.3)
async def test_a_client_that_does_not_resume_in_time_leaves(server: Server) -> None:
    a, b, joined = await pair(server)
    await lose(server, a)
    await b.expect("peer-left", peer_id="a", reason="timeout")
    again = await resume(server, joined, 0)
    await again.expect("joined", resumed=False, order=3)


async def test_a_client_that_closes_deliberately_cannot_resume(server: Server) -> None:
    a, b, joined = await pair(server)
    await a.close()
    await b.expect("peer-left", peer_id="a", reason="disconnected")
    again = await resume(server, joined, 0)
    await again.expect("joined", resumed=False)


@pytest.mark.settings(resume_window=0)
async def test_without_a_resume_window_there_are_no_tokens_and_no_delivery_numbers(server: Server) -> None:
    a, b, joined = await pair(server)
    assert not {"resume", "resumed", "complete"} & set(joined)
    assert a.received == 0
    a.vanish()
    await b.expect("peer-left", peer_id="a", reason="disconnected")


@pytest.mark.settings(max_session_messages=3)
async def test_every_message_that_was_queued_arrives_and_the_sender_of_any_other_is_told(server: Server) -> None:
    a, b, joined = await pair(server)
    seen = a.received
    await lose(server, a)
    for number in range(3):
        assert await signal(b, "a", number) == "queued"
    offer, answer = ({"target_peer_id": "a", kind: {"sdp": "v=0"}} for kind in ("offer", "answer"))
    candidate = {"target_peer_id": "a", "candidate": None}
    for kind, payload in (("offer", offer), ("answer", answer), ("ice-candidate", candidate)):
        for fields in ({"id": kind}, {}):
            await b.say(kind, "r", payload, **fields)
            error = await b.expect("error", code="unavailable", retryable=True)
            assert error.get("id") == fields.get("id")
            assert "Peer 'a' is away" in error["payload"]["message"]
    again = await resume(server, joined, seen)
    assert [(await again.expect("signal"))["payload"]["data"] for _ in range(3)] == [0, 1, 2]
    await again.expect("joined", resumed=True, complete=True)
    assert await signal(b, "a", 4) == "delivered"


@pytest.mark.settings(max_session_messages=3)
async def test_joins_and_leaves_push_out_no_message_that_was_queued(server: Server) -> None:
    a, b, joined = await pair(server)
    seen = a.received
    await lose(server, a)
    assert await signal(b, "a", 1) == "queued"
    for number in range(5):
        await (await server.peer()).join("r", f"c{number}")
        await b.expect("peer-joined")
    again = await resume(server, joined, seen)
    await again.expect("signal", data=1)
    for number in range(2):
        await again.expect("peer-joined", peer_id=f"c{number}")
    reply = await again.expect("joined", resumed=True, complete=False)
    assert [peer["peer_id"] for peer in reply["payload"]["peers"]] == ["a", "b", *(f"c{number}" for number in range(5))]


async def test_a_message_that_is_sent_again_on_the_same_connection_is_passed_on_once(server: Server) -> None:
    a, b, _ = await pair(server)
    for again in (False, True, True):
        await b.say("signal", "r", {"target_peer_id": "a", "data": 1}, id="x", again=again)
        assert (await b.expect("ack", status="delivered"))["id"] == "x"
    await a.expect("signal", data=1)
    assert await a.drain("r") == []


async def test_peers_that_asked_for_presence_are_told_who_is_away_and_back(server: Server) -> None:
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


async def test_the_holder_of_a_resume_token_has_its_id_before_any_client_that_claims_it(server: Server) -> None:
    a, b, joined = await pair(server)
    await lose(server, a)
    await b.say("signal", "r", {"target_peer_id": "a", "data": 1}, id=1)
    await b.expect("ack", status="queued")
    thief = await server.peer()
    for resume_token in ({}, {"resume": "guessed", "received": 0}):
        await thief.say("join", "r", {"peer_id": "a", **resume_token})
        assert (await thief.expect_error("peer-id-taken"))["retryable"]
    again = await resume(server, joined, a.received)
    await again.expect("signal", data=1)
    await again.expect("joined", resumed=True, complete=True)
    assert await b.drain("r") == []


@pytest.mark.settings(resume_window=0.2)
async def test_an_id_is_free_again_when_the_time_to_resume_is_over(server: Server) -> None:
    a, b, _ = await pair(server)
    a.vanish()
    await b.expect("peer-left", peer_id="a", reason="timeout")
    assert (await (await server.peer()).join("r", "a"))["resumed"] is False
    await b.expect("peer-joined", peer_id="a", order=3)


async def test_the_answer_to_a_request_on_the_old_connection_is_not_lost(
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


async def test_all_rooms_of_a_session_are_resumed(server: Server) -> None:
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


async def test_users_can_resume(server: Server) -> None:
    uma, vic = await server.user(), await server.user()
    await uma.say("connect", None, {"user_id": "uma"})
    token = (await uma.expect("connected", resumed=False))["payload"]["resume"]
    await uma.say("join-room", "r")
    await uma.expect("room-joined")
    await vic.enter("r", "vic")
    await uma.expect("user-joined")
    await lose(server, uma)
    await vic.say("message", "r", {"content": "hi"}, id=1)
    await vic.expect("ack")
    again = await server.user()
    await again.say("connect", None, {"user_id": "uma", "resume": token, "received": uma.received})
    await again.expect("message", content="hi")
    await again.expect("connected", resumed=True, complete=True)
    await again.say("message", "r", {"content": "back"})
    await vic.expect("message", content="back")


async def test_the_token_of_a_user_is_ignored_for_another(server: Server) -> None:
    uma = await server.user()
    await uma.say("connect", None, {"user_id": "uma"})
    token = (await uma.expect("connected"))["payload"]["resume"]
    eve = await server.user()
    await eve.say("connect", None, {"user_id": "eve", "resume": token})
    await eve.expect("connected", resumed=False)


async def come_back(server: Server, client: Client, joined: Frame, room: str = "r") -> tuple[Client, Frame]:
    """Cut a connection and resume its session; the new one, and the reply or the error."""
    await lose(server, client)
    again = await resume(server, joined, client.received, room)
    while (reply := await again.hear()).get("id") != "back":
        pass
    return again, reply


@pytest.mark.parametrize("token", ["x", "", None, "of another session", "of another secret"])
async def test_a_roster_is_sent_again_only_for_a_token_of_the_session(server: Server, token: str | None) -> None:
    a, b, joined = await pair(server)
    other = (await (await server.peer()).join("s", "other"))["resume"]
    again, _ = await come_back(server, a, joined)
    sealed = ResumeTokens(b"another secret").seal(new_session_id(), 1)
    given = {"of another session": other, "of another secret": sealed}.get(token or "", token)
    await again.say("join", "r", {"peer_id": "a", "resume": given}, id=2)
    await again.expect_error("already-in-room")
    await again.say("join", "r", {"peer_id": "a", "resume": joined["resume"]}, id=3)
    await again.expect("joined", resumed=True)
    assert [one["type"] for one in await b.drain("r")] == []


@pytest.mark.settings(connection_join_rate=0.01, connection_join_burst=3)
async def test_a_roster_that_is_asked_for_more_than_once_after_a_comeback_counts_as_a_join(server: Server) -> None:
    a = await server.peer()
    joined = await a.join("r", "a")
    await a.join("s", "a")
    again, _ = await come_back(server, a, joined)
    await again.say("join", "s", {"peer_id": "a", "resume": joined["resume"]})
    await again.expect("joined", resumed=True)
    for room in ("r", "s", "r"):
        await again.say("join", room, {"peer_id": "a", "resume": joined["resume"]})
        await again.expect("joined", resumed=True)
    await again.say("join", "s", {"peer_id": "a", "resume": joined["resume"]})
    error = await again.expect_error("rate-limited")
    assert error["details"]["retry_after_ms"] > 1000


@pytest.mark.settings(address_join_rate=0.01, address_join_burst=5)
async def test_a_class_that_reloads_at_once_is_let_in_at_once_and_further_comebacks_count_as_joins(
    server: Server,
) -> None:
    clients = [await server.peer() for _ in range(4)]
    joined = [await client.join(f"r{number}", "a") for number, client in enumerate(clients)]
    outcomes = []
    for _ in range(6):
        for client in clients:
            await lose(server, client)
        clients = [
            await resume(server, one, client.received, f"r{number}")
            for number, (client, one) in enumerate(zip(clients, joined, strict=True))
        ]
        for number, client in enumerate(clients):
            while (reply := await client.hear()).get("id") != "back":
                pass
            outcomes.append(reply["type"])
            if reply["type"] == "joined":
                joined[number] = reply["payload"]
            else:
                assert reply["payload"]["code"] == "rate-limited"
                assert reply["payload"]["retryable"]
        if "error" in outcomes:
            break
    assert outcomes[: 3 * len(clients)] == ["joined"] * 3 * len(clients)
    assert outcomes[-1] == "error"


@pytest.mark.settings(connection_delivery_rate=1, connection_delivery_burst=64)
async def test_what_a_session_has_missed_is_charged_to_the_client_that_comes_back(server: Server) -> None:
    a, b, joined = await pair(server)
    await lose(server, a)
    for number in range(4):
        await b.say("signal", "r", {"target_peer_id": "a", "data": "x" * 50_000}, id=number)
        await b.expect("ack", status="queued")
    again = await resume(server, joined, a.received)
    while (await again.hear())["type"] != "joined":
        pass
    connection = list(server.app.connections)[-1]
    assert isinstance(connection, Connection)
    assert connection.limits.delay > 0


@pytest.mark.settings(max_session_messages=16)
async def test_a_flood_in_one_room_leaves_room_for_the_messages_of_another(server: Server) -> None:
    a, flooder, joined = await pair(server)
    await a.join("private", "a")
    friend = await server.peer()
    await friend.join("private", "friend")
    await a.expect("peer-joined", peer_id="friend")
    await lose(server, a)
    statuses = []
    for number in range(40):
        await flooder.say("signal", "r", {"target_peer_id": "a", "data": number}, id=number)
        statuses.append((await flooder.hear())["type"])
    assert statuses == ["ack"] * 8 + ["error"] * 32
    for number in range(4):
        await friend.say("signal", "private", {"target_peer_id": "a", "data": number}, id=number)
        await friend.expect("ack", status="queued")
    again = await resume(server, joined, a.received)
    heard = [await again.expect("signal") for _ in range(12)]
    assert [one["room"] for one in heard] == ["r"] * 8 + ["private"] * 4
    await again.expect("joined", resumed=True, complete=True)


@pytest.mark.settings(max_session_messages=16, ping_interval=0)
async def test_a_flood_in_one_room_pushes_out_no_message_of_another_and_the_client_is_told(server: Server) -> None:
    uma, flooder, friend = [await server.user() for _ in range(3)]
    await uma.say("connect", None, {"user_id": "uma"})
    token = (await uma.expect("connected"))["payload"]["resume"]
    for room, other in (("lobby", flooder), ("private", friend)):
        await uma.say("join-room", room)
        await uma.expect("room-joined")
        await other.enter(room, room)
        await uma.expect("user-joined")
    await lose(server, uma)
    await friend.say("message", "private", {"content": "hi"}, id=1)
    await friend.expect("ack")
    for number in range(100):
        await flooder.say("message", "lobby", {"content": number}, id=number)
        await flooder.expect("ack")
    again = await server.user()
    await again.say("connect", None, {"user_id": "uma", "resume": token, "received": uma.received})
    heard = []
    while (message := await again.hear())["type"] == "message":
        heard.append(message["payload"]["content"])
        again.received = 0  # numbers are skipped where messages were lost
    assert heard == ["hi", *range(101 - len(heard), 100)]
    assert len(heard) > 10
    assert message["type"] == "connected"
    assert (message["payload"]["resumed"], message["payload"]["complete"]) == (True, False)
