"""The administration of a single process."""

from __future__ import annotations

import pytest

from mcp_actors.broker.memory import MemoryBroker
from tests.broker.administration_contract import AdministrationContract
from tests.broker.contract import MAX_ROOM_BANS


class TestMemoryAdministration(AdministrationContract):
    @pytest.fixture
    def broker(self) -> MemoryBroker:
        return MemoryBroker(max_room_bans=MAX_ROOM_BANS)


async def test_a_single_process_shares_rooms_with_no_nodes() -> None:
    assert await MemoryBroker().administration.nodes() == ()
