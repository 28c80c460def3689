"""The TURN servers of a signaling server, checked from a peer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.ports import free_ports
from mcp_actors.auth.secret import make
from mcp_actors.client import ice_server_check
from mcp_actors.probe.ice_servers import check_ice_servers
from mcp_actors.probe.peer import Peer
from tests.support.coturn import Coturn
from tests.support.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mcp_actors.probe.report import Check

SECRET = make()


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Coturn]:
    with Coturn(tmp_path_factory.mktemp("coturn"), SECRET) as running:
        yield running


async def found(directory: Path, **settings: object) -> list[Check]:
    """The lines for the ICE servers of a server with these settings."""
    server = Server(directory, **settings)
    await server.start()
    endpoint = server.url("/ws/signaling/")
    async with Peer.enter(endpoint, "r") as one, Peer.enter(endpoint, "r") as other:
        checks = [check async for check in check_ice_servers(one, other)]
    await server.stop()
    return checks


async def test_a_turn_server_allocates_and_relays(relay: Coturn, tmp_path: Path) -> None:
    checks = await found(tmp_path, turn_urls=[relay.url], turn_secret=[SECRET])
    assert [(check.name, check.outcome) for check in checks] == [(relay.url, "ok"), (f"{relay.url} relays", "ok")], (
        checks
    )


async def test_credentials_that_are_refused_are_told_with_what_to_compare(relay: Coturn, tmp_path: Path) -> None:
    [check] = await found(tmp_path, turn_urls=[relay.url], turn_secret=[make()])
    assert check.outcome == "failed"
    assert "refused with 401" in check.text
    assert "static-auth-secret" in check.advice


async def test_a_turn_server_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ice_server_check, "ATTEMPT_TIMEOUT", 0.1)
    [check] = await found(tmp_path, turn_urls=[f"turn:127.0.0.1:{free_ports()}"], turn_secret=[SECRET])
    assert (check.outcome, check.text) == ("failed", "no answer")
    assert "docs/guides/turn.md" in check.advice


async def test_a_server_without_turn_is_told_what_that_means(relay: Coturn, tmp_path: Path) -> None:
    stun = f"stun:127.0.0.1:{relay.port}"
    checks = await found(tmp_path, ice_servers=[{"urls": [stun]}])
    assert [(check.name, check.outcome) for check in checks] == [(stun, "ok"), ("TURN", "skipped")]
    assert "MCP_ACTORS_TURN_URLS" in checks[1].advice
