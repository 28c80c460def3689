"""The official conformance suite: all scenarios that need no tools of its own fixture."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import mcp_clients

MODERN, LEGACY = "2026-07-28", "2025-11-25"
SCENARIOS = [
    (LEGACY, "server-initialize"),
    (LEGACY, "ping"),
    (LEGACY, "tools-list"),
    (LEGACY, "resources-list"),
    (LEGACY, "dns-rebinding-protection"),
    (MODERN, "server-stateless"),
    (MODERN, "tools-list"),
    (MODERN, "resources-list"),
    (MODERN, "sep-2164-resource-not-found"),
    (MODERN, "caching"),
    (MODERN, "dns-rebinding-protection"),
    (MODERN, "server-sse-multiple-streams"),
    (MODERN, "http-header-validation"),
    (MODERN, "input-required-result-unsupported-methods"),
]


ON_ASGI = [(MODERN, "server-stateless"), (MODERN, "http-header-validation")]
"""Those that look at more than messages."""


@pytest.mark.settings(address_request_rate=0)
@pytest.mark.parametrize(
    ("door", "revision", "scenario"),
    [*(("tornado", *each) for each in SCENARIOS), *(("uvicorn", *each) for each in ON_ASGI)],
    ids=str,
    indirect=["door"],
)
async def test_the_conformance_suite_finds_nothing_wrong(door: Any, node: str, revision: str, scenario: str) -> None:
    status, told = await mcp_clients.run(
        node,
        mcp_clients.SUITE,
        *("server", "--url", door.url("/mcp", "http")),
        *("--spec-version", revision, "--scenario", scenario),
        *("--expected-failures", str(mcp_clients.BASELINE)),
    )
    assert (status, "Baseline check passed" in told) == (0, True), told
