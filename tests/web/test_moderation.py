"""The browser client reports what moderators do, and does not reconnect after it was removed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.tokens import OPTIONAL, token
from tests.web.conftest import serving
from tests.web.pages import DEADLINE, PLAIN

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
    """A page of a server with optional tokens."""
    with serving(tmp_path, SETTINGS) as port:
        context = chromium.new_context()
        context.set_default_timeout(DEADLINE * 1000)
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{port}{PLAIN}")
        yield page
        context.close()


@pytest.mark.parametrize(
    ("request_type", "payload", "event", "code"),
    [("kick", {"peer_id": "bob"}, "kicked", 4504), ("close-room", {}, "room-closed", 4505)],
)
def test_a_removed_peer_is_told_and_does_not_reconnect(
    page: Page, request_type: str, payload: dict[str, Any], event: str, code: int
) -> None:
    assert page.evaluate(JOIN, token("mo", can=["signal", "moderate"])) is False
    page.evaluate(f"(payload) => mo.request({request_type!r}, 'r', payload)", payload)
    page.wait_for_function(CLOSED)
    assert page.evaluate("happened") == [["locked", True], [event, None], ["close", code]]
    assert page.evaluate("[bob.state, bob.room]") == ["closed", None]
