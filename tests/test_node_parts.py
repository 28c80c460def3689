"""The node of a process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mcp_actors.broker.memory import MemoryBroker
from mcp_actors.broker.redis import RedisBroker
from mcp_actors.environment import load
from mcp_actors.node_parts import make_node

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("url", "kind"), [("", MemoryBroker), ("redis://localhost", RedisBroker)])
async def test_a_node_has_the_broker_that_its_settings_ask_for(tmp_path: Path, url: str, kind: type) -> None:
    settings = load(overrides={"redis_url": url}, environ={}, directory=tmp_path)
    first, second = make_node(settings), make_node(settings)
    assert isinstance(first.broker, kind)
    assert first.id != second.id
