"""Bans and the words of moderators, over the wire, within one process and between two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.loop import until
from tests.support.server import Server
from tests.support.tokens import OPTIONAL, bearer
from tests.test_moderation import come_back, guest, hear, moderator

if TYPE_CHECKING:
    from pathlib import Path

    from bench.engine import Engine
    from tests.support.client import Client, Frame

SHARED: dict[str, Any] = {**OPTIONAL, "node_lease": 30.0, "resume_window": 30.0, "ping_interval": 0}
pytestmark = pytest.mark.settings(**SHARED)
WORDS = {"reason": "spam", "message": "Keine Werbung, bitte, 🙏 danke."}


async def knock(server: Server, name: str, **headers: str) -> Frame:
    """Try to join as a peer, and return the reply."""
    client = await server.peer(**headers)
    await client.say("join", "r", {} if "Authorization" in headers else {"peer_id": name}, id="knock")
    while (reply := await hear(client)).get("id") != "knock":
        pass
    await client.close()
    return reply


async def is_banned(server: Server, name: str, **headers: str) -> bool:
    """Whether a peer is answered with `banned`; otherwise it joins and leaves."""
    reply = await knock(server, name, **headers)
    assert reply["type"] == "joined" or reply["payload"]["code"] == "banned", reply
    return bool(reply["type"] == "error")


async def answer(client: Client, request_id: object) -> Frame:
    """The next message that answers a request."""
    while (message := await hear(client)).get("id") != request_id:
        pass
    return message


async def test_a_banned_peer_is_told_and_kept_out_until_the_ban_is_lifted(servers: list[Server]) -> None:
    mo = await moderator(servers[0], "r")
    bob, _ = await guest(servers[1], mo, "bob")
    await mo.say("kick", "r", {"peer_id": "bob", "ban_seconds": 3600, **WORDS}, id=1)
    told = {"peer_id": "bob", "ban_seconds": 3600}
    assert await hear(bob) == {"type": "kicked", "room": "r", "payload": {**told, **WORDS}}
    await bob.expect_close(4504)
    await mo.expect("peer-left", peer_id="bob", reason="kicked")
    assert await hear(mo) == {"type": "kicked", "room": "r", "id": 1, "payload": told}
    for server in servers:
        refused = (await knock(server, "bob"))["payload"]
        assert (refused["code"], refused["retryable"]) == ("banned", False)
        assert 0 < refused["details"].pop("retry_after_ms") <= 3_600_000
        assert refused["details"] == WORDS
        assert not await is_banned(server, "eve")
    mo = await moderator(servers[1], "r", sub="max")
    await mo.say("list-bans", "r", id=7)
    (ban,) = (await answer(mo, 7))["payload"]["bans"]
    assert 0 < ban.pop("expires_in") <= 3600
    assert ban == {"peer_id": "bob", "by": "mo", "address": False, **WORDS}
    await mo.say("unban", "r", {"peer_id": "bob"}, id=8)
    assert await answer(mo, 8) == {"type": "unbanned", "room": "r", "id": 8, "payload": {"peer_id": "bob"}}
    assert not await is_banned(servers[0], "bob")
    await mo.say("unban", "r", {"peer_id": "bob"}, id=9)
    assert (await answer(mo, 9))["payload"]["code"] == "peer-not-found"


async def test_a_user_can_be_banned_that_is_not_in_the_room(servers: list[Server]) -> None:
    mo = await servers[0].user(**bearer("mo", can=["moderate"]))
    await mo.expect("authenticated")
    await mo.enter("r", "mo")
    await mo.say("kick", "r", {"user_id": "una", "ban_seconds": 60}, id=1)
    payload = {"user_id": "una", "ban_seconds": 60, "absent": True}
    assert await hear(mo) == {"type": "kicked", "room": "r", "id": 1, "payload": payload}
    una = await servers[1].user()
    await una.say("connect", None, {"user_id": "una"})
    await una.expect("connected")
    await una.say("join-room", "r", id=2)
    assert (await una.expect_error("banned"))["details"].keys() == {"retry_after_ms"}
    await una.say("join-room", "s")
    await una.expect("room-joined")


async def test_the_ban_of_a_tokens_owner_is_for_both_endpoints(servers: list[Server]) -> None:
    mo = await moderator(servers[0], "r")
    bob = await servers[1].peer(**bearer("bob"))
    await bob.expect("authenticated")
    await bob.say("join", "r", {})
    await bob.expect("joined")
    tab = await servers[0].user(**bearer("bob"))
    await tab.expect("authenticated")
    await tab.enter("r", "bob")
    await mo.say("kick", "r", {"peer_id": "bob", "ban_seconds": 60}, id=1)
    await tab.expect("peer-left", peer_id="bob", reason="kicked")
    for client in (bob, tab):
        await client.expect("kicked")
        await client.expect_close(4504)
    await answer(mo, 1)
    assert await is_banned(servers[1], "bob", **bearer("bob"))
    again = await servers[1].user(**bearer("bob"))
    await again.expect("authenticated")
    await again.say("connect", None, {})
    await again.expect("connected")
    await again.say("join-room", "r")
    await again.expect_error("banned")


async def test_an_impostor_cannot_have_the_owner_of_its_id_banned(servers: list[Server]) -> None:
    mo = await moderator(servers[0], "r")
    await guest(servers[1], mo, "bob")
    await mo.say("kick", "r", {"peer_id": "bob", "ban_seconds": 60}, id=1)
    await answer(mo, 1)
    assert await is_banned(servers[0], "bob")
    assert not await is_banned(servers[0], "bob", **bearer("bob"))


async def test_a_banned_moderator_can_join(servers: list[Server]) -> None:
    mo = await moderator(servers[0], "r")
    await mo.say("kick", "r", {"peer_id": "mo", "ban_seconds": 60, "reason": "oops"}, id=1)
    assert (await mo.expect("kicked", reason="oops"))["id"] == 1
    await mo.expect_close(4504)
    assert await is_banned(servers[1], "mo", **bearer("mo"))
    again = await moderator(servers[1], "r")
    await again.say("unban", "r", {"peer_id": "mo"}, id=2)
    await again.expect("unbanned")


@pytest.mark.settings(trusted_proxies=("127.0.0.1",), ban_addresses=True)
async def test_a_ban_is_for_the_address_of_the_client_where_the_operator_allows_it(servers: list[Server]) -> None:
    def at(address: str) -> dict[str, str]:
        return {"X-Forwarded-For": address}

    mo = await moderator(servers[0], "r")
    for name, address in (("bob", "192.0.2.1"), ("eve", "2001:db8:1:2::3")):
        client = await servers[1].peer(**at(address))
        await client.join("r", name)
        await mo.expect("peer-joined")
        await mo.say("kick", "r", {"peer_id": name, "ban_seconds": 600}, id=name)
        await answer(mo, name)
    for server in servers:
        assert await is_banned(server, "bob2", **at("192.0.2.1"))
        assert not await is_banned(server, "bob2", **at("192.0.2.2"))
        assert await is_banned(server, "eve2", **at("2001:db8:1:2:ffff::"))
        assert not await is_banned(server, "eve2", **at("2001:db8:1:3::3"))
        assert await is_banned(server, "bob", **at("192.0.2.9"))
    await mo.say("list-bans", "r", id=1)
    bans = (await answer(mo, 1))["payload"]["bans"]
    assert sorted((ban["peer_id"], ban["address"]) for ban in bans) == [("bob", True), ("eve", True)]
    assert "192.0.2.1" not in str(bans)
    await mo.say("unban", "r", {"peer_id": "bob"}, id=2)
    await answer(mo, 2)
    assert not await is_banned(servers[1], "bob2", **at("192.0.2.1"))


@pytest.mark.settings(trusted_proxies=("127.0.0.1",), ban_addresses=True)
@pytest.mark.parametrize("away", [False, True], ids=["at once", "after a while"])
async def test_a_ban_is_for_the_address_from_which_the_client_resumed(servers: list[Server], away: bool) -> None:
    mo = await moderator(servers[0], "r")
    bob = await servers[1].peer(**{"X-Forwarded-For": "192.0.2.1"})
    joined = await bob.join("r", "bob")
    await mo.expect("peer-joined")
    if away:
        bob.vanish()
        await until(lambda: servers[1].app.sessions.detached, "that the session is detached")
    again = await come_back(servers[0], joined, bob.received, "bob", **{"X-Forwarded-For": "192.0.2.2"})
    await again.expect("joined", resumed=True)
    await mo.say("kick", "r", {"peer_id": "bob", "ban_seconds": 600}, id=1)
    await answer(mo, 1)
    assert await is_banned(servers[1], "bob2", **{"X-Forwarded-For": "192.0.2.2"})
    assert not await is_banned(servers[1], "bob2", **{"X-Forwarded-For": "192.0.2.1"})


@pytest.mark.settings(trusted_proxies=("127.0.0.1",))
async def test_a_ban_is_not_for_addresses_unless_the_operator_allows_it(servers: list[Server]) -> None:
    mo = await moderator(servers[0], "r")
    bob = await servers[1].peer(**{"X-Forwarded-For": "192.0.2.1"})
    await bob.join("r", "bob")
    await mo.say("kick", "r", {"peer_id": "bob", "ban_seconds": 600}, id=1)
    await answer(mo, 1)
    assert not await is_banned(servers[1], "bob2", **{"X-Forwarded-For": "192.0.2.1"})


@pytest.mark.settings(max_ban_seconds=60, max_room_bans=2, max_bans=3)
async def test_bans_are_limited_in_length_and_number(servers: list[Server]) -> None:
    mo = await moderator(servers[0], "r")
    bob, _ = await guest(servers[1], mo, "bob")
    await mo.say("kick", "r", {"peer_id": "bob", "ban_seconds": 61}, id=1)
    assert (await mo.expect_error("bad-message"))["details"] == {"field": "payload.ban_seconds"}
    for name in ("a", "b"):
        await mo.say("kick", "r", {"peer_id": name, "ban_seconds": 60}, id=2)
        await mo.expect("kicked", absent=True)
    await mo.say("kick", "r", {"peer_id": "bob", "ban_seconds": 60}, id=3)
    assert "unban" in (await mo.expect_error("unavailable"))["message"]
    assert await bob.drain("r") == []


async def test_a_ban_outlives_its_room_and_the_processes(engine: Engine, tmp_path: Path, prefix: str) -> None:
    settings = SHARED | {"redis_url": engine.url, "redis_prefix": prefix}
    for restarted in (False, True):
        server = Server(tmp_path, **settings)
        await server.start()
        if not restarted:
            mo = await moderator(server, "r")
            await mo.say("kick", "r", {"peer_id": "bob", "ban_seconds": 600})
            await mo.say("close-room", "r", id=1)
            await mo.expect("room-closed")
        assert await is_banned(server, "bob")
        assert not await is_banned(server, "eve")
        await server.stop()


@pytest.mark.parametrize("request_", ["kick", "close-room"])
@pytest.mark.parametrize("away", [False, True], ids=["there", "away"])
async def test_the_words_of_a_moderator_are_repeated_when_the_member_tries_to_resume(
    servers: list[Server], request_: str, away: bool
) -> None:
    mo = await moderator(servers[0], "r")
    eve, _ = await guest(servers[1], mo, "eve")
    bob, joined = await guest(servers[1], mo, "bob")
    await eve.expect("peer-joined", peer_id="bob")
    if away:
        bob.vanish()
        await until(lambda: servers[1].app.sessions.detached, "that the session is detached")
    await mo.say(request_, "r", {**WORDS, **({"peer_id": "bob"} if request_ == "kick" else {})}, id=1)
    code = "kicked" if request_ == "kick" else "room-closed"
    if not away:
        assert (await bob.expect(code))["payload"].items() >= WORDS.items()
    await answer(mo, 1)
    await eve.expect("peer-left" if request_ == "kick" else "room-closed")  # its process knows, too
    for server in servers:
        again = await come_back(server, joined, bob.received, "bob")
        assert (await again.expect_error(code))["details"] == WORDS


async def test_a_client_that_resumes_for_another_room_is_told_the_words_it_missed(servers: list[Server]) -> None:
    mo = await moderator(servers[0], "r", "s")
    bob, joined = await guest(servers[1], mo, "bob")
    await bob.join("s", "bob")
    await mo.expect("peer-joined", peer_id="bob")
    bob.vanish()
    await until(lambda: servers[1].app.sessions.detached, "that the session is detached")
    await mo.say("kick", "r", {"peer_id": "bob", **WORDS}, id=1)
    await answer(mo, 1)
    again = await come_back(servers[0], joined, bob.received, "bob", room="s")
    assert (await again.expect("kicked"))["payload"] == {"peer_id": "bob", **WORDS}
    await again.expect("joined", resumed=True)


async def test_kicks_in_a_burst_are_all_carried_out(servers: list[Server]) -> None:
    mo = await moderator(servers[0], "r")
    names = [f"g{number}" for number in range(5)]
    guests = [(await guest(servers[number % 2], mo, name))[0] for number, name in enumerate(names)]
    for name in names:
        await mo.say("kick", "r", {"peer_id": name}, id=name)
    for name in names:
        await mo.expect("peer-left", peer_id=name)
        assert (await mo.expect("kicked", peer_id=name))["id"] == name
    for client in guests:
        await client.expect_close(4504)
