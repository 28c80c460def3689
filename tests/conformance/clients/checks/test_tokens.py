"""Clients that use access tokens wrongly are found."""

from __future__ import annotations

from mcp_actors.conformance.clients.checks import tokens
from tests.conformance.clients.faulty_client import unfound


async def test_each_fault_is_found_and_a_client_without_faults_passes() -> None:
    assert await unfound(tokens) == {}
