"""Servers that admit those whom tokens do not allow are found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mcp_actors.conformance.checks import tokens
from tests.conformance.mutants import change, drop, of_module, refuse_otherwise, set_field, survivors
from tests.support.tokens import OPTIONAL, SECRET

if TYPE_CHECKING:
    from tests.support.server import Server


def forget(message: dict[str, Any]) -> None:
    message.pop("verified", None)


MUTANTS: dict[str, dict[str, Any]] = {
    "TOKEN-1": {"received": drop("authenticated")},
    "TOKEN-2": {"received": refuse_otherwise("forbidden")},
    "TOKEN-3": {"received": change("authenticated", lambda message: message.pop("id", None))},
    "TOKEN-4": {"received": change("signal", forget)},
    "MOD-1": {"received": refuse_otherwise("forbidden")},
    "MOD-2": {"received": set_field("peer-left", "reason", "left")},
    "MOD-3": {"received": refuse_otherwise("room-locked")},
    "MOD-4": {"received": refuse_otherwise("kicked")},
}

pytestmark = pytest.mark.settings(**OPTIONAL)


def test_each_requirement_has_a_mutant() -> None:
    assert set(MUTANTS) == of_module(tokens)


async def test_each_mutant_is_found(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await survivors(MUTANTS, server.url("", "http"), monkeypatch, secret=SECRET) == {}
