"""The TURN server of docs/guides/turn.md: coturn takes the credentials that peers get, until they end."""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from aioice import stun, turn
from aiortc import (
    RTCConfiguration,
    RTCDataChannel,
    RTCIceServer,
    RTCIceTransportPolicy,
    RTCPeerConnection,
    RTCSessionDescription,
)

from mcp_actors.auth.secret import make
from mcp_actors.auth.turn import TurnServers, turn_user
from mcp_actors.settings import DEFAULTS, PREFIX
from tests.support import coturn
from tests.support.coturn import Coturn
from tests.support.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tornado.ioloop import IOLoop

DEADLINE = 25.0
ATTEMPTS = 5
FIRST, SECOND = make(), make()
UNAUTHORIZED, QUOTA_REACHED = 401, 486


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Coturn]:
    """A coturn that accepts two secrets, the second from its database, and two allocations per user."""
    with Coturn(tmp_path_factory.mktemp("coturn"), FIRST, **{"user-quota": "2"}) as running:
        running.administrate(f"--set-secret={SECOND}")
        yield running


@pytest.fixture
def server(relay: Coturn, io_loop: IOLoop, tmp_path: Path) -> Iterator[Server]:
    """A server that makes credentials for it."""
    server = Server(tmp_path, turn_urls=[relay.url], turn_secret=[FIRST, SECOND], turn_ttl=60)
    io_loop.run_sync(server.start)
    yield server
    io_loop.run_sync(server.stop)


class Allocation(asyncio.DatagramProtocol):
    """An allocation of a TURN client."""

    def __init__(self) -> None:
        self.ended = asyncio.get_running_loop().create_future()
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def connection_lost(self, _error: Exception | None) -> None:
        self.ended.set_result(None)

    async def refresh(self) -> None:
        """Ask for ten more minutes, with the credentials with which it was made. Raises `stun.TransactionFailed`."""
        request = stun.Message(message_method=stun.Method.REFRESH, message_class=stun.Class.REQUEST)
        request.attributes["LIFETIME"] = 600
        await self.transport._TurnTransport__inner_protocol.request_with_retry(request)

    async def close(self) -> None:
        """Tell the server that it is not needed any more."""
        self.transport.close()
        await self.ended


async def allocate(relay: Coturn, server: dict[str, Any]) -> Allocation:
    """Make an allocation with an RTCIceServer. Raises `stun.TransactionFailed`.

    The system may give it a port from which coturn refused another client in the last minute. It then gets no answer
    that it accepts, and tries another port.
    """
    credentials = server["username"], server["credential"]
    for _ in range(ATTEMPTS):
        with suppress(TimeoutError):
            async with asyncio.timeout(DEADLINE / ATTEMPTS):
                _, made = await turn.create_turn_endpoint(Allocation, ("127.0.0.1", relay.port), *credentials)
                return made
    raise AssertionError("coturn does not answer")


async def refusal(relay: Coturn, server: dict[str, Any]) -> int:
    """The code with which an allocation is refused."""
    with pytest.raises(stun.TransactionFailed) as error:
        await allocate(relay, server)
    code: int = error.value.response.attributes["ERROR-CODE"][0]
    return code


def credentials(secret: str, user: str = "alice", ttl: int = 60, made: float | None = None) -> dict[str, Any]:
    """An RTCIceServer with credentials that were made at a time, now by default."""
    return TurnServers(("turn:",), secret, ttl).ice_server(user, time.time() if made is None else made)


@pytest.mark.parametrize(
    "peer_id",
    ["alice", "a:b", "Miles O'Brien", '"\\', "Zoë", "日本語", "the Reunion selection", "x" * 128, "😀" * 128, "%~@"],
)
async def test_coturn_takes_the_credentials_of_every_peer(relay: Coturn, server: Server, peer_id: str) -> None:
    peer = await server.peer()
    joined = await peer.join("r", peer_id)
    await peer.say("ice-servers", "r")
    fresh = (await peer.expect("ice-servers"))["payload"]
    allocations = [await allocate(relay, *given["ice_servers"]) for given in (joined, fresh)]
    relay.wait_for_users(turn_user(peer_id, "r", verified=False))
    for allocation in allocations:
        await allocation.close()


class Caller:
    """An aiortc peer that uses nothing but the TURN servers that it is given."""

    def __init__(self, ice_servers: list[dict[str, Any]]) -> None:
        servers = [RTCIceServer(**server) for server in ice_servers]
        configuration = RTCConfiguration(iceServers=servers, iceTransportPolicy=RTCIceTransportPolicy.RELAY)
        self.connection = RTCPeerConnection(configuration)
        self.heard: asyncio.Queue[str] = asyncio.Queue()

    def listen(self, channel: RTCDataChannel) -> None:
        """Note what is heard on a channel."""
        channel.on("message", self.heard.put_nowait)

    def pair_types(self) -> set[tuple[str, str]]:
        """The types of the candidates in use, local and remote."""
        assert self.connection.sctp is not None
        ice = self.connection.sctp.transport.transport._connection
        return {(pair.local_candidate.type, pair.remote_candidate.type) for pair in ice._nominated.values()}


async def test_two_peers_open_a_data_channel_through_coturn(relay: Coturn, server: Server) -> None:
    ada, grace = await server.peer(), await server.peer()
    one, other = [
        Caller((await peer.join("r", name))["ice_servers"]) for peer, name in ((ada, "ada"), (grace, "grace"))
    ]
    await ada.expect("peer-joined")
    channel = other.connection.createDataChannel("talk")
    other.listen(channel)
    one.connection.on("datachannel", one.listen)
    channel.on("open", lambda: channel.send("from grace"))
    async with asyncio.timeout(DEADLINE):
        await other.connection.setLocalDescription(await other.connection.createOffer())
        await say_description(grace, "offer", "ada", other)
        received = (await ada.expect("offer"))["payload"]["offer"]
        await one.connection.setRemoteDescription(RTCSessionDescription(**received))
        await one.connection.setLocalDescription(await one.connection.createAnswer())
        await say_description(ada, "answer", "grace", one)
        received = (await grace.expect("answer"))["payload"]["answer"]
        await other.connection.setRemoteDescription(RTCSessionDescription(**received))
        assert await one.heard.get() == "from grace"
    assert one.pair_types() == other.pair_types() == {("relay", "relay")}
    relay.wait_for_users(*(turn_user(name, "r", verified=False) for name in ("ada", "grace")))
    await one.connection.close()
    await other.connection.close()


async def say_description(peer: Any, kind: str, target: str, caller: Caller) -> None:
    """Send the local description, which has only candidates of TURN servers."""
    local = caller.connection.localDescription
    assert set(re.findall(r" typ (\w+)", local.sdp)) == {"relay"}
    await peer.say(kind, "r", {"target_peer_id": target, kind: {"type": local.type, "sdp": local.sdp}})


async def test_coturn_refuses_credentials_that_have_ended_or_are_forged(relay: Coturn) -> None:
    assert await refusal(relay, credentials(FIRST, made=time.time() - 62)) == UNAUTHORIZED
    assert await refusal(relay, credentials(make())) == UNAUTHORIZED
    longer = credentials(FIRST) | {"username": credentials(FIRST, ttl=600)["username"]}
    assert await refusal(relay, longer) == UNAUTHORIZED
    another = credentials(FIRST) | {"username": credentials(FIRST, "bob")["username"]}
    assert await refusal(relay, another) == UNAUTHORIZED


async def test_both_secrets_are_accepted_while_they_are_changed_and_the_old_one_no_longer(relay: Coturn) -> None:
    third = make()
    assert await refusal(relay, credentials(third)) == UNAUTHORIZED
    await asyncio.to_thread(relay.administrate, f"--set-secret={third}")
    allocations = [await allocate(relay, credentials(secret, secret[:8])) for secret in (FIRST, SECOND, third)]
    await asyncio.to_thread(relay.administrate, f"--delete-secret={third}")
    assert await refusal(relay, credentials(third)) == UNAUTHORIZED
    for allocation in allocations:
        await allocation.close()


async def test_an_allocation_outlives_its_credentials_in_coturn_but_new_ones_need_new_credentials(
    relay: Coturn,
) -> None:
    given = credentials(FIRST, "carol", ttl=2)
    allocation = await allocate(relay, given)
    while time.time() <= int(given["username"].partition(":")[0]) + 1:
        await asyncio.sleep(0.1)
    assert await refusal(relay, given) == UNAUTHORIZED
    await allocation.refresh()
    await allocation.close()


async def test_a_quota_is_for_one_peer_and_not_for_all_that_claim_its_id(relay: Coturn, server: Server) -> None:
    [mine] = (await (await server.peer()).join("mine", "host"))["ice_servers"]
    [others] = (await (await server.peer()).join("another", "host"))["ice_servers"]
    allocations = [await allocate(relay, mine), await allocate(relay, mine)]
    assert await refusal(relay, mine) == QUOTA_REACHED
    allocations.append(await allocate(relay, others))
    for allocation in allocations:
        await allocation.close()


def test_the_guide_shows_lines_of_the_tested_file() -> None:
    guide = (coturn.FILE.parents[1] / "docs" / "guides" / "turn.md").read_text()
    shown = guide.split("```\n", 2)[1].replace("<the secret>", "change-me").splitlines()
    assert len(shown) >= 4
    assert set(shown) <= set(coturn.FILE.read_text().splitlines())


def test_every_link_and_setting_of_the_guide_exists() -> None:
    file = coturn.FILE.parents[1] / "docs" / "guides" / "turn.md"
    assert set(re.findall(rf"{PREFIX}([A-Z_]+)", file.read_text())) <= {name.upper() for name in DEFAULTS}
    anchors = {
        heading.lower().replace(" ", "-") for heading in re.findall(r"^## (.*)$", file.read_text(), re.MULTILINE)
    }
    for target in re.findall(r"\]\(([^)]+)\)", file.read_text()):
        path, _, anchor = target.partition("#")
        assert "://" in target or ((file.parent / path).exists() if path else anchor in anchors), target
