"""Why pairs of the client package are not connected: each reason is produced, and told within seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mcp_actors.auth.secret import make
from tests.support.coturn import Coturn
from tests.web.call.pages import PAIR, a_room, open_call, open_pair, told, wait_for_state
from tests.web.call.udp_path import UdpPath
from tests.web.conftest import serving
from tests.web.pages import PLAIN
from tests.web.peer import connected as raw_peer

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser, Page

    from tests.web.conftest import Watch
    from tests.web.pages import OpenPage

OTHER_FINGERPRINT = """
const {setRemoteDescription} = RTCPeerConnection.prototype;
RTCPeerConnection.prototype.setRemoteDescription = function ({type, sdp}) {
  return setRemoteDescription.call(this, {type, sdp: sdp.replace(/^(a=fingerprint:sha-256 )..:/m, "$1" + "00:")});
};
"""


TOLD = f"why => {PAIR}.state === 'failed' && {PAIR}.reason === why && told.at(-1).reason === why"
FAILURES = "reports.filter(({pair}) => pair === 'failed').length"


def wait_for_reason(why: str, *pages: Page) -> None:
    """Wait until the pages are told that their pairs have failed for this reason; a slow one may see another first."""
    for page in pages:
        page.wait_for_function(TOLD, arg=why)
        assert why in {event["reason"] for event in told(page, "pair-failed")}
        assert page.evaluate(FAILURES) == 1


def test_both_sides_are_told_why_they_are_not_connected(
    open_page: OpenPage, hiding_chromium: Browser, site: str
) -> None:
    """Several pairs at once, as it takes seconds."""
    hiding = open_pair(open_page, browser=hiding_chromium)
    distrustful = open_pair(open_page, init_script=OTHER_FINGERPRINT)
    room = a_room()
    open_to_all = open_call(open_page, room, "ada")
    relayed = open_call(open_page, room, "grace", rtcConfiguration={"iceTransportPolicy": "relay"})
    room = a_room()
    with raw_peer(int(site.rpartition(":")[2])) as peer:
        peer.join(room, "ada")
        waiting = open_call(open_page, room, "grace")
        peer.expect("offer")
        wait_for_reason("no-turn", *hiding, open_to_all)
        wait_for_reason("dtls-failed", *distrustful)
        wait_for_reason("no-candidates", relayed)
        wait_for_reason("peer-gone", waiting)


def test_a_pair_with_a_relay_is_told_whether_the_relay_or_the_path_is_to_blame(
    open_page: OpenPage, tmp_path: Path, watch: Watch
) -> None:
    """Wrong credentials, and a path that carries nothing: it is connected when that is mended."""
    with Coturn(tmp_path, make()) as relay, UdpPath() as path:
        wrong = {"urls": relay.url, "username": "9999999999:ada", "credential": "wrong"}
        refused = open_pair(open_page, rtcConfiguration={"iceTransportPolicy": "relay", "iceServers": [wrong]})
        turn = {"MCP_ACTORS_TURN_URLS": relay.url, "MCP_ACTORS_TURN_SECRET": relay.secret}
        with serving(tmp_path, turn) as port:
            watch.hosts.add(f"127.0.0.1:{port}")
            watch.server_may_be_away = True
            path.cut()
            cut_off = open_pair(open_page, path.over, site=f"http://127.0.0.1:{port}")
            wait_for_reason("checks-failed", *cut_off)
            wait_for_reason("turn-refused", *refused)
            path.mend()
            wait_for_state("connected", *cut_off)


def test_a_pair_that_was_relayed_is_told_that_the_relay_refuses_before_ice_has_noticed(open_page: OpenPage) -> None:
    """ICE looks connected for some seconds after a relay is gone; a restart has been refused by then."""
    looking = open_page(PLAIN).evaluate(
        """async () => {
          const {diagnose} = await import("/client/diagnosis.js");
          const pc = new RTCPeerConnection();
          const connected = Object.create(pc, {
            connectionState: {value: "connected"},
            iceConnectionState: {value: "connected"},
            localDescription: {value: null},
            remoteDescription: {value: null},
            sctp: {value: null},
            getTransceivers: {value: () => []},
          });
          const findings = {refused: false, gone: false, wasConnected: true};
          return [true, false].map((turnRefused) => diagnose(connected, {...findings, turnRefused}));
        }"""
    )
    assert looking == ["turn-refused", "checks-failed"]


@pytest.mark.parametrize("polite", [True, False], ids=["offer", "answer"])
def test_the_server_refuses_a_description_that_is_too_big(
    open_page: OpenPage, watch: Watch, tmp_path: Path, polite: bool
) -> None:
    """Both pages are told, and the other one has been told by the first."""
    long = """
    const {get} = Object.getOwnPropertyDescriptor(RTCPeerConnection.prototype, "localDescription");
    Object.defineProperty(RTCPeerConnection.prototype, "localDescription", {
      get() {
        const description = get.call(this);
        return description && {type: description.type, sdp: description.sdp + "a=x:" + "x".repeat(9000) + "\\r\\n"};
      },
    });
    """
    with serving(tmp_path, {"MCP_ACTORS_MAX_MESSAGE_BYTES": "8192"}) as port:
        watch.hosts.add(f"127.0.0.1:{port}")
        watch.server_may_be_away = True
        room, site = a_room(), f"http://127.0.0.1:{port}"
        ada = open_call(open_page, room, "ada", site=site, init_script="" if polite else long)
        grace = open_call(open_page, room, "grace", site=site, init_script=long if polite else "")
        for page in (ada, grace):
            wait_for_reason("refused-by-server", page)
            assert page.evaluate(f"{PAIR}.problem.code") == "message-too-big"
