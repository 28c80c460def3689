"""The base of all handlers: what a bug in one of them tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from mcp_actors.adapters.http.pages import HealthPage
from tests.adapters.tornado.test_web_app import GET, ask

if TYPE_CHECKING:
    import pytest

    from tests.conftest import ExpectedLogs
    from tests.support.server import Server


async def test_a_bug_is_logged_and_answered_with_500_without_details(
    server: Server, expected_logs: ExpectedLogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected_logs("mcp_actors", "request failed")
    expected_logs("mcp_actors", "request")

    def fail(*_: object) -> NoReturn:
        raise RuntimeError("a secret")

    monkeypatch.setattr(HealthPage, "respond", fail)
    status, headers, body = await ask(server, GET % "/healthz")
    assert (status, body) == (500, "500: Internal Server Error\n")
    assert headers["referrer-policy"] == "no-referrer"
