from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from mcp_actors.broker.memory_event_log import MemoryEventLog
from tests.broker.event_log_contract import LIMIT, EventLogContract

if TYPE_CHECKING:
    from mcp_actors.broker.event_log import MembershipEvent


class Opened:
    """A log in memory."""

    def __init__(self) -> None:
        self.log = MemoryEventLog(LIMIT, time.time)

    def append(self, one: MembershipEvent) -> None:
        self.log.append(one)


class TestMemoryEventLog(EventLogContract):
    @pytest.fixture
    def opened(self) -> Opened:
        return Opened()
