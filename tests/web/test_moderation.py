"""The browser client hears of moderators, and does not come back to where they put it out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bench.ports import free_ports
from tests.support.tokens import OPTIONAL, token
from tests.web.conftest import DEADLINE, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

SETTINGS = {f"MCP_ACTORS_{name.upper()}": value for name, value in OPTIONAL.items()}

JOIN = """
async (token) => {
  const {Signaling} = await import("/signaling.js");
  const url = location.origin.replace("http", "ws") + "/ws/signaling/";
  globalThis.happened = [];
  globalThis.mo = new Signaling(url, {token});
  globalThis.bob = new Signaling(url);
  for (const type of ["peer-left", "locked", "kicked", "room-closed", "rejoined", "reconnecting", "close"]) {
    bob.addEventListener(type, ({detail}) => happened.push([type, detail.locked ?? detail.code ?? null]));
  }
  await mo.join("r", "mo");
  const joined = await bob.join("r", "bob");
  await mo.request("lock", "r");
  return joined.locked ?? false;
}
"""
CLOSED = "() => happened.some(([type]) => type === 'close')"


@pytest.fixture
def page(tmp_path: Path, chromium: Browser) -> Iterator[Page]:
    """A page of a server that takes tokens."""
    port = free_ports()
    with serving(port, tmp_path, **SETTINGS):
        context = chromium.new_context()
        context.set_default_timeout(DEADLINE * 1000)
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{port}/favicon.svg")
        yield page
        context.close()


@pytest.mark.parametrize(
    ("request_", "payload", "told", "code"),
    [("kick", {"peer_id": "bob"}, "kicked", 4504), ("close-room", {}, "room-closed", 4505)],
)
def test_who_is_put_out_is_told_and_does_not_come_back(
    page: Page, request_: str, payload: dict[str, Any], told: str, code: int
) -> None:
    assert page.evaluate(JOIN, token("mo", can=["signal", "moderate"])) is False
    page.evaluate(f"(payload) => mo.request({request_!r}, 'r', payload)", payload)
    page.wait_for_function(CLOSED)
    assert page.evaluate("happened") == [["locked", True], [told, None], ["close", code]]
    assert page.evaluate("[bob.state, bob.room]") == ["closed", None]
