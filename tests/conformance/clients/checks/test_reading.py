"""Clients that misread messages, or do not send pings are found."""

from __future__ import annotations

from mcp_actors.conformance.clients.checks import reading
from tests.conformance.clients.faulty_client import unfound


async def test_each_fault_is_found_and_a_client_without_faults_passes() -> None:
    assert await unfound(reading) == {}
