"""The server asks the demo page to go elsewhere: it goes, and neither the call nor anybody in it notices."""

from __future__ import annotations

import json
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from bench.engine import Engine
from mcp_actors.secret import make
from tests.support.server import Process
from tests.web.test_demo import OpenPage, a_room, assert_everybody_sees_everybody, id_of
from tests.web.test_negotiation import COUNT_RESTARTS
from tests.web.test_resume import (
    CALL_IS_AS_IT_WAS,
    LISTEN,
    PEERS,
    SAY,
    SIGNAL,
    STATES,
    NetworkPath,
    Scripted,
    assert_media_flows,
    joined,
    scripted,
    signalled,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Page, WebSocketRoute

    from tests.web.conftest import Watch

__all__ = ["scripted"]

DRAIN = 4
"""Seconds that a process drains."""

DEADLINE = 10.0

NEVER = 600_000
"""Milliseconds in which a test is over."""

NOTE_STATES = """
() => {
  globalThis.lost = [];
  for (const one of [mcpActors.signaling, mcpActors.chat]) {
    for (const type of ["reconnecting", "open", "close"]) one.addEventListener(type, () => lost.push(type));
  }
}
"""
JOIN_ELSEWHERE = """
() => { globalThis.elsewhere = signaling.join("elsewhere", "me").then(({order}) => order); }
"""


# ------------------------------------------------------------------------------------------------------ frame by frame


def ask_to_go(socket: WebSocketRoute, after: int) -> None:
    """Send the notice."""
    socket.send(json.dumps({"type": "reconnect", "payload": {"after_ms": after}}))


def say_on(socket: WebSocketRoute, **message: Any) -> None:
    """Send a frame of the room on one of several connections."""
    socket.send(json.dumps({"room": "r", **message}))


def wait_until(page: Page, condition: Callable[[], bool], what: str) -> None:
    """Wait for something outside of the page."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        page.wait_for_timeout(10)


def wait_for_requests(page: Page, server: Scripted, count: int) -> list[dict[str, Any]]:
    """All that was asked so far, once it is so much."""
    wait_until(page, lambda: len(server.heard) >= count, f"{count} requests, not {server.heard}")
    return server.heard


@pytest.mark.parametrize("closed", ["before", "after"])
def test_the_old_connection_serves_until_the_new_one_has_taken_over(
    scripted: tuple[Page, Scripted], closed: str
) -> None:
    """Nothing is handled twice, and what was not answered is sent again."""
    page, server = scripted
    ids = {message["payload"].get("data"): message["id"] for message in server.heard}
    assert not any("again" in message for message in server.heard)
    server.greeting = []
    so_far = len(server.heard)
    began = time.monotonic()
    ask_to_go(server.sockets[0], 300)
    join = wait_for_requests(page, server, so_far + 1)[so_far]
    assert time.monotonic() - began >= 0.3
    assert join["payload"] == {"peer_id": "me", "resume": "token 1", "received": 5, "at": {}}

    old, new = server.sockets
    say_on(old, **signalled(6))
    page.wait_for_function("() => log.length >= 1")
    page.evaluate("() => { signaling.signal('you', 'four').then(({status}) => log.push(['four', status])); }")
    meanwhile = wait_for_requests(page, server, so_far + 2)[-1]
    assert meanwhile["payload"]["data"] == "four"
    assert "again" not in meanwhile
    if closed == "before":
        old.close(code=4501)
    ack = {"type": "ack", "payload": {"status": "delivered"}}
    for answer in (
        signalled(6),
        signalled(7),
        {"delivery": 8, "id": ids["two"], **ack},
        {"id": join["id"], **joined(9, "token 2", resumed=True, complete=True)},
    ):
        say_on(new, **answer)
    again = wait_for_requests(page, server, so_far + 4)[so_far + 2 :]
    assert [(one["id"], one["payload"]["data"], one["again"]) for one in again] == [
        (ids["three"], "three", True),
        (meanwhile["id"], "four", True),
    ]
    if closed == "after":
        old.close(code=4501)
    for delivery, one in enumerate(again, 10):
        say_on(new, delivery=delivery, id=one["id"], **ack)
    say_on(new, **signalled(12))
    page.wait_for_function("() => log.some(([, what]) => what === 12)")
    assert sorted(map(str, page.evaluate("log"))) == sorted(
        map(
            str, [*(["signal", number] for number in (6, 7, 12)), *([n, "delivered"] for n in ("two", "three", "four"))]
        )
    )
    assert page.evaluate("signaling.state") == "open"


def test_where_the_new_connection_cannot_be_had_the_old_one_is_kept(scripted: tuple[Page, Scripted]) -> None:
    """And it is tried again."""
    page, server = scripted
    server.greeting = []
    so_far = len(server.heard)
    ask_to_go(server.sockets[0], 0)
    wait_for_requests(page, server, so_far + 1)
    server.sockets[1].close(code=4000)
    say_on(server.sockets[0], **signalled(6))
    page.wait_for_function("() => log.length >= 1")
    again = wait_for_requests(page, server, so_far + 2)[-1]
    assert again["payload"] == {"peer_id": "me", "resume": "token 1", "received": 6, "at": {}}
    assert page.evaluate("[signaling.state, ...log]") == ["open", ["signal", 6]]
    assert len(server.sockets) == 3


def test_where_the_old_connection_breaks_first_it_is_dialled_anew_at_once(scripted: tuple[Page, Scripted]) -> None:
    page, server = scripted
    server.greeting = [joined(6, "token 2", resumed=True, complete=True)]
    ask_to_go(server.sockets[0], NEVER)
    server.sockets[0].close(code=4000)
    page.wait_for_function("() => log.length >= 1")
    assert page.evaluate("log") == [["open", None]]
    ask_to_go(server.sockets[1], 0)
    server.greeting = [joined(7, "token 3", resumed=True, complete=True)]
    wait_until(page, lambda: len(server.sockets) == 3, "the third connection")


def test_another_room_is_joined_elsewhere_at_once(scripted: tuple[Page, Scripted]) -> None:
    """The process that asked to go would refuse it."""
    page, server = scripted
    ask_to_go(server.sockets[0], NEVER)
    server.greeting = [joined(1, "token of another session", resumed=False)]
    page.evaluate(JOIN_ELSEWHERE)
    wait_until(page, lambda: server.heard[-1]["type"] == "leave", "that it leaves")
    say_on(server.sockets[0], delivery=6, id=server.heard[-1]["id"], type="left", payload={"peer_id": "me"})
    assert page.evaluate("elsewhere") == 1
    assert len(server.sockets) == 2
    assert server.heard[-1]["payload"] == {"peer_id": "me"}


def test_what_was_got_already_is_dropped_when_it_is_sent_again(scripted: tuple[Page, Scripted]) -> None:
    """Where it says so: a sender may count anew."""
    page, server = scripted
    for delivery, (number, sender, again) in enumerate(
        [(1, "you", False), (1, "you", True), (1, "they", True), (2, "you", True), (2, "you", True), (2, "you", False)],
        6,
    ):
        server.say(**signalled(delivery) | {"sender": sender}, id=number, **({"again": True} if again else {}))
    page.wait_for_function("() => log.length >= 4")
    assert page.evaluate("log") == [["signal", number] for number in (6, 8, 9, 11)]


def test_the_place_in_a_room_is_told_when_its_session_goes_on(scripted: tuple[Page, Scripted]) -> None:
    page, server = scripted
    server.say(**signalled(6), at="place 1")
    server.say(**signalled(7), at="place 2")
    server.say(**signalled(8) | {"room": "another"}, at="place 3")
    page.wait_for_function("() => log.length >= 2")
    so_far = len(server.heard)
    server.sockets[0].close(code=4000)
    join = wait_for_requests(page, server, so_far + 1)[so_far]
    assert join["payload"] == {
        "peer_id": "me",
        "resume": "token 1",
        "received": 8,
        "at": {"r": "place 2", "another": "place 3"},
    }


# ------------------------------------------------------------------------------------------------------- with a server


def test_a_page_that_is_asked_to_go_keeps_its_call_and_nobody_notices(open_page: OpenPage) -> None:
    """Its session goes on, over the new connection, with all that was sent meanwhile."""
    sockets: list[WebSocketRoute] = []

    def pass_through(page: Page) -> None:
        def connect(route: WebSocketRoute) -> None:
            route.connect_to_server()
            sockets.append(route)

        page.route_web_socket("**/ws/*/", connect)

    room = a_room()
    going = open_page(room, init_script=COUNT_RESTARTS, websockets=pass_through)
    other = open_page(room, init_script=COUNT_RESTARTS)
    pages = (going, other)
    assert_everybody_sees_everybody(*pages)
    for page in pages:
        expect(page.locator("#camera")).to_have_attribute("data-source", "camera")
        page.evaluate(LISTEN)
        page.evaluate(NOTE_STATES)
    for turn in range(1, 4):
        for route in sockets[-2:]:
            ask_to_go(route, 50)
        for number in range(10):
            assert other.evaluate(SIGNAL, [id_of(going), [turn, number]])["status"] == "delivered"
            assert going.evaluate(SIGNAL, [id_of(other), [turn, number]])["status"] == "delivered"
        wait_until(going, lambda turn=turn: len(sockets) == 2 + 2 * turn, "two new connections")  # type: ignore[misc]
        going.evaluate(SAY, f"said {turn}")
        other.wait_for_function("said => told.includes(said)", arg=f"said {turn}")
    assert_media_flows(*pages)
    for page in pages:
        told = page.evaluate("told.filter(Array.isArray)")
        assert told == [[turn, number] for turn in range(1, 4) for number in range(10)]
        assert page.evaluate("happened") == page.evaluate("lost") == []
        assert page.evaluate(CALL_IS_AS_IT_WAS)


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    """A Redis for processes that stand beside each other."""
    with Engine() as engine:
        yield engine.url


def test_a_process_that_stops_does_not_end_the_call(
    open_page: OpenPage, watch: Watch, tmp_path: Path, redis_url: str
) -> None:
    """Its pages go to another process, and media flows all the time."""
    secret = make()

    def serving() -> Process:
        environ = {
            "REDIS_URL": redis_url,
            "MCP_ACTORS_SECRET_KEY": secret,
            "MCP_ACTORS_DRAIN_SECONDS": str(DRAIN),
        }
        return Process(tmp_path, "serve", "--host", "127.0.0.1", "--port", "0", **environ)

    watch.server_may_be_away = True
    with serving() as stopping, serving() as staying:
        path = NetworkPath(stopping.wait_until_serving().port)
        port = staying.wait_until_serving().port
        watch.hosts |= {f"127.0.0.1:{path.port}", f"127.0.0.1:{port}"}
        room = a_room()
        moving = open_page(f"http://127.0.0.1:{path.port}{room}", init_script=COUNT_RESTARTS)
        other = open_page(f"http://127.0.0.1:{port}{room}", init_script=COUNT_RESTARTS)
        pages = (moving, other)
        assert_everybody_sees_everybody(*pages)
        for page in pages:
            expect(page.locator("#camera")).to_have_attribute("data-source", "camera")
            page.evaluate(LISTEN)
        path.lead_to(port)
        stopping.process.send_signal(signal.SIGTERM)
        assert_media_flows(*pages)
        assert stopping.finish()[0] == 0
        assert_media_flows(*pages)
        for page in pages:
            page.wait_for_function(f"() => {STATES} === 'open,open'")
            page.wait_for_function(PEERS, arg=1)
        assert moving.evaluate(SIGNAL, [id_of(other), "from elsewhere"])["status"] == "delivered"
        other.wait_for_function("() => told.includes('from elsewhere')")
        for page in pages:
            assert page.evaluate(CALL_IS_AS_IT_WAS)
        path.cut()
