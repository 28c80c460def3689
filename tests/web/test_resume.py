"""Pages lose their connections, and the call continues: the path is cut, or the server is killed."""

from __future__ import annotations

import signal
from itertools import permutations
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from tests.support.server import Process
from tests.web.network_path import NetworkPath
from tests.web.pages import (
    CALL_IS_UNCHANGED,
    COUNT_RESTARTS,
    PAIRS,
    PEERS_PRESENT,
    RECORD,
    RESTART_ICE,
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
    from pathlib import Path

    from tests.web.conftest import Watch
    from tests.web.pages import OpenPage

PC = f"{PAIRS}[0].pc"
SETTLED = f"() => {PC}.connectionState === 'connected' && {PC}.signalingState === 'stable'"
ICE_GENERATION = f"/a=ice-ufrag:\\S+/.exec({PC}.currentRemoteDescription.sdp)[0]"
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


def test_an_ice_restart_while_signaling_is_lost_succeeds_later(open_page: OpenPage, path: NetworkPath) -> None:
    """The offer waits for the connection: as the session is resumed, nobody joins again and offers."""
    room = a_room()
    pages = [open_page(room), open_page(f"http://127.0.0.1:{path.port}{room}")]
    cut_off = pages[1]
    assert_everybody_sees_everybody(*pages)
    for page in pages:
        page.wait_for_function(f"() => {STATES} === 'open,open'")
        page.wait_for_function(SETTLED)
    generation = cut_off.evaluate(ICE_GENERATION)
    path.cut()
    cut_off.wait_for_function("() => mcpActors.parts().connection.state === 'reconnecting'")
    cut_off.evaluate(RESTART_ICE)
    cut_off.wait_for_function(f"() => {PC}.signalingState === 'have-local-offer'")
    path.mend()
    cut_off.wait_for_function(SETTLED)
    assert cut_off.evaluate(ICE_GENERATION) != generation
    assert_media_flows(*pages)


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


def test_a_killed_and_restarted_server_does_not_end_the_call(open_page: OpenPage, watch: Watch, tmp_path: Path) -> None:
    """All pages join again by themselves."""
    watch.server_may_be_away = True
    with Process(tmp_path, "serve", "--host", "127.0.0.1", "--port", "0") as server:
        port = server.wait_until_serving().port
        watch.hosts.add(f"127.0.0.1:{port}")
        pages = [open_page(f"http://127.0.0.1:{port}", init_script=COUNT_RESTARTS) for _ in range(3)]
        assert_everybody_sees_everybody(*pages)
        for page in pages:
            expect(page.locator("#camera")).to_have_attribute("data-source", "camera")
            page.evaluate(RECORD)
        assert server.stop(signal.SIGKILL) == -signal.SIGKILL
    for page in pages:
        page.wait_for_function(f"() => {STATES} === 'reconnecting,reconnecting'")
    assert_media_flows(*pages)
    with Process(tmp_path, "serve", "--host", "127.0.0.1", "--port", str(port)) as server:
        server.wait_until_serving()
        for page in pages:
            page.wait_for_function(f"() => {STATES} === 'open,open'")
            page.wait_for_function(PEERS_PRESENT, arg=2)
            assert page.evaluate("happened.filter(type => type === 'rejoined').length") == 1
            expect(page.locator("#people-count")).to_have_text("3")
        for page, other in permutations(pages, 2):
            tile = page.locator(f".tile[data-peer-id='{id_of(other)}']")
            expect(tile).to_have_attribute("data-state", "connected")
        assert_media_flows(*pages)
        for page in pages:
            assert page.evaluate(CALL_IS_UNCHANGED)
