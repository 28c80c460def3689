"""The heartbeat of the client: a connection that is lost without a sign, and timers that fire late."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.support.server import Process
from tests.web.conftest import serving
from tests.web.network_path import NetworkPath
from tests.web.pages import DEADLINE, PLAIN, wait_until
from tests.web.scripted import ScriptedServer, joined, signalled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

    from tests.web.pages import OpenPage

INTERVAL = 1.0
SETTINGS = {"MCP_ACTORS_PING_INTERVAL": str(INTERVAL)}

CREATE = """
async () => {
  const {Connection} = await import("/client/index.js");
  const rooms = {};
  const [sender, listener] = [new Connection(location.origin), new Connection(location.origin)];
  Object.assign(globalThis, {log: [], rooms, sender, listener});
  for (const type of ["reconnecting", "close", "open"]) listener.addEventListener(type, () => log.push(type));
}
"""
JOIN_AS_LISTENER = """
async () => {
  rooms.listener = await listener.join("r", {peerId: "listener"});
  for (const type of ["rejoined", "signal"]) {
    rooms.listener.addEventListener(type, ({detail}) => log.push(detail.data ?? type));
  }
  return rooms.listener.order;
}
"""
JOIN_AS_SENDER = "async () => (rooms.sender = await sender.join('r', {peerId: 'sender'})).order"
SEND_WHILE_STOPPED = """
() => {
  globalThis.fate = "pending";
  rooms.sender.signal("listener", 1).then(({status}) => (fate = status), ({code}) => (fate = code));
}
"""
SEND = "(data) => rooms.sender.signal('listener', data).then(({status}) => status)"

JOIN = """
async () => {
  const {Connection} = await import("/client/index.js");
  globalThis.WebSocket = class extends WebSocket {
    send(text) {
      super.send(text);
      if (text !== '{"type":"ping"}' || !globalThis.block) return;
      for (const end = performance.now() + globalThis.block; performance.now() < end; );
      globalThis.block = 0;
    }
  };
  Object.assign(globalThis, {log: [], times: [], connection: new Connection(`ws://${location.host}/ws/scripted/`)});
  const note = ({type, detail}) => {
    log.push(detail?.data ?? type);
    times.push(performance.now());
  };
  for (const type of ["reconnecting", "close"]) connection.addEventListener(type, note);
  const room = await connection.join("r", {peerId: "me"});
  for (const type of ["rejoined", "signal"]) room.addEventListener(type, note);
}
"""


@pytest.fixture
def open_plain(chromium: Browser) -> Iterator[Callable[[int], Page]]:
    """Open a page without a client of its own, of the server at a port."""
    context = chromium.new_context()
    context.set_default_timeout(DEADLINE * 1000)

    def open_it(port: int) -> Page:
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{port}{PLAIN}")
        page.evaluate(CREATE)
        return page

    yield open_it
    context.close()


@pytest.fixture
def scripted(open_page: OpenPage) -> tuple[Page, ScriptedServer]:
    """A page that has joined at a server with a heartbeat."""
    server = ScriptedServer()
    server.greeting = [joined(1, "token 1", resumed=False, ping_interval=INTERVAL)]
    page = open_page(PLAIN, websockets=server.over)
    page.evaluate(JOIN)
    return page, server


def test_a_client_that_only_listens_notices_a_frozen_path_and_resumes(
    open_plain: Callable[[int], Page], tmp_path: Path
) -> None:
    with serving(tmp_path, SETTINGS) as port:
        path = NetworkPath(port)
        page, other = open_plain(path.port), open_plain(port)
        assert page.evaluate(JOIN_AS_LISTENER) == 1
        assert other.evaluate(JOIN_AS_SENDER) == 2
        assert other.evaluate(SEND, "before") == "delivered"
        page.wait_for_function("() => log.includes('before')")
        path.freeze()
        other.evaluate(SEND, "meanwhile")
        page.wait_for_function("() => log.filter((entry) => entry === 'open').length === 2")
        assert page.evaluate("log") == ["open", "before", "reconnecting", "meanwhile", "open"]
        for each in (page, other):
            each.goto("about:blank")
        path.cut()


def test_a_client_notices_that_the_server_stands_still_and_what_it_sent_arrives_later(
    open_plain: Callable[[int], Page], tmp_path: Path
) -> None:
    with Process(tmp_path, "serve", "--host", "127.0.0.1", "--port", "0", **SETTINGS) as server:
        port = server.wait_until_serving().port
        page = open_plain(port)
        assert page.evaluate(JOIN_AS_LISTENER) == 1
        assert page.evaluate(JOIN_AS_SENDER) == 2
        server.process.send_signal(signal.SIGSTOP)
        try:
            page.evaluate(SEND_WHILE_STOPPED)
            page.wait_for_function("() => [sender.state, listener.state].join() === 'reconnecting,reconnecting'")
            assert page.evaluate("fate") == "pending"
        finally:
            server.process.send_signal(signal.SIGCONT)
        page.wait_for_function("() => fate !== 'pending' && listener.state === 'open'")
        assert page.evaluate("fate") in ("delivered", "queued")
        page.wait_for_function("() => log.includes(1)")
        assert page.evaluate("log.filter((entry) => entry === 1).length") == 1
        page.goto("about:blank")
        assert server.stop() == 0


def test_a_connection_without_an_answer_to_a_ping_is_given_up_after_two_intervals(
    scripted: tuple[Page, ScriptedServer],
) -> None:
    page, server = scripted
    wait_until(page, lambda: server.pings >= 2, "pings")
    assert page.evaluate("log") == []
    server.greeting = [joined(3, "token 2", resumed=True, complete=True, ping_interval=INTERVAL)]
    server.answers_pings = False
    server.send(**signalled(2))
    page.wait_for_function("() => log.includes('reconnecting')")
    server.answers_pings = True
    page.wait_for_function("() => connection.state === 'open'")
    assert page.evaluate("log") == [2, "reconnecting"]
    assert page.evaluate("(times[1] - times[0]) / 1000") >= 1.99 * INTERVAL


def test_a_timer_that_fires_late_does_not_end_a_connection_that_works(scripted: tuple[Page, ScriptedServer]) -> None:
    """The page is held up right after a ping: when it runs again, the answer and the timer are both due."""
    page, server = scripted
    page.evaluate(f"globalThis.block = {INTERVAL * 5000}")
    page.wait_for_function("() => globalThis.block === 0")
    so_far = server.pings
    wait_until(page, lambda: server.pings >= so_far + 2, "more pings")
    assert page.evaluate("[connection.state, ...log]") == ["open"]
    assert len(server.sockets) == 1


HIDDEN = "Object.defineProperty(document, 'hidden', {get: () => true})"
SIGNS = {
    "the page is shown": "document.dispatchEvent(new Event('visibilitychange'))",
    "a hidden page is online": f"{HIDDEN}; dispatchEvent(new Event('online'))",
    "the application says so": "connection.reconnect()",
}


@pytest.mark.parametrize("sign", SIGNS.values(), ids=SIGNS)
def test_a_connection_that_is_doubted_is_given_up_soon_if_it_does_not_answer(open_page: OpenPage, sign: str) -> None:
    """After sleep a dead connection may look open; its heartbeat would take minutes."""
    server = ScriptedServer()
    server.greeting = [joined(1, "token 1", resumed=False, ping_interval=600)]
    page = open_page(PLAIN, websockets=server.over)
    page.evaluate(JOIN)
    server.greeting = [joined(2, "token 2", resumed=True, complete=True, ping_interval=600)]
    server.answers_pings = False
    page.evaluate(sign)
    page.wait_for_function("() => log.includes('reconnecting')")
    page.wait_for_function("() => connection.state === 'open'")
    assert len(server.sockets) == 2


def test_a_pause_before_reconnecting_is_ended_by_reconnect(open_page: OpenPage) -> None:
    server = ScriptedServer()
    server.greeting = [joined(1, "token 1", resumed=False)]
    page = open_page(PLAIN, websockets=server.over)
    page.evaluate(JOIN)
    page.clock.install()
    server.close_with = 4000, "not now"
    server.sockets[-1].close(code=4000)

    def pauses_for_long() -> bool:
        page.clock.run_for(1000)
        return len(server.sockets) > 5

    wait_until(page, pauses_for_long, "a long pause")
    server.greeting, server.close_with = [joined(2, "token 2", resumed=True, complete=True)], None
    page.clock.pause_at(page.evaluate("new Date(Date.now() + 1000).toISOString()"))
    page.wait_for_function("() => connection.state === 'reconnecting'", polling=50)
    page.evaluate("connection.reconnect()")
    wait_until(page, lambda: page.evaluate("connection.state === 'open'"), "the connection")
