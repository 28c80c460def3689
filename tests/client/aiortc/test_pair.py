"""Pairs that break, heal, and fail: two meshes whose media goes over a path of the test."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aioice.ice
import pytest

from mcp_actors.auth.secret import make
from mcp_actors.client import connect
from mcp_actors.client.aiortc import PairConnected, PairHealed, Reason, health, heartbeat, pair, silence
from tests.client.aiortc.talker import Talker, start, stop
from tests.support.coturn import Coturn
from tests.support.server import Server

if TYPE_CHECKING:
    from pathlib import Path

    from tests.web.call.signaling_proxy import SignalingProxy
    from tests.web.call.udp_path import UdpPath


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times of seconds take a part of that."""
    monkeypatch.setattr(health, "FAILED_AFTER", 1.0)
    monkeypatch.setattr(health, "PAUSES", (1.0,))
    monkeypatch.setattr(heartbeat, "INTERVAL", 0.2)
    monkeypatch.setattr(pair, "TICK", 0.1)
    monkeypatch.setattr(silence, "SILENCE", 1.0)
    monkeypatch.setattr(silence, "PROBE", 0.6)


@pytest.fixture
def talkers() -> tuple[Talker, Talker]:
    """Grace is the polite one."""
    return Talker("ada"), Talker("grace")


async def connected(url: str, talkers: tuple[Talker, Talker]) -> list[asyncio.Task[None]]:
    tasks = await start(url, *talkers)
    for talker in talkers:
        await talker.until(PairConnected)
    await until_data_flows(talkers)
    return tasks


async def until_data_flows(talkers: tuple[Talker, Talker]) -> None:
    for one, other in (talkers, talkers[::-1]):
        await one.say(other.name, "over?")
        await other.until_heard(one.name, "over?")


async def test_both_sides_notice_a_cut_path_and_heal_when_it_is_mended(
    proxy: SignalingProxy, media: UdpPath, talkers: tuple[Talker, Talker]
) -> None:
    tasks = await connected(proxy.url, talkers)
    media.cut()
    for talker, other in (talkers, talkers[::-1]):
        failed = await talker.until_failed(Reason.CHECKS_FAILED)
        assert failed.peer_id == other.name
        assert failed.milliseconds >= 1000
    media.mend()
    for talker in talkers:
        assert (await talker.until(PairHealed)).milliseconds >= 1000
    await until_data_flows(talkers)
    await stop(tasks)


async def test_a_path_that_carries_only_ice_is_noticed_by_the_heartbeat_and_left(
    proxy: SignalingProxy, media: UdpPath, talkers: tuple[Talker, Talker]
) -> None:
    tasks = await connected(proxy.url, talkers)
    before = [talker.connections for talker in talkers]
    media.only_ice()
    for talker in talkers:
        await talker.until(PairHealed)
    await until_data_flows(talkers)
    assert all(talker.connections > count for talker, count in zip(talkers, before, strict=True))
    await stop(tasks)


async def test_a_side_that_hears_nothing_has_the_other_heal_the_pair(
    proxy: SignalingProxy, media: UdpPath, talkers: tuple[Talker, Talker]
) -> None:
    """Nothing that the polite side sends arrives: only the other one can know."""
    tasks = await connected(proxy.url, talkers)
    media.silence("grace")
    await talkers[0].until(PairHealed)
    await until_data_flows(talkers)
    await stop(tasks)


@pytest.mark.parametrize("losing", [0, 1], ids=["impolite", "polite"])
async def test_a_connection_that_one_side_has_lost_is_replaced(
    server: Server, talkers: tuple[Talker, Talker], losing: int
) -> None:
    tasks = await connected(server.url(""), talkers)
    [connection] = talkers[losing].mesh.connections.values()
    await connection.close()
    for talker in talkers:
        await talker.until(PairHealed)
    await until_data_flows(talkers)
    await stop(tasks)


async def test_a_server_that_is_restarted_breaks_no_pair(tmp_path: Path, talkers: tuple[Talker, Talker]) -> None:
    """It does not know its peers any more, and they join again."""
    first = Server(tmp_path)
    await first.start()
    port = first.port
    tasks = await connected(first.url(""), talkers)
    await first.shut_down()
    second = Server(tmp_path, port=port)
    await second.start()
    joining = [asyncio.create_task(until_rejoined(talker)) for talker in talkers]
    await asyncio.gather(*joining)
    await until_data_flows(talkers)
    assert [talker.connections for talker in talkers] == [1, 1]
    assert all(talker.pairs.empty() for talker in talkers)
    [connection] = talkers[0].mesh.connections.values()
    await connection.close()  # the pair heals over the new server
    for talker in talkers:
        await talker.until(PairHealed)
    await stop(tasks)
    await second.shut_down()


async def until_rejoined(talker: Talker) -> None:
    async with asyncio.timeout(30):
        while not any(type(event).__name__ == "Rejoined" for event in talker.events):
            await asyncio.sleep(0.01)


async def test_a_peer_that_does_not_answer_is_told_to_be_gone(server: Server) -> None:
    grace = Talker("grace")
    async with connect(server.url("")) as client:
        await client.join("r", "ada")
        tasks = await start(server.url(""), grace)
        await grace.until_failed(Reason.PEER_GONE)
        await stop(tasks)


async def test_a_peer_whose_problem_is_told_is_refused_by_the_server(server: Server) -> None:
    grace = Talker("grace")
    async with connect(server.url("")) as client:
        room = await client.join("r", "ada")
        tasks = await start(server.url(""), grace)
        await room.signal("grace", {"callProblem": {"code": "message-too-big"}})
        await grace.until_failed(Reason.REFUSED_BY_SERVER)
        await stop(tasks)


@pytest.mark.settings(max_message_bytes=1024)
async def test_a_description_that_the_server_refuses_is_told_on_both_sides(
    server: Server, talkers: tuple[Talker, Talker]
) -> None:
    tasks = await start(server.url(""), *talkers)
    for talker in talkers:
        await talker.until_failed(Reason.REFUSED_BY_SERVER)
    await stop(tasks)


async def test_a_machine_without_a_network_has_no_candidates(
    server: Server, talkers: tuple[Talker, Talker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda *_args, **_kwargs: [])
    tasks = await start(server.url(""), *talkers)
    for talker in talkers:
        await talker.until_failed(Reason.NO_CANDIDATES)
    await stop(tasks)


async def test_a_turn_server_that_refuses_is_told_and_healed_with_credentials_that_it_takes(
    talkers: tuple[Talker, Talker], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the TURN server connects the two."""
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda *_args, **_kwargs: [])
    another = make()
    with Coturn(tmp_path, make()) as relay:
        server = Server(tmp_path, turn_urls=[relay.url], turn_secret=[another])
        await server.start()
        tasks = await start(server.url(""), *talkers)
        for talker in talkers:
            await talker.until_failed(Reason.TURN_REFUSED)
        relay.administrate(f"--set-secret={another}")
        for talker in talkers:
            await talker.until(PairConnected)
        await until_data_flows(talkers)
        await stop(tasks)
        await server.stop()
