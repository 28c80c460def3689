"""The resuming member, against a server played by the test."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.server import serve

from bench.chaos import resuming
from bench.chaos.member import now
from bench.chaos.record import Stay
from bench.chaos.resuming import ResumingMember

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from websockets.asyncio.server import ServerConnection

DEADLINE = 30.0
ROSTER = [{"peer_id": name, "order": order, "metadata": {}} for order, name in enumerate(("ada", "bob"), 1)]


class Stage:
    """The member under test, and a node for it."""

    def __init__(self, port: int, dialed: asyncio.Queue[ServerConnection]) -> None:
        self.rng = Random(1)  # noqa: S311 - no secret
        self.window = 5.0
        self.newcomers: list[Stay] = []
        self.ended = asyncio.Event()
        self.stay = Stay("ada", "room", 0)
        self.member = ResumingMember(self.stay, lambda _: self.ended.set(), self, self.newcomers.append)
        self._url = f"ws://127.0.0.1:{port}"
        self._dialed = dialed

    def choose(self) -> tuple[int, str]:
        return 1, self._url

    def place(self, node: int) -> tuple[int, str]:
        return node, self._url

    def is_away(self, node: int) -> bool:
        return False

    async def dialed(self) -> tuple[ServerConnection, dict[str, Any]]:
        """Return the next connection and its first message."""
        async with asyncio.timeout(DEADLINE):
            socket = await self._dialed.get()
            return socket, await heard(socket)

    async def entered(self) -> ServerConnection:
        """Return the member's first connection, over which deliveries 1 and 2 have arrived."""
        joining = asyncio.ensure_future(self.member.join(self._url, DEADLINE))
        socket, asked = await self.dialed()
        await said(socket, joined(asked, 1, "first", resumed=False))
        await joining
        await said(socket, signal(2, "1:ada"))
        await self.until(1)
        return socket

    async def until(self, arrived: int) -> None:
        async with asyncio.timeout(DEADLINE):
            while len(self.stay.arrived) < arrived:
                await asyncio.sleep(0.01)


@asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    dialed: asyncio.Queue[ServerConnection] = asyncio.Queue()

    async def take(socket: ServerConnection) -> None:
        dialed.put_nowait(socket)
        await socket.wait_closed()

    async with serve(take, "127.0.0.1", 0, compression=None) as server:
        made = Stage(next(iter(server.sockets)).getsockname()[1], dialed)
        yield made
        await made.member.close()


async def heard(socket: ServerConnection) -> dict[str, Any]:
    async with asyncio.timeout(DEADLINE):
        message: dict[str, Any] = json.loads(await socket.recv())
        return message


async def said(socket: ServerConnection, message: dict[str, Any]) -> None:
    await socket.send(json.dumps(message))


def joined(asked: dict[str, Any], delivery: int, token: str, **more: object) -> dict[str, Any]:
    payload = {"peer_id": "ada", "order": 1, "peers": ROSTER, "resume": token, **more}
    return {"delivery": delivery, "type": "joined", "room": "room", "id": asked["id"], "payload": payload}


def signal(delivery: int, name: str, **more: object) -> dict[str, Any]:
    number, _, target = name.partition(":")
    data = {"from": "bob", "to": target, "n": int(number), "t": 0.0}
    payload = {"target_peer_id": target, "data": data}
    return {"delivery": delivery, "sender": "bob", "type": "signal", "payload": payload, "id": name} | more


async def test_it_resumes_with_its_token_and_sends_unanswered_messages_again() -> None:
    async with stage() as on:
        first = await on.entered()
        await said(first, signal(3, "2:ada", room="room", at="7-0"))
        await on.until(2)
        on.member.signal("bob")
        sent = await heard(first)
        first.transport.abort()
        second, asked = await on.dialed()
        assert asked["payload"].items() >= {"resume": "first", "received": 3, "at": {"room": "7-0"}}.items()
        await said(second, joined(asked, 4, "second", resumed=True, complete=True))
        assert await heard(second) == sent | {"again": True}
        assert (on.stay.sent_again, on.stay.links[1].runs, on.stay.node) == (1, [[4, 4]], 1)


async def test_it_does_not_repeat_messages_that_are_answered_while_it_resumes() -> None:
    async with stage() as on:
        first = await on.entered()
        on.member.signal("bob")
        sent = await heard(first)
        first.transport.abort()
        second, asked = await on.dialed()
        await said(second, {"delivery": 3, "type": "ack", "id": sent["id"], "payload": {"status": "delivered"}})
        await said(second, joined(asked, 4, "second", resumed=True, complete=True))
        await said(second, signal(5, "2:ada"))
        await on.until(2)
        assert on.stay.sent_again == 0


async def test_on_reconnect_it_uses_the_old_connection_until_the_new_one_has_resumed() -> None:
    async with stage() as on:
        first = await on.entered()
        await said(first, {"type": "reconnect", "payload": {"after_ms": 200}})
        at = now()
        second, asked = await on.dialed()
        assert now() - at > 0.15
        await said(first, signal(3, "2:ada"))
        await on.until(2)
        on.member.signal("bob")
        await heard(first)
        await said(second, signal(3, "2:ada"))
        await said(second, joined(asked, 4, "second", resumed=True, complete=True))
        assert (await heard(second))["again"]
        await first.close(4501)
        await said(second, signal(5, "3:ada"))
        await on.until(3)
        assert [one.number for one in on.stay.arrived] == [1, 2, 3], "a message over both connections counts once"
        assert on.stay.links[0].expected
        assert on.stay.gave_up == ""


async def test_only_copies_marked_as_sent_again_are_dropped() -> None:
    async with stage() as on:
        first = await on.entered()
        await said(first, signal(3, "1:ada", again=True))
        await said(first, signal(4, "2:ada", again=True))
        await said(first, signal(5, "1:ada"))
        await on.until(3)
        assert [one.number for one in on.stay.arrived] == [1, 2, 1]
        assert on.stay.dropped == 1


async def test_of_concurrent_attempts_the_one_that_stays_open_is_used() -> None:
    async with stage() as on:
        await on.entered()
        on.member.switch(attempts=2)
        (one, asked), (two, also_asked) = await on.dialed(), await on.dialed()
        assert asked["payload"]["resume"] == also_asked["payload"]["resume"] == "first"
        await said(one, joined(asked, 3, "second", resumed=True, complete=True))
        await said(two, joined(asked, 3, "second", resumed=True, complete=True))
        await said(two, joined(also_asked, 4, "third", resumed=True, complete=True))
        await one.close(4501)
        await said(two, signal(5, "2:ada"))
        await on.until(2)
        two.transport.abort()
        _, asked = await on.dialed()
        assert asked["payload"].items() >= {"resume": "third", "received": 5}.items()


async def test_a_member_that_is_not_resumed_is_recorded_as_a_newcomer_and_closes() -> None:
    async with stage() as on:
        first = await on.entered()
        first.transport.abort()
        second, asked = await on.dialed()
        await said(second, joined(asked, 1, "second", resumed=False))
        async with asyncio.timeout(DEADLINE):
            await on.ended.wait()
            await second.wait_closed()
        assert on.stay.gave_up == "resumed is false"
        assert [one.member for one in on.newcomers] == ["ada"]
        assert second.close_code == 1000


async def test_it_tries_again_after_a_retryable_error() -> None:
    async with stage() as on:
        first = await on.entered()
        first.transport.abort()
        second, asked = await on.dialed()
        error = {"code": "unavailable", "message": "Not now.", "retryable": True}
        await said(second, {"type": "error", "id": asked["id"], "payload": error})
        third, asked = await on.dialed()
        assert asked["payload"]["resume"] == "first"
        await said(third, joined(asked, 3, "second", resumed=True, complete=False))
        await said(third, signal(4, "2:ada"))
        await on.until(2)
        assert on.stay.misses


def kicked(error: str = "kicked") -> dict[str, Any]:
    return {"code": error, "message": "A moderator has put you out.", "retryable": False}


async def test_a_kick_that_was_not_answered_is_sent_again() -> None:
    async with stage() as on:
        first = await on.entered()
        asking = asyncio.ensure_future(on.member.kick("bob", DEADLINE))
        asked = await heard(first)
        assert (asked["type"], asked["payload"]) == ("kick", {"peer_id": "bob"})
        first.transport.abort()
        second, join = await on.dialed()
        await said(second, joined(join, 3, "second", resumed=True, complete=True))
        assert await heard(second) == asked | {"again": True}
        await said(second, {"delivery": 4, "type": "kicked", "room": "room", "id": asked["id"], "payload": {}})
        assert await asking == "kicked"
        second.transport.abort()
        third, join = await on.dialed()
        await said(third, joined(join, 5, "third", resumed=True, complete=True))
        on.member.signal("bob")
        assert (await heard(third))["type"] == "signal", "an answered kick is not sent again"


async def test_the_answer_to_a_kick_may_be_an_error() -> None:
    async with stage() as on:
        first = await on.entered()
        asking = asyncio.ensure_future(on.member.kick("bob", DEADLINE))
        asked = await heard(first)
        await said(first, {"type": "error", "id": asked["id"], "payload": kicked("peer-not-found")})
        assert await asking == "peer-not-found"
        assert await on.member.kick("bob", 0.01) == "", "not answered in time"


async def test_a_removed_member_tries_to_return_until_the_answer_is_final() -> None:
    async with stage() as on:
        first = await on.entered()
        await said(first, {"delivery": 3, "type": "kicked", "room": "room", "payload": {"peer_id": "ada"}})
        await first.close(4504)
        trying = asyncio.ensure_future(on.member.try_to_return(DEADLINE))
        second, asked = await on.dialed()
        error = {"code": "unavailable", "message": "Not now.", "retryable": True}
        await said(second, {"type": "error", "id": asked["id"], "payload": error})
        third, asked = await on.dialed()
        assert asked["payload"]["resume"] == "first"
        await said(third, {"type": "error", "id": asked["id"], "payload": kicked()})
        await trying
        assert [one.refused for one in on.stay.links] == ["", "unavailable", "kicked"]
        assert on.stay.ended_at is not None


@pytest.mark.parametrize("resumed", [True, False])
async def test_a_removed_member_that_returns_is_recorded(*, resumed: bool) -> None:
    async with stage() as on:
        first = await on.entered()
        await said(first, {"delivery": 3, "type": "kicked", "room": "room", "payload": {"peer_id": "ada"}})
        await first.close(4504)
        trying = asyncio.ensure_future(on.member.try_to_return(1.0))
        second, asked = await on.dialed()
        await said(second, joined(asked, 4 if resumed else 1, "second", resumed=resumed, complete=True))
        await trying
        assert (on.stay.links[-1].resumed, on.stay.links[-1].newcomer) == (resumed, not resumed)


async def test_an_abandoned_connection_does_not_answer_pings() -> None:
    async with stage() as on:
        first = await on.entered()
        async with asyncio.timeout(DEADLINE):
            await (await first.ping())
        on.member.switch()
        second, asked = await on.dialed()
        pong = asyncio.ensure_future(await first.ping())
        await said(second, joined(asked, 3, "second", resumed=True, complete=True))
        async with asyncio.timeout(DEADLINE):
            await (await second.ping())
        assert not pong.done(), "or the server would believe that the member has received what it ignored"
        pong.cancel()


async def test_closing_waits_for_an_attempt_to_resume_that_is_under_way() -> None:
    async with stage() as on:
        first = await on.entered()
        on.member.switch()
        second, asked = await on.dialed()
        closing = asyncio.ensure_future(on.member.close())
        await said(second, joined(asked, 3, "second", resumed=True, complete=True))
        async with asyncio.timeout(DEADLINE):
            await second.wait_closed()
            await first.wait_closed()
            await closing
        assert (second.close_code, first.close_code) == (1000, 1006), "the abandoned one cannot say that it leaves"
        assert on.newcomers == []


async def test_an_attempt_that_was_given_up_may_replace_the_connection_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resuming, "TIMEOUT", 0.5)
    async with stage() as on:
        first = await on.entered()
        first.transport.abort()
        await on.dialed()
        second, asked = await on.dialed()
        await said(second, joined(asked, 3, "second", resumed=True, complete=True))
        await said(second, signal(4, "2:ada"))
        await on.until(2)
        await second.close(4501)
        await on.dialed()
        assert on.stay.links[2].expected
