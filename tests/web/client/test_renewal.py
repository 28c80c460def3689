"""The client renews ICE servers before their credentials end, message by message, against a scripted server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.web.pages import PLAIN, wait_until
from tests.web.scripted import ScriptedServer, joined

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

    from tests.web.pages import OpenPage

JOIN = """
async () => {
  const {Connection} = await import("/client/index.js");
  globalThis.connection = new Connection(`ws://${location.host}/ws/scripted/`);
  globalThis.renewed = [];
  globalThis.signals = 0;
  globalThis.room = await connection.join("r", {peerId: "me"});
  room.addEventListener("signal", () => (signals += 1));
  room.addEventListener("ice-servers", ({detail}) => renewed.push(detail.iceServers[0].urls));
}
"""
SLEEP = """
(seconds) => {
  const now = Date.now.bind(Date);
  Date.now = () => now() + seconds * 1000; // while performance.now() and all timers stood still
}
"""
HOUR = 3600
PART = HOUR * 4 // 10
"""Seconds after which credentials of an hour are renewed."""


@pytest.fixture
def server() -> ScriptedServer:
    server = ScriptedServer()
    server.greeting = [joined(1, "token", ice_servers_expire_in=HOUR)]
    return server


def join(open_page: OpenPage, server: ScriptedServer) -> Page:
    """A page that has joined, and whose time the test moves on."""
    page: Page = open_page(PLAIN, websockets=server.over)
    page.clock.install()
    page.evaluate(JOIN)
    return page


@pytest.fixture
def page(open_page: OpenPage, server: ScriptedServer) -> Page:
    return join(open_page, server)


def kinds(server: ScriptedServer) -> list[str]:
    return [request["type"] for request in server.requests]


def pass_time(page: Page, seconds: float) -> None:
    """Let time pass, and what it causes reach the server."""
    page.clock.fast_forward(int(seconds * 1000))
    page.evaluate("void room.signal('you', 0).catch(() => {})")


def wait_for_signals(page: Page, server: ScriptedServer, count: int) -> None:
    """Wait until all that was sent before has arrived, too."""
    wait_until(page, lambda: kinds(server).count("signal") == count, f"{count} signals")


def test_new_ice_servers_are_asked_for_before_half_of_the_time_and_again_after_that(
    page: Page, server: ScriptedServer
) -> None:
    pass_time(page, PART - 10)
    wait_for_signals(page, server, 1)
    assert "ice-servers" not in kinds(server)
    pass_time(page, 10)
    wait_for_signals(page, server, 2)
    [asked] = [request for request in server.requests if request["type"] == "ice-servers"]
    assert asked["room"] == "r"
    server.send(
        id=asked["id"], type="ice-servers", payload={"ice_servers": [{"urls": "a"}], "ice_servers_expire_in": 60}
    )
    page.wait_for_function("() => renewed.join() === 'a'")
    pass_time(page, 24)
    wait_for_signals(page, server, 3)
    assert kinds(server).count("ice-servers") == 2


def test_ice_servers_that_do_not_end_any_more_are_not_renewed(page: Page, server: ScriptedServer) -> None:
    pass_time(page, PART)
    wait_until(page, lambda: "ice-servers" in kinds(server), "the request")
    asked = next(request for request in server.requests if request["type"] == "ice-servers")
    server.send(id=asked["id"], type="ice-servers", payload={"ice_servers": [{"urls": "a"}]})
    page.wait_for_function("() => renewed.length === 1")
    pass_time(page, 10 * HOUR)
    wait_for_signals(page, server, 2)
    assert kinds(server).count("ice-servers") == 1


def test_a_refused_request_is_repeated_five_seconds_later(page: Page, server: ScriptedServer) -> None:
    pass_time(page, PART)
    wait_until(page, lambda: "ice-servers" in kinds(server), "the request")
    asked = next(request for request in server.requests if request["type"] == "ice-servers")
    page.clock.pause_at(page.evaluate("new Date(Date.now() + 1000).toISOString()"))
    error = {"code": "rate-limited", "message": "Too fast.", "retryable": True}
    server.send(id=asked["id"], type="error", payload=error)
    server.send(type="signal", sender="you", payload={"data": "after the error"})
    page.wait_for_function("() => signals === 1")
    pass_time(page, 4.5)
    wait_for_signals(page, server, 2)
    assert kinds(server).count("ice-servers") == 1
    pass_time(page, 0.6)
    wait_until(page, lambda: kinds(server).count("ice-servers") == 2, "the second request")
    assert page.evaluate("renewed") == []


def test_after_sleep_they_are_renewed_as_soon_as_the_session_is_resumed(page: Page, server: ScriptedServer) -> None:
    page.evaluate(SLEEP, HOUR)
    server.greeting = [joined(2, "next", ice_servers_expire_in=HOUR, resumed=True, complete=True)]
    server.sockets[-1].close(code=4002)
    page.clock.run_for(1000)
    wait_until(page, lambda: "ice-servers" in kinds(server), "the request")
    assert kinds(server) == ["join", "join", "ice-servers"]


def test_after_sleep_they_are_renewed_within_half_a_minute_on_a_connection_that_is_not_lost(
    page: Page, server: ScriptedServer
) -> None:
    page.evaluate(SLEEP, HOUR)
    page.clock.run_for(30_000)
    wait_until(page, lambda: "ice-servers" in kinds(server), "the request")
    assert kinds(server) == ["join", "ice-servers"]


def leave(page: Page, server: ScriptedServer) -> None:
    page.evaluate("void room.leave()")
    wait_until(page, lambda: kinds(server) == ["join", "leave"], "the leave")
    server.send(id=server.requests[-1]["id"], type="left", payload={"peer_id": "me"})


def be_kicked(page: Page, server: ScriptedServer) -> None:
    server.send(type="kicked", payload={"peer_id": "me"})
    page.wait_for_function("() => !room.joined")


def be_refused_elsewhere(page: Page, server: ScriptedServer) -> None:
    leave(page, server)
    server.greeting = []
    page.evaluate("void connection.join('elsewhere', {peerId: 'me'}).catch(() => {})")
    wait_until(page, lambda: kinds(server)[-1] == "join", "the join")
    error = {"code": "room-full", "message": "Full.", "retryable": False}
    server.send(room="elsewhere", id=server.requests[-1]["id"], type="error", payload=error)


@pytest.mark.parametrize("depart", [leave, be_kicked, be_refused_elsewhere])
def test_a_client_that_is_in_no_room_asks_for_none(
    page: Page, server: ScriptedServer, depart: Callable[[Page, ScriptedServer], None]
) -> None:
    depart(page, server)
    page.clock.fast_forward(10 * HOUR * 1000)
    server.greeting = [joined(2, "token")]
    page.evaluate("connection.join('r', {peerId: 'me'}).then((joined) => { globalThis.room = joined; })")
    pass_time(page, 10 * HOUR)
    wait_for_signals(page, server, 1)
    assert "ice-servers" not in kinds(server)


def test_credentials_that_begin_to_end_with_a_reconnect_are_renewed_too(
    open_page: OpenPage, server: ScriptedServer
) -> None:
    server.greeting = [joined(1, "token")]
    page = join(open_page, server)
    server.greeting = [joined(2, "next", ice_servers_expire_in=HOUR, resumed=True, complete=True)]
    server.sockets[-1].close(code=4002)
    page.clock.run_for(1000)
    wait_until(page, lambda: kinds(server) == ["join", "join"], "the second join")
    page.wait_for_function("() => connection.state === 'open'")
    pass_time(page, PART)
    wait_until(page, lambda: "ice-servers" in kinds(server), "the request")
