"""The client renews access tokens before or after they expire, at a real server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.tokens import REQUIRED, token
from tests.web.conftest import serving
from tests.web.pages import DEADLINE, PLAIN

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

LIFETIME = 8
"""Seconds until a token expires, where a test waits for that."""

SETTINGS = {f"MCP_ACTORS_{name.upper()}": value for name, value in REQUIRED.items()}

CONNECT = """
async ({fixed, refuse}) => {
  const {Connection} = await import("/client/index.js");
  globalThis.happened = [];
  globalThis.fetched = 0;
  const next = async () => {
    if (globalThis.fetched++ > 0 && refuse && happened.length === 0) throw new Error("no token");
    return await nextToken();
  };
  globalThis.connection = new Connection(location.origin, {token: fixed ? await nextToken() : next});
  const hear = (target, ...types) => {
    for (const type of types) target.addEventListener(type, ({detail}) => happened.push([type, detail.code ?? 0]));
  };
  hear(connection, "reconnecting", "close");
  const room = await connection.join("r");
  hear(room, "rejoined", "ended");
  return room.peerId;
}
"""


@pytest.fixture
def page(tmp_path: Path, chromium: Browser) -> Iterator[Page]:
    """A page of a server that requires tokens, with a function `nextToken` that returns one."""
    with serving(tmp_path, SETTINGS | {"MCP_ACTORS_AUTH_LEEWAY": "0"}) as port:
        context = chromium.new_context()
        context.set_default_timeout(DEADLINE * 1000)
        page = context.new_page()
        page.expose_function("nextToken", lambda: token("alice", ttl=LIFETIME))
        page.goto(f"http://127.0.0.1:{port}{PLAIN}")
        yield page
        context.close()


def test_a_function_that_returns_tokens_keeps_the_connection(page: Page) -> None:
    assert page.evaluate(CONNECT, {"fixed": False, "refuse": False}) == "alice"
    page.wait_for_function("() => fetched >= 3")  # one for the connection, then one in half of the time of the last
    assert page.evaluate("happened") == []
    assert page.evaluate("connection.state") == "open"


def test_a_fixed_token_ends_the_connection_for_good(page: Page) -> None:
    page.evaluate(CONNECT, {"fixed": True, "refuse": False})
    page.wait_for_function("() => happened.length")
    assert page.evaluate("happened") == [["ended", "closed"], ["close", 4503]]


def test_a_function_that_fails_for_a_while_resumes_the_session_later(page: Page) -> None:
    page.evaluate(CONNECT, {"fixed": False, "refuse": True})
    page.wait_for_function("() => happened.length && connection.state === 'open'")
    assert page.evaluate("happened") == [["reconnecting", 4503]]
