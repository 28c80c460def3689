"""Pairs of the client package heal when what breaks them is over."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.web.call.pages import PAIR, a_room, open_call, open_pair, told, wait_for_state, wait_to_hear
from tests.web.call.udp_path import UdpPath
from tests.web.network_path import NetworkPath
from tests.web.pages import COUNT_RESTARTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

    from tests.web.conftest import Watch
    from tests.web.pages import OpenPage

CALL: dict[str, Any] = {"options": {"channels": {"chat": {}}}, "init_script": COUNT_RESTARTS}
ICE_IS_CONNECTED = f"['connected', 'completed'].includes({PAIR}.pc.iceConnectionState)"
KEEP = f"globalThis.kept = {PAIR}.pc"
IS_KEPT = f"kept === {PAIR}.pc"
UFRAG = f"/a=ice-ufrag:(.*)/.exec({PAIR}.pc.localDescription.sdp)[1]"
STOP_PAUSES = """
const start = setTimeout;
globalThis.setTimeout = (run, delay, ...rest) => start(run, delay >= 1500 ? 2 ** 30 : delay, ...rest);
"""
HEARTBEAT = "a=mcp-actors-heartbeat:255"


class CannotRestart:
    """Makes the descriptions of ada those of a stack that cannot restart ICE: it announces that, or shows it."""

    def __init__(self, announces: bool) -> None:
        self._announces = announces
        self._credentials: dict[str, list[str]] = {}

    def __call__(self, sender: str, sdp: str) -> str:
        if sender != "ada":
            return sdp
        if self._announces:
            return sdp.replace(HEARTBEAT, f"{HEARTBEAT} no-restart")
        session = sdp.split()[2]
        first = self._credentials.setdefault(session, re.findall(r"a=ice-(?:ufrag|pwd):.*", sdp))
        return re.sub(r"a=ice-ufrag:.*", first[0], re.sub(r"a=ice-pwd:.*", first[1], sdp))


@pytest.fixture
def path() -> Iterator[UdpPath]:
    with UdpPath() as running:
        yield running


def assert_data_flows(*pages: Page) -> None:
    for page, other in (pages, pages[::-1]):
        page.wait_for_function("text => call.send('chat', text) === 1", arg=page.url)
        wait_to_hear(other, page.url)


def healed(page: Page) -> list[dict[str, Any]]:
    """Wait until the page has been told that its pair was healed; all such events."""
    page.wait_for_function("() => told.some(({type}) => type === 'pair-healed')")
    return told(page, "pair-healed")


def test_both_sides_notice_a_cut_path_and_heal_when_it_is_mended(open_page: OpenPage, path: UdpPath) -> None:
    pages = open_pair(open_page, path.over, **CALL)
    wait_for_state("connected", *pages)
    for page in pages:
        page.evaluate(KEEP)
    path.cut()
    for page in pages:
        page.wait_for_function(f"() => {PAIR}.reason === 'checks-failed'")
    path.mend()
    wait_for_state("connected", *pages)
    assert_data_flows(*pages)
    for page in pages:
        [event] = healed(page)
        assert event["milliseconds"] > 4000
        assert told(page, "pair-failed")[-1]["reason"] == "checks-failed"
        assert page.evaluate(IS_KEPT)
        assert page.evaluate("reports.map(({pair}) => pair)") == ["connected", "failed", "healed"]
        assert page.evaluate("reports[2].milliseconds") == event["milliseconds"]
    assert pages[0].evaluate("restarts") == 0


def test_a_path_that_carries_only_ice_is_noticed_by_the_heartbeat_and_left(open_page: OpenPage, path: UdpPath) -> None:
    """The states of the connection do not say it."""
    pages = open_pair(open_page, path.over, **CALL)
    wait_for_state("connected", *pages)
    assert_data_flows(*pages)
    before = pages[0].evaluate(UFRAG)
    path.only_ice()
    pages[0].wait_for_function(f"before => {UFRAG} !== before", arg=before)
    wait_for_state("connected", *pages)
    assert_data_flows(*pages)
    assert pages[1].evaluate("restarts") >= 1
    assert pages[0].evaluate("restarts") == 0
    assert any(told(page, "pair-healed") for page in pages)


def test_a_side_that_hears_nothing_has_the_other_heal_the_pair(open_page: OpenPage, path: UdpPath) -> None:
    """Nothing that the polite side sends arrives: only the other one can know."""
    pages = open_pair(open_page, path.over, **CALL)
    wait_for_state("connected", *pages)
    assert_data_flows(*pages)
    path.silence("grace")
    wait_for_state("healing", pages[0])
    wait_for_state("connected", *pages)
    assert_data_flows(*pages)
    assert pages[1].evaluate("restarts") >= 1


@pytest.mark.parametrize("muted", ["ada", "grace"])
def test_both_sides_know_of_a_path_that_is_broken_in_one_direction(
    open_page: OpenPage, path: UdpPath, muted: str
) -> None:
    """Also the one that hears everything, whether it is polite or not."""
    pages = open_pair(open_page, path.over, **CALL)
    wait_for_state("connected", *pages)
    assert_data_flows(*pages)
    path.mute(muted)
    wait_for_state("failed", *pages)
    path.mend()
    wait_for_state("connected", *pages)
    assert_data_flows(*pages)


def test_a_connection_that_one_side_has_lost_is_replaced(open_page: OpenPage) -> None:
    """Whichever side that is."""
    pages = open_pair(open_page, **CALL)
    for losing in pages:
        wait_for_state("connected", *pages)
        assert_data_flows(*pages)
        for page in pages:
            page.evaluate(KEEP)
            page.evaluate("told.length = heard.length = 0")
        losing.evaluate(f"{PAIR}.pc.close()")
        for page in pages:
            page.wait_for_function(f"() => !({IS_KEPT})")


def test_a_pair_heals_on_other_ports_when_signaling_is_back(
    open_page: OpenPage, path: UdpPath, site: str, watch: Watch
) -> None:
    """As after a change of the network: the ports that there were never work again, and signaling is lost, too."""
    watch.server_may_be_away = True
    signaling = NetworkPath(urlsplit(site).port or 80)
    watch.hosts.add(f"127.0.0.1:{signaling.port}")
    room, sites = a_room(), {"ada": site, "grace": f"http://127.0.0.1:{signaling.port}"}
    pages = [open_call(open_page, room, name, site=sites[name], websockets=path.over, **CALL) for name in sites]
    wait_for_state("connected", *pages)
    assert_data_flows(*pages)
    path.only_ice()
    signaling.cut()
    for page in pages:
        page.wait_for_function(f"() => {PAIR}.state !== 'connected'")
    assert pages[1].evaluate("restarts") == 0
    signaling.mend()
    wait_for_state("connected", *pages)
    assert_data_flows(*pages)
    assert pages[1].evaluate("restarts") >= 1
    signaling.cut()


def test_a_page_that_is_online_again_makes_another_attempt(open_page: OpenPage, path: UdpPath) -> None:
    """Before the pause between attempts is over, which never is here."""
    pages = open_pair(open_page, path.over, **{**CALL, "init_script": COUNT_RESTARTS + STOP_PAUSES})
    wait_for_state("connected", *pages)
    assert_data_flows(*pages)
    path.cut()
    pages[1].wait_for_function("() => restarts === 1")
    pages[1].evaluate("dispatchEvent(new Event('online'))")
    pages[1].wait_for_function("() => restarts >= 2")


@pytest.mark.parametrize("announces", [True, False], ids=["announced", "not-announced"])
def test_a_side_that_cannot_restart_ice_gets_a_new_connection(
    open_page: OpenPage, path: UdpPath, announces: bool
) -> None:
    """As one of aiortc. If it has not announced that, its answer shows it."""
    path.edit = CannotRestart(announces)
    pages = open_pair(open_page, path.over, **CALL)
    wait_for_state("connected", *pages)
    assert_data_flows(*pages)
    for page in pages:
        page.evaluate(KEEP)
    path.only_ice()
    for page in pages:
        page.wait_for_function(f"() => !({IS_KEPT})")
    wait_for_state("connected", *pages)
    assert_data_flows(*pages)
    assert pages[1].evaluate("restarts") == (0 if announces else 1)
