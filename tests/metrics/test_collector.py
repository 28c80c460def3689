"""The collector in the registry of an application: before, while and after the server runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry, Counter, generate_latest

from mcp_actors.environment import load
from mcp_actors.signaling_server import SignalingServer

if TYPE_CHECKING:
    from pathlib import Path


async def test_an_application_has_the_metrics_of_the_server_beside_its_own(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    Counter("orders", "Of the application.", registry=registry).inc()
    signaling = SignalingServer(load(environ={}, directory=tmp_path))
    registry.register(signaling.metrics)
    assert b"mcp_actors_" not in generate_latest(registry)
    async with signaling:
        text = generate_latest(registry).decode()
        assert "orders_total 1.0" in text
        assert "mcp_actors_rooms 0.0" in text
    assert b"mcp_actors_" not in generate_latest(registry)


def test_names_that_the_application_uses_are_noticed_when_it_is_registered(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    Counter("mcp_actors_errors", "Of the application.", registry=registry)
    signaling = SignalingServer(load(environ={}, directory=tmp_path))
    with pytest.raises(ValueError, match="mcp_actors_errors"):
        registry.register(signaling.metrics)
