"""The demo page tells the truth about what the server refuses, and about messages without a reply."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from bench.ports import free_ports
from tests.support.server import Process
from tests.web.conftest import serving
from tests.web.pages import a_room, id_of

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Locator, Page

    from tests.web.conftest import Watch
    from tests.web.pages import OpenPage

SAY = "text => { document.getElementById('chat-input').value = text; document.getElementById('chat-send').click(); }"


def own_message(page: Page, text: str) -> Locator:
    """The note beside a message that the page has sent."""
    return page.locator("#chat-log .message.own", has_text=text).locator(".status-note")


def test_an_offer_beyond_the_limit_is_reported_on_both_pages(open_page: OpenPage, watch: Watch, tmp_path: Path) -> None:
    with serving(tmp_path, {"MCP_ACTORS_MAX_MESSAGE_BYTES": "1024"}) as port:
        watch.hosts.add(f"127.0.0.1:{port}")
        room = f"http://127.0.0.1:{port}{a_room()}"
        answering, offering = open_page(room), open_page(room)
        expect(offering.locator("#problem")).to_contain_text("what this page sends is too big for this server")
        expect(answering.locator("#problem")).to_contain_text("what the other page sends is too big for this server")
        for page, other in ((offering, answering), (answering, offering)):
            expect(page.locator("#problem")).not_to_contain_text("TURN")
            tile = page.locator(f".tile[data-peer-id='{id_of(other)}']")
            expect(tile.locator(".cover-state")).to_have_text("No call")
        for page in (offering, answering):
            page.goto("about:blank")


def test_the_fate_of_a_chat_message_is_told_truly_while_the_server_stands_still(
    open_page: OpenPage, watch: Watch, tmp_path: Path
) -> None:
    watch.server_may_be_away = True
    port = free_ports()
    watch.hosts.add(f"127.0.0.1:{port}")
    start = ("serve", "--host", "127.0.0.1", "--port", str(port))
    with Process(tmp_path, *start, MCP_ACTORS_PING_INTERVAL="1") as server:
        server.wait_until_serving()
        room = f"http://127.0.0.1:{port}{a_room()}"
        page, other = open_page(room), open_page(room)
        for each in (page, other):
            expect(each.locator("#chat-log .notice", has_text="You are in room")).to_have_count(1)

        server.process.send_signal(signal.SIGSTOP)
        try:
            page.evaluate(SAY, "still")
            expect(own_message(page, "still")).to_have_text("waiting for the server")
            page.wait_for_function("() => mcpActors.parts().users.state === 'reconnecting'")
            expect(own_message(page, "still")).to_have_text("waiting for the server")
        finally:
            server.process.send_signal(signal.SIGCONT)
        expect(own_message(page, "still")).to_have_text("")
        expect(other.locator("#chat-log .message", has_text="still")).to_have_count(1)

        server.process.send_signal(signal.SIGSTOP)
        page.evaluate(SAY, "lost?")
        expect(own_message(page, "lost?")).to_have_text("waiting for the server")
        server.process.kill()
    with Process(tmp_path, *start) as server:
        server.wait_until_serving()
        expect(own_message(page, "lost?")).to_have_text("may not have arrived")
        for each in (page, other):
            each.goto("about:blank")
        assert server.stop() == 0
