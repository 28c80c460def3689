"""The path of a page to its server is cut, and the call continues."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from tests.web.network_path import NetworkPath
from tests.web.pages import (
    CALL_IS_UNCHANGED,
    COUNT_RESTARTS,
    RECORD,
    SAY,
    SIGNAL,
    SIGNAL_LATER,
    STATES,
    Tap,
    a_room,
    assert_everybody_sees_everybody,
    assert_media_flows,
    id_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.web.conftest import Watch
    from tests.web.pages import OpenPage

STOP_LONG_TIMERS = """
() => {
  const start = setTimeout;
  globalThis.setTimeout = (run, delay, ...rest) => start(run, delay >= 1000 ? 2 ** 30 : delay, ...rest);
}
"""


@pytest.fixture
def path(site: str, watch: Watch) -> Iterator[NetworkPath]:
    """A path to the site that can be cut."""
    path = NetworkPath(urlsplit(site).port or 80)
    watch.hosts.add(f"127.0.0.1:{path.port}")
    watch.server_may_be_away = True
    yield path
    path.cut()


@pytest.mark.parametrize("noticed", [True, False], ids=["cut", "cut-and-mended-at-once"])
def test_a_cut_path_does_not_affect_the_call(open_page: OpenPage, path: NetworkPath, noticed: bool) -> None:
    """Messages sent meanwhile arrive once and in order, and the other page notices nothing."""
    room, taps = a_room(), [Tap(), Tap()]
    cut_off = open_page(f"http://127.0.0.1:{path.port}{room}", init_script=COUNT_RESTARTS, websockets=taps[0].over)
    other = open_page(room, init_script=COUNT_RESTARTS, websockets=taps[1].over)
    pages = (cut_off, other)
    assert_everybody_sees_everybody(*pages)
    for page in pages:
        expect(page.locator("#chat-log .notice", has_text="You are in room")).to_have_count(1)
        expect(page.locator("#camera")).to_have_attribute("data-source", "camera")
        page.evaluate(RECORD)
    offers = [len(tap.relayed("offer")) for tap in taps]

    path.cut()
    if noticed:
        cut_off.wait_for_function(f"() => {STATES} === 'reconnecting,reconnecting'")
        assert_media_flows(*pages)
    else:
        path.mend()
    for number in range(3):
        status = other.evaluate(SIGNAL, [id_of(cut_off), number])["status"]
        assert status == "queued" or not noticed
    other.evaluate(SAY, {"text": "meanwhile"})
    cut_off.evaluate(SIGNAL_LATER, [id_of(other), "from the page that was cut off"])
    if noticed:
        path.mend()

    cut_off.wait_for_function("() => received.length >= 4")
    cut_off.wait_for_function(f"() => {STATES} === 'open,open'")
    assert cut_off.evaluate("later")["status"] == "delivered"
    assert other.evaluate(SIGNAL, [id_of(cut_off), "after"])["status"] == "delivered"
    cut_off.wait_for_function("() => received.includes('after')")
    received = cut_off.evaluate("received")
    assert [message for message in received if isinstance(message, int)] == [0, 1, 2]
    assert received.count({"text": "meanwhile"}) == received.count("after") == 1
    assert len(received) == 5
    assert other.evaluate("received") == ["from the page that was cut off"]

    assert_media_flows(*pages)
    for page in pages:
        assert page.evaluate("happened") == []
        assert page.evaluate(CALL_IS_UNCHANGED)
        expect(page.locator("#chat-log .notice", has_text="left.")).to_have_count(0)
    assert [len(tap.relayed("offer")) for tap in taps] == offers
    expect(cut_off.locator("#status")).to_have_attribute("data-state", "open")


def test_a_page_reconnects_at_once_when_the_browser_is_online_again(open_page: OpenPage, path: NetworkPath) -> None:
    """Its pause has grown to more than a second by then, and would never end here."""
    page = open_page(f"http://127.0.0.1:{path.port}{a_room()}")
    page.wait_for_function(f"() => {STATES} === 'open,open'")
    page.evaluate(RECORD)
    page.evaluate(STOP_LONG_TIMERS)
    path.cut()
    page.wait_for_function("() => pause?.attempt >= 4")
    path.mend()
    page.evaluate("dispatchEvent(new Event('online'))")
    page.wait_for_function("() => mcpActors.parts().connection.state === 'open'")
