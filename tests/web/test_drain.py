"""A server process asks the demo page to reconnect: the page moves, and neither the call nor anybody in it notices."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from mcp_actors.auth.secret import make
from tests.support.server import Process
from tests.web.network_path import NetworkPath
from tests.web.pages import (
    CALL_IS_UNCHANGED,
    COUNT_RESTARTS,
    PEERS_PRESENT,
    RECORD,
    SIGNAL,
    STATES,
    a_room,
    assert_everybody_sees_everybody,
    assert_media_flows,
    id_of,
)

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.web.conftest import Watch
    from tests.web.pages import OpenPage

DRAIN_SECONDS = "6"


def record(*pages: Page) -> None:
    """Start to record, once the call has settled."""
    assert_everybody_sees_everybody(*pages)
    for page in pages:
        expect(page.locator("#camera")).to_have_attribute("data-source", "camera")
        page.wait_for_function(f"() => {STATES} === 'open,open'")
        page.evaluate(RECORD)


def assert_nobody_noticed(*pages: Page) -> None:
    """No page has seen a change of membership, connection or call."""
    for page in pages:
        assert page.evaluate("happened") == page.evaluate("transitions") == []
        assert page.evaluate(CALL_IS_UNCHANGED)


def test_a_process_that_stops_hands_its_pages_over_to_another(
    open_page: OpenPage, watch: Watch, tmp_path: Path, redis_url: str
) -> None:
    """Media flows all the time, and messages sent meanwhile arrive once and in order."""
    environ = {"REDIS_URL": redis_url, "MCP_ACTORS_SECRET_KEY": make(), "MCP_ACTORS_DRAIN_SECONDS": DRAIN_SECONDS}

    def start() -> Process:
        return Process(tmp_path, "serve", "--host", "127.0.0.1", "--port", "0", **environ)

    watch.server_may_be_away = True
    with start() as stopping, start() as staying:
        path = NetworkPath(stopping.wait_until_serving().port)
        port = staying.wait_until_serving().port
        watch.hosts |= {f"127.0.0.1:{path.port}", f"127.0.0.1:{port}"}
        room = a_room()
        moving = open_page(f"http://127.0.0.1:{path.port}{room}", init_script=COUNT_RESTARTS)
        other = open_page(f"http://127.0.0.1:{port}{room}", init_script=COUNT_RESTARTS)
        record(moving, other)
        path.lead_to(port)
        stopping.process.send_signal(signal.SIGTERM)
        for number in range(20):
            assert other.evaluate(SIGNAL, [id_of(moving), number])["status"] in ("delivered", "queued")
            assert moving.evaluate(SIGNAL, [id_of(other), number])["status"] in ("delivered", "queued")
        assert_media_flows(moving, other)
        assert stopping.finish()[0] == 0
        assert_media_flows(moving, other)
        for page in (moving, other):
            page.wait_for_function(f"() => {STATES} === 'open,open'")
            page.wait_for_function(PEERS_PRESENT, arg=1)
        assert moving.evaluate(SIGNAL, [id_of(other), "moved"])["status"] == "delivered"
        other.wait_for_function("() => received.includes('moved')")
        for page in (moving, other):
            assert page.evaluate("received.filter(Number.isInteger)") == list(range(20))
        assert_nobody_noticed(moving, other)
        path.cut()
