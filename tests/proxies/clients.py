"""Clients of nodes behind a proxy, and what the nodes say of them."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.support.client import Client, Closed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.server import Process

ADDRESSES = ("127.0.0.2", "127.0.0.3")
DEADLINE = 30.0
NODES = 3
ROOMS = 16


def find(program: str) -> str:
    """The path of a proxy; the test is skipped if it is not installed, except in CI."""
    found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        why = f"{program} is not installed: apt-get install {program}, or your system's way to it"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    return found


def replaced(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, f"{old!r} is in the file once"
    return text.replace(old, new)


def opened(node: Process) -> int:
    """How many connections a node had; it is stopped to tell."""
    node.process.send_signal(signal.SIGTERM)
    _, _, err = node.finish()
    return sum(json.loads(line)["event"] == "opened" for line in err.splitlines())


async def met_in_rooms(url: str, count: int) -> list[int]:
    """How many members each room has once two joined it, whose URLs name it. Nodes without Redis share no rooms."""
    found = []
    for room in (f"room-{number}" for number in range(count)):
        pair = [await Client.open(f"{url}/ws/signaling/?room={room}") for _ in range(2)]
        found.append([len((await peer.join(room, str(index)))["peers"]) for index, peer in enumerate(pair)][1])
        for peer in pair:
            await peer.end()
    return found


async def talk(one: Client, other: Client) -> None:
    """An offer one way and an answer the other, as peers `0` and `1` of room `r`."""
    offer, answer = ({"type": kind, "sdp": f"v=0 {kind} {'x' * 3000}"} for kind in ("offer", "answer"))
    await one.say("offer", "r", {"target_peer_id": "1", "offer": offer})
    assert (await other.expect("offer", offer=offer))["sender"] == "0"
    await other.say("answer", "r", {"target_peer_id": "0", "answer": answer})
    assert (await one.expect("answer", answer=answer))["sender"] == "1"


async def joined_pair(peers: Sequence[Client]) -> list[Any]:
    """The first two join room `r` as `0` and `1`; what each was told."""
    answers = [await peer.join("r", str(index)) for index, peer in enumerate(peers[:2])]
    await peers[0].expect("peer-joined", peer_id="1")
    return answers


async def asked_to_reconnect(peer: Client) -> None:
    """Read until the server asks to reconnect."""
    while (await peer.hear())["type"] != "reconnect":
        pass


async def first_lost(peers: Sequence[Client]) -> bool:
    """Whether one of the connections ends, the others being silent."""
    hearing = [asyncio.ensure_future(peer.hear_text()) for peer in peers]
    done, others = await asyncio.wait(hearing, return_when=asyncio.FIRST_COMPLETED)
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    return [type(task.exception()) for task in done] == [Closed]


async def from_address(port: int, address: str) -> Client:
    """A peer that comes from another address of this machine, and says that it comes from elsewhere."""
    async with asyncio.timeout(DEADLINE):
        headers = {"X-Forwarded-For": "192.0.2.1", "X-Real-IP": "192.0.2.2"}
        url = f"ws://127.0.0.1:{port}/ws/signaling/"
        return Client(await connect(url, additional_headers=headers, proxy=None, local_addr=(address, 0)))


LIMITED = {"MCP_ACTORS_MAX_ADDRESS_CONNECTIONS": "1"}
"""Settings of a node that lets each address have one connection."""


async def limited_pair(port: int) -> list[Client]:
    """Two clients of a `LIMITED` node from addresses of their own; a further one from one of these is refused."""
    peers = [await from_address(port, address) for address in ADDRESSES]
    with pytest.raises(InvalidStatus) as refused:
        await from_address(port, ADDRESSES[0])
    assert refused.value.response.status_code == HTTPStatus.TOO_MANY_REQUESTS
    return peers


async def told_by(node: Process) -> list[dict[str, Any]]:
    """The log of a node that has had a `limited_pair`, which names their addresses; the node is stopped."""
    node.process.send_signal(signal.SIGTERM)
    _, _, err = await asyncio.to_thread(node.finish)
    told = [json.loads(line) for line in err.splitlines()]
    assert [line["address"] for line in told if line["event"] == "opened"] == list(ADDRESSES)
    return told
