"""Servers whose rooms do not span processes are found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mcp_actors.conformance.checks import cluster
from tests.conformance.mutants import drop, of_module, set_field, survivors
from tests.support.tokens import OPTIONAL

if TYPE_CHECKING:
    from tests.support.server import Server

MUTANTS: dict[str, dict[str, Any]] = {
    "NODE-1": {"received": set_field("joined", "peers", [])},
    "NODE-2": {"received": drop("signal", data=3)},
}

pytestmark = pytest.mark.settings(**OPTIONAL)


def test_each_requirement_has_a_mutant() -> None:
    assert set(MUTANTS) == of_module(cluster)


@pytest.mark.parametrize("servers", [2], indirect=True)
async def test_each_mutant_is_found(servers: list[Server], monkeypatch: pytest.MonkeyPatch) -> None:
    url, other = (server.url("", "http") for server in servers)
    assert await survivors(MUTANTS, url, monkeypatch, other=other) == {}
