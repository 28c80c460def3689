"""Servers that number offers wrongly are found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcp_actors.conformance.checks import negotiating
from tests.conformance.mutants import ask, change, drop, of_module, survivors

if TYPE_CHECKING:
    import pytest

    from tests.support.server import Server

MUTANTS: dict[str, dict[str, Any]] = {
    "OFFER-1": {"received": change("offer", lambda message: message.update(negotiation=1))},
    "OFFER-2": {"received": change("ack", lambda message: message["payload"].pop("negotiation", None))},
    "OFFER-3": {"sent": ask(lambda message: message.pop("negotiation", None))},
    "OFFER-4": {"received": drop("answer")},
    "OFFER-5": {"received": drop("answer")},
}


def test_each_requirement_has_a_mutant() -> None:
    assert set(MUTANTS) == of_module(negotiating)


async def test_each_mutant_is_found(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await survivors(MUTANTS, server.url("", "http"), monkeypatch) == {}
