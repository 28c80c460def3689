"""The member that comes back, against a server whose part the test plays."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING, Any

from websockets.asyncio.server import serve

from bench.chaos.member import now
from bench.chaos.record import Stay
from bench.chaos.returning import Returning

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from websockets.asyncio.server import ServerConnection

DEADLINE = 5.0
ROSTER = [{"peer_id": "ada", "order": 1}, {"peer_id": "bob", "order": 2}]


class Stage:
    """A node, and what the member under test needs."""

    def __init__(self, port: int, dialed: asyncio.Queue[ServerConnection]) -> None:
        self.rng = Random(1)  # noqa: S311 - no secret
        self.window = 5.0
        self.newcomers: list[Stay] = []
        self.ended = asyncio.Event()
        self.stay = Stay("ada", "room", 0)
        self.member = Returning(self.stay, lambda _: self.ended.set(), self, self.newcomers.append)
        self._url = f"ws://127.0.0.1:{port}"
        self._dialed = dialed

    def place(self) -> tuple[int, str]:
        return 1, self._url

    def is_away(self, node: int) -> bool:
        return False

    async def dialed(self) -> tuple[ServerConnection, dict[str, Any]]:
        """The next connection, and its first message."""
        async with asyncio.timeout(DEADLINE):
            socket = await self._dialed.get()
            return socket, await heard(socket)

    async def entered(self) -> ServerConnection:
        """The member's first connection, which has got deliveries 1 and 2."""
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


async def test_it_comes_back_with_its_token_and_sends_again_what_was_not_answered() -> None:
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


async def test_it_does_not_send_again_what_was_answered_before_it_was_back() -> None:
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


async def test_it_goes_when_it_is_asked_to_and_uses_the_old_connection_until_it_is_back() -> None:
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
        assert [one.number for one in on.stay.arrived] == [1, 2, 3], "what both brought counts once"
        assert on.stay.links[0].expected
        assert on.stay.gave_up == ""


async def test_a_copy_that_says_so_is_dropped_and_one_that_does_not_is_kept() -> None:
    async with stage() as on:
        first = await on.entered()
        await said(first, signal(3, "1:ada", again=True))
        await said(first, signal(4, "2:ada", again=True))
        await said(first, signal(5, "1:ada"))
        await on.until(3)
        assert [one.number for one in on.stay.arrived] == [1, 2, 1]
        assert on.stay.dropped == 1


async def test_rivals_share_a_token_and_the_one_that_stays_open_is_used() -> None:
    async with stage() as on:
        await on.entered()
        on.member.switch(rivals=2)
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


async def test_who_is_let_in_as_a_newcomer_says_so_and_goes() -> None:
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


async def test_it_tries_again_when_the_server_cannot_now() -> None:
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
