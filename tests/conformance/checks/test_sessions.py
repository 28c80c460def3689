"""Servers whose sessions lose or repeat something are found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcp_actors.conformance.checks import sessions
from tests.conformance.mutants import ask, change, drop, of_module, refuse_otherwise, set_field, survivors

if TYPE_CHECKING:
    import pytest

    from tests.support.server import Server

MUTANTS: dict[str, dict[str, Any]] = {
    "RESUME-1": {"received": change("signal", lambda message: message.update(delivery=7))},
    "RESUME-2": {"received": drop("signal", data=3)},
    "RESUME-3": {"received": change("peer-away", lambda message: message.update(type="peer-left"))},
    "RESUME-4": {"sent": ask(lambda message: message["payload"].pop("resume", None))},
    "RESUME-5": {"received": set_field("ack", "status", "delivered")},
    "RESUME-6": {"received": set_field("joined", "resumed", value=True)},
    "RESUME-7": {"sent": ask(lambda message: message.pop("again", None))},
    "RESUME-8": {"received": refuse_otherwise("peer-id-taken")},
}


def test_each_requirement_has_a_mutant() -> None:
    assert set(MUTANTS) == of_module(sessions)


async def test_each_mutant_is_found(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await survivors(MUTANTS, server.url("", "http"), monkeypatch) == {}
