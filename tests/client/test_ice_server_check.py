"""STUN and TURN servers, asked directly."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from bench.ports import free_ports
from mcp_actors.auth.secret import make
from mcp_actors.auth.turn import TurnServers
from mcp_actors.client import ice_server_check
from mcp_actors.client.ice_server_check import IceServerOutcome, check_ice_server, single_servers
from tests.support.coturn import Coturn

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = make()


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Coturn]:
    with Coturn(tmp_path_factory.mktemp("coturn"), SECRET) as running:
        yield running


def given(url: str, secret: str = SECRET) -> dict[str, Any]:
    """An RTCIceServer with credentials of a secret."""
    [server] = single_servers([TurnServers((url,), secret, 60).ice_server("ada", time.time())])
    return server


def test_each_url_is_a_server_of_its_own() -> None:
    shared = {"username": "a", "credential": "b"}
    servers: list[dict[str, Any]] = [{"urls": ["turn:x", "turn:y"], **shared}, {"urls": "stun:z"}]
    assert single_servers(servers) == [
        {"urls": ["turn:x"], **shared},
        {"urls": ["turn:y"], **shared},
        {"urls": ["stun:z"]},
    ]


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_an_allocation_is_made_and_given_up(relay: Coturn, transport: str) -> None:
    found = await check_ice_server(given(f"turn:127.0.0.1:{relay.port}?transport={transport}"))
    assert found.outcome == IceServerOutcome.WORKS, found
    assert found.is_turn
    assert found.milliseconds is not None
    relay.wait_for(lambda log: "delete: " in log, "the end of the allocation")


async def test_a_stun_server_tells_an_address(relay: Coturn) -> None:
    found = await check_ice_server({"urls": [f"stun:127.0.0.1:{relay.port}"]})
    assert (found.outcome, found.is_turn) == (IceServerOutcome.WORKS, False)
    assert "127.0.0.1:" in found.text


async def test_a_refusal_has_its_code(relay: Coturn) -> None:
    found = await check_ice_server(given(relay.url, make()))
    assert (found.outcome, found.code) == (IceServerOutcome.REFUSED, 401)


@pytest.mark.parametrize("scheme", ["stun", "turn"])
async def test_a_server_that_does_not_answer_is_unreachable(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ice_server_check, "ATTEMPT_TIMEOUT", 0.1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        url = f"{scheme}:127.0.0.1:{silent.getsockname()[1]}"
        found = await check_ice_server({"urls": [url], "username": "a", "credential": "b"}, attempts=2)
    assert (found.outcome, found.text) == (IceServerOutcome.UNREACHABLE, "no answer")


async def test_a_refused_connection_and_a_name_without_an_address_are_unreachable() -> None:
    for url in (f"turn:127.0.0.1:{free_ports()}?transport=tcp", "turn:no-such-host.invalid"):
        found = await check_ice_server({"urls": [url], "username": "a", "credential": "b"})
        assert found.outcome == IceServerOutcome.UNREACHABLE, found


@pytest.mark.parametrize("url", ["turn:", "http://example.org", "stuns:127.0.0.1"])
async def test_a_url_that_cannot_be_asked_is_told(url: str) -> None:
    assert (await check_ice_server({"urls": [url]})).outcome == IceServerOutcome.UNKNOWN
