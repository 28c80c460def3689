"""Revoked access tokens, over the wire: at the process that is asked, and at another one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from mcp_actors.auth.grants import Grant
from tests.support.admin import ask, get, post
from tests.support.asgi import AsgiServer
from tests.support.loop import until
from tests.support.tokens import OPTIONAL, REQUIRED, bearer, token

if TYPE_CHECKING:
    from pathlib import Path

    from mcp_actors.auth.authorization import Handshake, JoinRequest
    from tests.support.client import Client
    from tests.support.server import Server

ADMIN = ["admin"]


async def member(server: Server, sub: str, **claims: Any) -> Client:
    """A peer of room `r` with a token."""
    client = await server.peer(**bearer(sub, **claims))
    await client.expect("authenticated")
    await client.join("r", sub)
    return client


async def refused(server: Server, sub: str, **claims: Any) -> None:
    """A client with this token is told why it is closed."""
    client = await server.peer(**bearer(sub, **claims))
    assert "revoked" in (await client.expect_error("unauthorized"))["message"]
    await client.expect_close(4507)


@pytest.mark.settings(**REQUIRED)
async def test_a_revoked_token_is_closed_and_counts_nowhere_any_more(servers: list[Server]) -> None:
    here, there = servers
    ben = await member(here, "ben", jti="b1")
    ada = await member(here, "ada", jti="a1")
    await ben.expect("peer-joined", peer_id="ada")
    answer = await post(there, "/revocations", {"jti": "a1", "seconds": 60})
    assert (answer["claim"], answer["value"]) == ("jti", "a1")
    assert 50 < answer["until"] - time.time() <= 60
    await ada.expect_close(4507)
    await ben.expect("peer-left", peer_id="ada", reason="disconnected")
    for server in servers:
        await refused(server, "ada", jti="a1")
        late = await server.peer()
        await late.say("authenticate", payload={"token": token("ada", jti="a1")})
        await late.expect_error("unauthorized")
        await late.expect_close(4507)
    again = await member(there, "ada", jti="a2")
    await again.say("authenticate", payload={"token": token("ada", jti="a1")})
    await again.expect_error("unauthorized")
    await again.say("leave", "r")
    await again.expect("left")


@pytest.mark.settings(**OPTIONAL)
async def test_all_tokens_of_a_sub_are_revoked_and_its_sessions_end(servers: list[Server]) -> None:
    here, there = servers
    ben = await member(here, "ben")
    away, tab = await member(here, "ada", jti="a1"), await here.user(**bearer("ada", jti="a2"))
    await tab.expect("authenticated")
    await ben.expect("peer-joined", peer_id="ada")
    away.vanish()
    await until(lambda: len(here.app.sessions.detached) == 1, "that its session waits")
    await post(there, "/revocations", {"sub": "ada"})
    await tab.expect_close(4507)
    await ben.expect("peer-left", peer_id="ada")
    for server in servers:
        await refused(server, "ada", jti="new", iat=time.time() + 60)


@pytest.mark.settings(**REQUIRED)
async def test_a_session_of_a_revoked_token_cannot_be_resumed_at_another_process(servers: list[Server]) -> None:
    here, there = servers
    client = await here.peer(**bearer("ada", jti="a1"))
    await client.expect("authenticated")
    joined = await client.join("r", "ada")
    client.vanish()
    await until(lambda: len(here.app.sessions.detached) == 1, "that its session waits")
    await post(here, "/revocations", {"jti": "a1"})
    back = await there.peer()
    await back.say("authenticate", payload={"token": token("ada", jti="a1")})
    await back.say("join", "r", {"peer_id": "ada", "resume": joined["resume"], "received": client.received})
    await back.expect_error("unauthorized")
    await back.expect_close(4507)
    good = await there.peer(**bearer("ada", jti="a2"))
    await good.expect("authenticated")
    await good.say("join", "r", {"peer_id": "ada", "resume": joined["resume"], "received": client.received})
    assert (await good.expect("joined"))["payload"]["resumed"]


@pytest.mark.settings(**REQUIRED)
async def test_a_user_may_come_back_with_a_token_that_was_issued_later(servers: list[Server]) -> None:
    here, there = servers
    now = time.time()
    old = await member(here, "ada", iat=now - 60)
    await post(there, "/revocations", {"sub": "ada", "issued_before": now})
    await old.expect_close(4507)
    await refused(here, "ada")
    await refused(here, "ada", iat=now - 1)
    await member(here, "ada", iat=now + 1)


@pytest.mark.settings(**OPTIONAL)
async def test_revocations_are_listed_and_lifted(servers: list[Server]) -> None:
    here, there = servers
    for body in ({"sub": "ada /é", "seconds": 90}, {"jti": "t/1", "seconds": 60}):
        await post(here, "/revocations", body)

    async def listed() -> list[tuple[str, str]]:
        return [(one["claim"], one["value"]) for one in (await get(there, "/revocations"))["revocations"]]

    while await listed() != [("jti", "t/1"), ("sub", "ada /é")]:
        pass
    for lifted in (True, False):
        answer = await ask(there, "DELETE", "/revocations/sub/ada%20%2F%C3%A9")
        assert answer.content == {"claim": "sub", "value": "ada /é", "lifted": lifted}
    while await listed() != [("jti", "t/1")]:
        pass
    assert (await ask(there, "DELETE", "/revocations/aud/x")).status == 400


@pytest.mark.settings(**OPTIONAL)
async def test_a_revoked_token_is_no_operators(server: Server) -> None:
    admin = bearer("ops", can=ADMIN, jti="o1")
    proxied = {"X-Real-IP": "192.0.2.1", **admin}
    assert (await ask(server, "GET", "/rooms", headers=proxied)).status == 200
    await post(server, "/revocations", {"jti": "o1"})
    answer = await ask(server, "GET", "/rooms", headers=proxied)
    assert (answer.status, answer.content["error"]["code"]) == (401, "unauthorized")


@pytest.mark.settings(max_revocations=1)
@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"jti": "a", "sub": "b"}, 400),
        ({"jti": "a", "issued_before": 1}, 400),
        ({"jti": ""}, 400),
        ({"sub": "a", "seconds": 0}, 400),
        ({"sub": "a", "seconds": 31_622_401}, 400),
        ({"sub": "a"}, 409),
    ],
)
async def test_a_revocation_that_makes_no_sense_or_is_one_too_many_is_refused(
    servers: list[Server], body: dict[str, object], status: int
) -> None:
    await post(servers[0], "/revocations", {"sub": "first"})
    answer = await ask(servers[1], "POST", "/revocations", body)
    assert answer.status == status


async def test_what_the_application_grants_is_revoked_too(tmp_path: Path) -> None:
    async def authorize(_request: Handshake | JoinRequest) -> Grant | None:
        return Grant("ada")

    server = AsgiServer(tmp_path, authorize)
    await server.start()
    try:
        client = await server.peer()
        await client.join("r", "ada")
        await post(server, "/revocations", {"sub": "ada"})
        await client.expect_close(4507)
        with pytest.raises(Exception, match="403"):
            await server.peer()
    finally:
        await server.stop()
