"""The browser client brings an access token, and a new one before it ends or after it has."""

from __future__ import annotations

import signal
import time
from itertools import permutations
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import pytest
from playwright.sync_api import expect

from bench.engine import Engine
from bench.ports import free_ports
from tests.support.server import Process
from tests.support.tokens import REQUIRED, token
from tests.web.conftest import DEADLINE, serving
from tests.web.test_demo import OpenPage, a_room, frames_decoded, id_of
from tests.web.test_drain import ask_to_go, wait_until
from tests.web.test_resume import NetworkPath, Scripted, joined, signalled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

    from tests.web.conftest import Watch

SETTINGS = {f"MCP_ACTORS_{name.upper()}": value for name, value in REQUIRED.items()}

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
    port = free_ports()
    with serving(port, tmp_path, **SETTINGS, MCP_ACTORS_AUTH_LEEWAY="0"):
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


# ------------------------------------------------------------------------------------------- asked to connect elsewhere

START = """
async () => {
  const {Signaling} = await import("/signaling.js");
  Object.assign(globalThis, {asked: 0, refusing: false, stalling: false, brought: [], log: []});
  globalThis.WebSocket = class extends WebSocket {
    constructor(url, protocols) {
      super(url, protocols);
      if (url.endsWith("/scripted/")) brought.push(protocols);
    }
  };
  const token = async () => {
    asked++;
    if (refusing) throw new Error("none to be had");
    if (stalling) await new Promise(() => {});
    return `number-${asked}`;
  };
  globalThis.signaling = new Signaling(`ws://${location.host}/ws/scripted/`, {token});
  for (const type of ["reconnecting", "close", "signal"]) {
    signaling.addEventListener(type, ({detail}) => log.push(detail?.data ?? type));
  }
  await signaling.join("r", "me");
}
"""
BROUGHT = [["mcp-actors", f"mcp-actors.token.number-{number}"] for number in range(10)]


@pytest.fixture
def scripted(open_page: OpenPage) -> tuple[Page, Scripted]:
    """A page that has joined at a server in the test's hands, and gets tokens that are numbered."""
    server = Scripted()
    server.greeting = [joined(1, "resume 1", resumed=False)]
    page = open_page(a_room(), websockets=server.over)
    page.evaluate(START)
    return page, server


def test_the_next_connection_brings_a_token_too_and_waits_for_one(scripted: tuple[Page, Scripted]) -> None:
    """Until there is one the connection in use serves on."""
    page, server = scripted
    page.evaluate("refusing = true")
    ask_to_go(server.sockets[0], 0)
    page.wait_for_function("() => asked >= 3")
    server.say(**signalled(2))
    page.wait_for_function("() => log.length")
    assert len(server.sockets) == 1
    server.greeting = [joined(3, "resume 2", resumed=True, complete=True)]
    page.evaluate("refusing = false")
    wait_until(page, lambda: len(server.sockets) == 2, "the next connection")
    wait_until(page, lambda: server.heard[-1]["payload"].get("resume") == "resume 1", "that it goes on there")
    server.say(**signalled(4))
    page.wait_for_function("() => log.length >= 2")
    assert page.evaluate("log") == [2, 4]
    assert page.evaluate("brought") == [BROUGHT[1], BROUGHT[page.evaluate("asked")]]


def test_while_a_token_is_fetched_for_the_next_connection_another_room_is_joined_there(
    scripted: tuple[Page, Scripted],
) -> None:
    """The process that asked to go would refuse it."""
    page, server = scripted
    page.evaluate("stalling = true")
    ask_to_go(server.sockets[0], 0)
    page.wait_for_function("() => asked >= 2")
    server.greeting = [joined(1, "resume another", resumed=False)]
    page.evaluate("() => { stalling = false; globalThis.elsewhere = signaling.join('elsewhere', 'me'); }")
    wait_until(page, lambda: server.heard[-1]["type"] == "leave", "that it leaves")
    server.say(id=server.heard[-1]["id"], delivery=2, type="left", payload={"peer_id": "me"})
    assert page.evaluate("elsewhere.then(({order}) => order)") == 1
    assert len(server.sockets) == 2
    assert page.evaluate("brought.at(-1)") == BROUGHT[page.evaluate("asked")]


# -------------------------------------------------------------------------------------------------------- the demo page


def page_of(port: int, sub: str, room: str, **claims: Any) -> str:
    """The address of the demo page with a token."""
    return f"http://127.0.0.1:{port}/?{urlencode({'room': room, 'token': token(sub, **claims)})}"


def test_the_demo_page_brings_the_token_of_its_address_and_shows_it_no_more(
    open_page: OpenPage, watch: Watch, tmp_path: Path
) -> None:
    port = free_ports()
    watch.hosts.add(f"127.0.0.1:{port}")
    with serving(port, tmp_path, **SETTINGS):
        ada, zoe = pages = [open_page(page_of(port, sub, "team-1", rooms=["team-*"])) for sub in ("ada", "Zoë ✓")]
        assert [id_of(page) for page in pages] == ["ada", "Zoë ✓"]
        for one, other in permutations(pages):
            assert frames_decoded(one, id_of(other)) > 0
        ada.locator("#chat-input").fill("Hello")
        ada.locator("#chat-send").click()
        expect(zoe.locator("#chat-log .text").filter(has_text="Hello")).to_be_visible()
        expect(zoe.locator("#roster")).to_contain_text("ada")
        assert urlsplit(ada.url).query == "room=team-1"
        ada.reload()
        assert frames_decoded(ada, "Zoë ✓") > 0
        assert id_of(ada) == "ada"
        ada.locator("#room-input").fill("staff")
        ada.locator("#room-go").click()
        expect(ada.locator("#problem")).to_contain_text("does not let you into room 'staff'")
        for page in pages:
            page.goto("about:blank")


def test_the_demo_page_asks_for_a_token_where_one_is_needed(open_page: OpenPage, watch: Watch, tmp_path: Path) -> None:
    port = free_ports()
    watch.hosts.add(f"127.0.0.1:{port}")
    with serving(port, tmp_path, **SETTINGS):
        page = open_page(f"http://127.0.0.1:{port}/?room=team-1")
        form, field, problem = (page.locator(name) for name in ("#token-form", "#token-input", "#problem"))
        expect(problem).to_contain_text("asks for an access token")
        expect(field).to_be_focused()
        field.fill("not a token")
        field.press("Enter")
        expect(problem).to_contain_text("asks for an access token")  # nothing was done with it
        for refused in ("no.such.token", token("ada", ttl=-60)):
            with page.expect_navigation():
                field.fill(refused)
                field.press("Enter")
            expect(problem).to_contain_text("unauthorized")
            expect(field).to_be_visible()
        good = token("ada", rooms=["team-*"])
        field.fill(f" {good} ")
        field.press("Enter")
        expect(page.locator("#status")).to_have_attribute("data-state", "open")
        expect(form).to_be_hidden()
        assert id_of(page) == "ada"
        assert urlsplit(page.url).query == "room=team-1"
        assert good not in page.content()
        page.goto("about:blank")


NO_STORAGE = "Object.defineProperty(globalThis, 'sessionStorage', {get() { throw new DOMException('forbidden'); }});"


def test_a_demo_page_that_can_remember_no_token_says_so(open_page: OpenPage, watch: Watch, tmp_path: Path) -> None:
    port = free_ports()
    watch.hosts.add(f"127.0.0.1:{port}")
    with serving(port, tmp_path, **SETTINGS):
        page = open_page(f"http://127.0.0.1:{port}/", init_script=NO_STORAGE)
        page.locator("#token-input").fill(token("ada"))
        page.locator("#token-input").press("Enter")
        expect(page.locator("#toast")).to_contain_text("remembers nothing")
        page.goto("about:blank")


def test_the_demo_page_asks_for_a_new_token_when_its_own_has_ended(
    open_page: OpenPage, watch: Watch, tmp_path: Path
) -> None:
    port = free_ports()
    watch.hosts.add(f"127.0.0.1:{port}")
    with serving(port, tmp_path, **SETTINGS, MCP_ACTORS_AUTH_LEEWAY="0"):
        page = open_page(page_of(port, "ada", "team-1", ttl=3))
        expect(page.locator("#problem")).to_contain_text("token-expired")
        page.locator("#token-input").fill(token("ada"))
        page.locator("#token-input").press("Enter")
        expect(page.locator("#status")).to_have_attribute("data-state", "open")
        page.goto("about:blank")


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    """A Redis for processes that stand beside each other."""
    with Engine() as engine:
        yield engine.url


def test_pages_with_tokens_go_from_a_process_that_stops_to_another(
    open_page: OpenPage, watch: Watch, tmp_path: Path, redis_url: str
) -> None:
    def start() -> Process:
        environ = SETTINGS | {"REDIS_URL": redis_url, "MCP_ACTORS_DRAIN_SECONDS": "2"}
        return Process(tmp_path, "serve", "--host", "127.0.0.1", "--port", "0", **environ)

    watch.server_may_be_away = True
    with start() as stopping, start() as staying:
        path = NetworkPath(stopping.wait_until_serving().port)
        watch.hosts.add(f"127.0.0.1:{path.port}")
        page = open_page(page_of(path.port, "ada", "team-1"))
        expect(page.locator("#status")).to_have_attribute("data-state", "open")
        page.wait_for_function("() => mcpActors.chat.ready")
        page.evaluate(
            """() => {
              globalThis.happened = [];
              for (const one of [mcpActors.signaling, mcpActors.chat]) {
                for (const type of ["reconnecting", "rejoined", "close"]) {
                  one.addEventListener(type, () => happened.push(type));
                }
              }
            }"""
        )
        port = staying.wait_until_serving().port
        watch.hosts.add(f"127.0.0.1:{port}")
        other = open_page(page_of(port, "eve", "team-1"))
        page.wait_for_function("() => mcpActors.call.peers.size")
        path.lead_to(port)
        stopping.process.send_signal(signal.SIGTERM)
        assert stopping.finish()[0] == 0
        page.wait_for_function("() => mcpActors.signaling.state === 'open' && mcpActors.chat.ready")
        assert page.evaluate("happened") == []
        assert page.evaluate("mcpActors.signaling.signal('eve', 1).then(({status}) => status)") == "delivered"
        for one in (page, other):
            one.goto("about:blank")
        path.cut()
        assert staying.stop() == 0
