"""Servers that serve users wrongly are found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcp_actors.conformance.checks import users
from tests.conformance.mutants import before, change, drop, of_module, refuse_otherwise, survivors

if TYPE_CHECKING:
    import pytest

    from tests.support.server import Server

MUTANTS: dict[str, dict[str, Any]] = {
    "USER-1": {"received": refuse_otherwise("not-connected")},
    "USER-2": {"received": change("error", lambda message: message.update(type="connected"))},
    "USER-3": {
        "received": change("room-joined", lambda message: message["payload"]["users"].append({"user_id": "una"}))
    },
    "USER-4": {"received": drop("message")},
    "USER-5": {"received": before("pong", {"type": "user-left", "payload": {}})},
    "USER-6": {"received": drop("peer-left")},
}


def test_each_requirement_has_a_mutant() -> None:
    assert set(MUTANTS) == of_module(users)


async def test_each_mutant_is_found(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await survivors(MUTANTS, server.url("", "http"), monkeypatch) == {}
