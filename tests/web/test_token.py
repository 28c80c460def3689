"""The browser client brings an access token, and a new one before it ends or after it has."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.tokens import REQUIRED, token
from tests.web.conftest import DEADLINE, _free_port, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

CONNECT = """
async ({fixed, refuse}) => {
  const {Signaling} = await import("/signaling.js");
  globalThis.happened = [];
  globalThis.asked = 0;
  const next = async () => {
    if (globalThis.asked++ > 0 && refuse && happened.length === 0) throw new Error("none to be had");
    return await nextToken();
  };
  const url = location.origin.replace("http", "ws") + "/ws/signaling/";
  globalThis.signaling = new Signaling(url, {token: fixed ? await nextToken() : next});
  for (const type of ["reconnecting", "rejoined", "close"]) {
    signaling.addEventListener(type, ({detail}) => happened.push([type, detail.code ?? 0]));
  }
  return await signaling.join("r", "alice");
}
"""


@pytest.fixture
def page(tmp_path: Path, chromium: Browser) -> Iterator[Page]:
    """A page of a server that requires tokens, whose function `nextToken` gets one good for two seconds."""
    port = _free_port()
    settings = {f"MCP_ACTORS_{name.upper()}": value for name, value in REQUIRED.items()}
    with serving(port, tmp_path, **settings, MCP_ACTORS_AUTH_LEEWAY="0"):
        context = chromium.new_context()
        context.set_default_timeout(DEADLINE * 1000)
        page = context.new_page()
        page.expose_function("nextToken", lambda: token("alice", ttl=2))
        page.goto(f"http://127.0.0.1:{port}/favicon.svg")
        yield page
        context.close()


def happened(page: Page) -> list[Any]:
    found: list[Any] = page.evaluate("happened")
    return found


def test_a_function_that_gets_tokens_keeps_the_connection(page: Page) -> None:
    joined = page.evaluate(CONNECT, {"fixed": False, "refuse": False})
    assert joined["peer_id"] == "alice"
    page.wait_for_function(
        "() => asked >= 5"
    )  # one for the connection, and each of the others in half of the last one's time
    assert happened(page) == []
    assert page.evaluate("signaling.state") == "open"


def test_a_token_alone_ends_the_connection_for_good(page: Page) -> None:
    page.evaluate(CONNECT, {"fixed": True, "refuse": False})
    page.wait_for_function("() => happened.length")
    assert happened(page) == [["close", 4503]]


def test_a_function_that_fails_for_a_while_brings_the_session_back(page: Page) -> None:
    began = time.monotonic()
    page.evaluate(CONNECT, {"fixed": False, "refuse": True})
    page.wait_for_function("() => happened.length && signaling.state === 'open'")
    assert happened(page) == [["reconnecting", 4503]]
    assert time.monotonic() - began > 1
