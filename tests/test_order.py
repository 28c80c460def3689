"""The order that PROTOCOL.md promises, under many peers that join, signal and leave at once."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.support.client import DEADLINE, Client, Closed, Frame

if TYPE_CHECKING:
    from tests.support.server import Server

PEERS, STAYING, SIGNALS = 24, 4, 400


class Log:
    """Checks what one peer receives from its join on."""

    def __init__(self, peer: Client, name: str) -> None:
        self.peer, self.name = peer, name
        self.order = 0
        self.events: list[tuple[str, str]] = []
        self.present: dict[str, int] = {}
        self.last: dict[str, int] = {}

    def take(self, message: Frame) -> None:
        payload = message["payload"]
        match message["type"]:
            case "joined":
                self.order = payload["order"]
                self.present = {peer["peer_id"]: peer["order"] for peer in payload["peers"]}
                assert list(self.present.values()) == sorted(self.present.values())
                assert list(self.present)[-1] == self.name
            case "peer-joined":
                assert payload["peer_id"] not in self.present
                assert payload["order"] > max(self.present.values())
                self.present[payload["peer_id"]] = payload["order"]
                self.events.append(("+", payload["peer_id"]))
            case "peer-left":
                del self.present[payload["peer_id"]]
                self.events.append(("-", payload["peer_id"]))
            case "signal":
                sender = message["sender"]
                assert sender in self.present, "a signal from a peer not announced, or after it left"
                assert payload["data"] > self.last.get(sender, -1), "signals of one peer out of order"
                self.last[sender] = payload["data"]

    async def listen(self) -> None:
        with suppress(Closed):
            while True:
                self.take(await self.peer.hear())


async def join(server: Server, name: str) -> Log:
    log = Log(await server.peer(), name)
    await log.peer.say("join", "r", {"peer_id": name})
    log.take(await log.peer.hear())
    return log


@pytest.mark.settings(resume_window=0.1)
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_all_peers_see_one_order_of_joins_and_leaves_with_signals_between(server: Server, seed: int) -> None:
    draw = random.Random(seed)  # noqa: S311 - a schedule, not a secret
    staying = [await join(server, f"stays {number}") for number in range(STAYING)]
    listening = [asyncio.ensure_future(log.listen()) for log in staying]

    async def visit(name: str) -> None:
        log = await join(server, name)
        listener = asyncio.ensure_future(log.listen())
        for number in range(SIGNALS // PEERS):
            target = draw.choice(list(log.present))
            if target != name:
                await log.peer.say("signal", "r", {"target_peer_id": target, "data": number})
        if draw.random() < 0.3:
            log.peer.vanish()
        else:
            await log.peer.say("leave", "r")
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)
        visits.append(log)

    visits: list[Log] = []
    async with asyncio.timeout(DEADLINE):
        await asyncio.gather(*(visit(f"visits {number}") for number in range(PEERS)))
        while any(len(log.present) > STAYING for log in staying):
            await asyncio.sleep(0.001)
    for listener in listening:
        listener.cancel()
    await asyncio.gather(*listening, return_exceptions=True)
    first = staying[-1].events
    assert len(first) == 2 * PEERS
    for log in staying:
        assert log.events[-len(first) :] == first
    for log in visits:
        start = first.index(("+", log.name)) + 1
        assert log.events == first[start : start + len(log.events)]


async def test_rosters_are_exact_when_all_peers_join_at_once(server: Server) -> None:
    logs = [Log(await server.peer(), f"peer {number}") for number in range(PEERS)]
    for log in logs:
        await log.peer.say("join", "r", {"peer_id": log.name})
    for log in logs:
        while len(log.present) < PEERS:
            log.take(await log.peer.hear())
    assert sorted(log.order for log in logs) == list(range(1, PEERS + 1))
    rosters = [log.present for log in logs]
    assert all(roster == rosters[0] for roster in rosters)


async def test_exactly_one_of_many_joins_with_the_same_id_succeeds(server: Server) -> None:
    peers = [await server.peer() for _ in range(10)]
    for peer in peers:
        await peer.say("join", "r", {"peer_id": "wanted"})
    answers = [(await peer.hear())["type"] for peer in peers]
    assert sorted(answers) == ["error"] * 9 + ["joined"]
