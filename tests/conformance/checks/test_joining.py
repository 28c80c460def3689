"""Servers that tell members wrongly of each other are found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcp_actors.conformance.checks import joining
from tests.conformance.mutants import ask, before, change, drop, of_module, refuse_otherwise, set_field, survivors

if TYPE_CHECKING:
    import pytest

    from tests.support.server import Server

MUTANTS: dict[str, dict[str, Any]] = {
    "JOIN-1": {"received": change("joined", lambda message: message["payload"]["peers"].reverse())},
    "JOIN-2": {"received": set_field("peer-joined", "metadata", {})},
    "JOIN-3": {"received": set_field("joined", "order", 1)},
    "JOIN-4": {"received": refuse_otherwise("peer-id-taken")},
    "JOIN-5": {"received": refuse_otherwise("already-in-room")},
    "JOIN-6": {"received": drop("ack")},
    "JOIN-7": {"received": refuse_otherwise("not-in-room")},
    "JOIN-8": {"sent": ask(lambda message: message.update(room=message["room"].removesuffix("-2")))},
    "LEAVE-1": {"received": set_field("peer-left", "reason", "timeout")},
    "LEAVE-2": {"received": refuse_otherwise("not-in-room")},
    "LEAVE-3": {"received": drop("peer-left")},
    "UPDATE-1": {"received": drop("peer-updated")},
    "UPDATE-2": {"received": before("signal", {"type": "peer-updated", "payload": {}})},
}


def test_each_requirement_has_a_mutant() -> None:
    assert set(MUTANTS) == of_module(joining)


async def test_each_mutant_is_found(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await survivors(MUTANTS, server.url("", "http"), monkeypatch) == {}
