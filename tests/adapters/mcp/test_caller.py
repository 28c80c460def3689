"""Callers: who sends a request."""

from __future__ import annotations

from mcp_actors.adapters.mcp.caller import Caller
from tests.support.agents import holder


def test_a_caller_has_the_id_of_its_grant() -> None:
    assert holder("ada").user == "ada"
    assert Caller("127.0.0.1").user == ""
