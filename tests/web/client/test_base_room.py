"""The client reports what moderators do, and does not reconnect after it was removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
  const {Connection} = await import("/client/index.js");
  globalThis.happened = [];
  globalThis.connection = new Connection(location.origin);
  const hear = (target, ...types) => {
    for (const type of types) {
      target.addEventListener(type, ({detail}) => happened.push([type, detail.locked ?? detail.code ?? null]));
    }
  };
  hear(connection, "reconnecting", "close");
  globalThis.mo = await new Connection(location.origin, {token}).join("r");
  globalThis.bob = await connection.join("r", {peerId: "bob"});
  hear(bob, "peer-left", "lock-changed", "rejoined", "ended");
  const {locked} = bob;
  await mo.lock();
  return [locked, mo.locked];
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
    ("call", "reason", "code"), [("kick('bob')", "kicked", 4504), ("close()", "room-closed", 4505)]
)
def test_a_removed_peer_is_told_and_does_not_reconnect(page: Page, call: str, reason: str, code: int) -> None:
    assert page.evaluate(JOIN, token("mo", can=["signal", "moderate"])) == [False, True]
    page.evaluate(f"mo.{call}")
    page.wait_for_function(CLOSED)
    assert page.evaluate("happened") == [["lock-changed", True], ["ended", reason], ["close", code]]
    assert page.evaluate("[connection.state, bob.joined]") == ["closed", False]


def test_a_removed_peer_may_join_another_room_at_once(page: Page) -> None:
    """The server closes the connection of a client that is in no room, whatever that has just sent."""
    page.evaluate(JOIN, token("mo", can=["signal", "moderate"]))
    page.evaluate(
        """() => {
          globalThis.elsewhere = new Promise((resolve, reject) => {
            bob.addEventListener("ended", () => connection.join("elsewhere").then(({name}) => resolve(name), reject));
          });
        }"""
    )
    page.evaluate("mo.kick('bob')")
    assert page.evaluate("elsewhere") == "elsewhere"
    assert page.evaluate("[connection.state, [...connection.rooms.keys()]]") == ["open", ["elsewhere"]]
