"""Servers that relay messages wrongly are found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcp_actors.conformance.checks import relaying
from tests.conformance.mutants import before, change, drop, of_module, refuse_otherwise, set_field, survivors, swap

if TYPE_CHECKING:
    import pytest

    from tests.support.server import Server

MUTANTS: dict[str, dict[str, Any]] = {
    "RELAY-1": {"received": change("signal", lambda message: message.pop("sender"))},
    "RELAY-2": {"received": lambda message: [message]},  # encoded anew
    "RELAY-3": {"make": swap("signal")},
    "RELAY-4": {"received": set_field("ack", "status", "sent")},
    "RELAY-5": {"received": drop("error", code="peer-not-found")},
    "RELAY-6": {"received": refuse_otherwise("bad-message")},
    "RELAY-7": {"received": before("pong", {"type": "signal", "payload": {}})},
    "RELAY-8": {"make": swap("peer-joined")},
    "RELAY-9": {"received": set_field("ice-candidate", "candidate", {})},
}


def test_each_requirement_has_a_mutant() -> None:
    assert set(MUTANTS) == of_module(relaying)


async def test_each_mutant_is_found(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await survivors(MUTANTS, server.url("", "http"), monkeypatch) == {}
