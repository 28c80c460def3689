"""The composition root: its parts work together, and stopping leaves nothing behind."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from tornado.httpclient import AsyncHTTPClient

from mcp_actors import __version__, heap
from tests.support.client import DEADLINE, Closed
from tests.support.loop import until
from tests.support.server import Server

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import ExpectedLogs


async def test_both_endpoints_are_served_and_closed_with_1001(tmp_path: Path) -> None:
    server = Server(tmp_path)
    await server.start()
    peer, user = await server.peer(), await server.user()
    await peer.join("r", "p")
    await user.say("connect", None, {"user_id": "u"})
    connected = await user.expect("connected")
    assert connected["payload"]["server"] == {"name": "mcp_actors", "version": __version__}
    stopping = asyncio.ensure_future(server.shut_down())
    await peer.expect_close(1001)
    await user.expect_close(1001)
    await stopping
    assert len(server.app.connections) == 0
    with pytest.raises(OSError, match=r"\[Errno"):
        await server.peer()


async def test_a_single_process_does_not_drain(tmp_path: Path) -> None:
    server = Server(tmp_path, drain_seconds=600)
    await server.start()
    peer = await server.peer()
    await peer.join("r", "p")
    stopping = asyncio.ensure_future(server.shut_down())
    with pytest.raises(Closed) as closed:
        await peer.hear()
    assert closed.value.code == 1001
    await stopping


async def test_stopping_ends_all_rooms(tmp_path: Path) -> None:
    server = Server(tmp_path)
    await server.start()
    peers = [await server.peer() for _ in range(3)]
    for index, peer in enumerate(peers):
        await peer.join("r", str(index))
        await peer.join(f"own {index}", "p")
    assert len(server.app.node.rooms()) == 4
    await server.stop()
    while len(server.app.node.rooms()):
        await asyncio.sleep(0)


@pytest.mark.parametrize("step", ["connections.close_all", "sessions.stop", "_background.stop"])
async def test_a_step_of_stopping_that_fails_does_not_prevent_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    server = Server(tmp_path)
    await server.start()
    peer = await server.peer()
    part, name = step.split(".")
    failing = getattr(server.app, part)
    do = getattr(failing, name)
    stopped = []

    async def fail(*arguments: Any) -> None:
        await do(*arguments)
        raise RuntimeError("no luck")

    async def stop_broker() -> None:
        stopped.append("broker")

    monkeypatch.setattr(failing, name, fail)
    monkeypatch.setattr(server.app.node.broker, "stop", stop_broker)
    with pytest.raises(RuntimeError, match="no luck"):
        await server.shut_down()
    assert stopped == ["broker"]
    await peer.expect_close(1001)
    with pytest.raises(OSError, match=r"\[Errno"):
        await server.peer()


async def test_the_app_is_not_ready_and_answers_until_it_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(tmp_path)
    await server.start()
    goes_on = asyncio.Event()
    monkeypatch.setattr(server.app.node.broker, "stop", goes_on.wait)
    probe = AsyncHTTPClient()
    assert (await probe.fetch(server.url("/readyz", "http"))).code == 200
    stopping = asyncio.ensure_future(server.shut_down())
    await asyncio.sleep(0)
    ready = await probe.fetch(server.url("/readyz", "http"), raise_error=False)
    health = await probe.fetch(server.url("/healthz", "http"))
    goes_on.set()
    await stopping
    assert (ready.code, ready.body, health.code) == (503, b'{"ready": false, "reason": "draining"}', 200)


async def test_a_heartbeat_that_fails_is_logged_and_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors", "background task failed, restarting it")
    server = Server(tmp_path)
    run, again, runs = server.app.connections.run, asyncio.Event(), count(1)

    async def fail_once() -> None:
        if next(runs) == 1:
            raise RuntimeError("no luck")
        again.set()
        await run()

    monkeypatch.setattr(server.app.connections, "run", fail_once)
    await server.start()
    await asyncio.wait_for(again.wait(), DEADLINE)
    await server.stop()


async def test_the_growth_of_the_process_is_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[heap.GrowthWatch] = []

    def look(watch: heap.GrowthWatch) -> None:
        looks.append(watch)

    monkeypatch.setattr(heap, "LOOK_EVERY", 0.001)
    monkeypatch.setattr(heap.GrowthWatch, "look", look)
    server = Server(tmp_path)
    await server.start()
    await until(lambda: len(looks) > 2, "several looks")
    await server.stop()
    assert len(set(map(id, looks))) == 1
