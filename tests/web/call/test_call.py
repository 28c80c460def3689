"""Calls of the client package between pages: tracks, the screen, data channels, and their end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.web.call.pages import PAIR, a_room, open_call, open_pair, say, told, wait_for_state, wait_to_hear
from tests.web.pages import COUNT_RESTARTS, PLAIN, Tap

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.web.pages import OpenPage

CHAT: dict[str, Any] = {"options": {"channels": {"chat": {}}}}
FLOWS = f"""
async (source) => {{
  const video = document.createElementNS("http://www.w3.org/1999/xhtml", "video");
  video.muted = true;
  video.srcObject = {PAIR}[source];
  await video.play();
  return video.videoWidth;
}}
"""
SHARE = """
async () => {
  const canvas = document.createElementNS("http://www.w3.org/1999/xhtml", "canvas");
  Object.assign(canvas, {width: 160, height: 120});
  const context = canvas.getContext("2d");
  setInterval(() => context.fillRect(Math.random() * 100, 0, 10, 10), 50);
  const [track] = canvas.captureStream(10).getVideoTracks();
  await call.replaceTrack("screen", track);
}
"""
COUNT_PARTS = """
globalThis.connections = [];
globalThis.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(configuration) { super(configuration); connections.push(this); }
};
globalThis.timers = new Set();
const {setTimeout: start, clearTimeout: stop} = globalThis;
globalThis.setTimeout = (run, ...rest) => {
  const timer = start((...values) => { timers.delete(timer); run(...values); }, ...rest);
  timers.add(timer);
  return timer;
};
globalThis.clearTimeout = (timer) => { timers.delete(timer); stop(timer); };
"""


def wait_for_screen(page: Page, shown: bool) -> None:
    page.wait_for_function(f"shown => ({PAIR}.screen !== null) === shown", arg=shown)


def test_pages_see_each_other_after_one_offer(open_page: OpenPage) -> None:
    room, tap = a_room(), Tap()
    ada = open_call(open_page, room, "ada", camera=True, websockets=tap.over)
    grace = open_call(open_page, room, "grace", camera=True)
    wait_for_state("connected", ada, grace)
    for page, other in ((ada, "grace"), (grace, "ada")):
        assert page.evaluate(FLOWS, "stream") > 0
        assert [event["peerId"] for event in told(page, "pair-added")] == [other]
        assert page.evaluate(f"{PAIR}.stream.getTracks().map(({{kind}}) => kind).sort()") == ["audio", "video"]
    assert [message["negotiation"] for message in tap.relayed("offer")] == [1]


@pytest.mark.parametrize("camera", [True, False], ids=["with-cameras", "without"])
def test_both_pages_can_share_their_screens_at_once(open_page: OpenPage, camera: bool) -> None:
    """Both offer at the same time, and the polite page gives way."""
    pages = open_pair(open_page, camera=camera)
    wait_for_state("connected", *pages)
    for page in pages:
        page.evaluate(SHARE)
    for page in pages:
        wait_for_screen(page, True)
        assert page.evaluate(FLOWS, "screen") == 160
        assert not camera or page.evaluate(FLOWS, "stream") != 160
    pages[0].evaluate("call.replaceTrack('screen', null)")
    wait_for_screen(pages[1], False)
    wait_for_screen(pages[0], True)
    pages[0].evaluate(SHARE)
    wait_for_screen(pages[1], True)


def test_a_page_that_joins_later_sees_the_screen(open_page: OpenPage) -> None:
    room = a_room()
    ada = open_call(open_page, room, "ada", camera=True)
    ada.evaluate(SHARE)
    grace = open_call(open_page, room, "grace")
    wait_for_screen(grace, True)
    assert grace.evaluate(FLOWS, "screen") == 160


def test_a_kind_without_a_track_is_negotiated_when_there_is_one(open_page: OpenPage) -> None:
    pages = open_pair(open_page)
    wait_for_state("connected", *pages)
    assert not pages[1].evaluate(f"/^m=(audio|video)/m.test({PAIR}.pc.localDescription.sdp)")
    pages[0].evaluate(
        "navigator.mediaDevices.getUserMedia({video: true})"
        ".then((media) => call.replaceTrack('video', media.getVideoTracks()[0]))"
    )
    pages[1].wait_for_function(f"() => {PAIR}.stream.getVideoTracks().length === 1")
    assert pages[1].evaluate(FLOWS, "stream") > 0


def test_data_arrives_by_label_at_everybody_or_at_one_peer(open_page: OpenPage) -> None:
    """Channels have ids by the order of labels, or their own, or are opened in-band."""
    room = a_room()
    options = {"channels": {"chat": {}, "moves": {"id": 7, "ordered": False}, "files": {"negotiated": False}}}
    pages = [open_call(open_page, room, name, options=options) for name in ("ada", "grace", "joan")]
    for page in pages:
        page.wait_for_function("() => call.pairs.size === 2")
        for label in options["channels"]:
            page.wait_for_function("label => call.send(label, 'ready') === 2", arg=label)
    pages[0].evaluate("call.send('chat', 'to all')")
    pages[0].evaluate("call.send('moves', new Uint8Array([1, 2]), 'joan')")
    pages[0].evaluate("call.send('files', 'to grace', 'grace')")
    for page in pages[1:]:
        wait_to_hear(page, "to all")
    wait_to_hear(pages[1], "to grace")
    pages[2].wait_for_function("() => heard.some(([, , data]) => data instanceof ArrayBuffer)")
    received = "heard.filter(([, , data]) => data !== 'ready').map(([peer, label]) => [peer, label])"
    assert pages[1].evaluate(received) == [["ada", "chat"], ["ada", "files"]]
    assert sorted(pages[2].evaluate(received)) == [["ada", "chat"], ["ada", "moves"]]
    assert pages[0].evaluate("call.send('unknown', '')") == pages[0].evaluate("call.send('chat', '', 'nobody')") == 0


def test_channels_of_a_peer_that_are_closed_make_room_for_others(open_page: OpenPage) -> None:
    """A page opens more channels than another may have at once, one after the other."""
    room = a_room()
    pages = [open_call(open_page, room, name, options={"channels": {"chat": {}}}) for name in ("ada", "grace")]
    wait_for_state("connected", *pages)
    pages[0].evaluate(
        f"""async () => {{
          for (let number = 0; number <= 120; number++) {{
            const channel = {PAIR}.pc.createDataChannel(`file ${{number}}`);
            await new Promise((resolve) => (channel.onopen = resolve));
            if (number === 120) return channel.send("content");
            channel.close();
            await new Promise((resolve) => (channel.onclose = resolve));
          }}
        }}"""
    )
    wait_to_hear(pages[1], "content")


def test_channels_that_cannot_be_are_refused(open_page: OpenPage) -> None:
    page = open_call(open_page, a_room(), "ada")
    create = """
    async (channels) => {
      const {Call} = await import("/client/call.js");
      try { new Call(room, {channels}); } catch ({message}) { return message; }
    }
    """
    many = {str(number): {"negotiated": True} for number in range(51)}
    for channels, text in (
        ({"a": {"id": 255}}, "255"),
        ({"a": {"id": 3}, "b": {"id": 3}}, "The id 3"),
        ({"mcp-actors.heartbeat": {}}, "the call's own"),
        (many, "at most 50"),
    ):
        assert text in page.evaluate(create, channels)


def test_a_call_that_begins_late_is_offered_again_what_it_has_missed(open_page: OpenPage) -> None:
    """A page joins, and creates its call after another page has joined and offered."""
    room = a_room()
    late = open_page("/favicon.svg")
    late.evaluate(
        """async (room) => {
          const {Connection} = await import("/client/index.js");
          globalThis.room = await new Connection(location.origin).join(room, {peerId: "late"});
        }""",
        room,
    )
    other = open_call(open_page, room, "grace", **CHAT)
    late.wait_for_function("() => room.peers.size === 1")
    other.wait_for_function(f"() => {PAIR}?.pc.signalingState === 'have-local-offer'")
    late.evaluate(
        """async () => {
          const {Call} = await import("/client/call.js");
          globalThis.call = new Call(room, {channels: {chat: {}}});
        }"""
    )
    wait_for_state("connected", late, other)


def test_a_peer_that_comes_again_before_it_has_answered_is_not_waited_for(open_page: OpenPage) -> None:
    """The offer went to the page that is gone; the one that has come under the same id makes its own."""
    room = a_room()
    gone = open_page(PLAIN)
    gone.evaluate(
        """async (room) => {
          const {Connection} = await import("/client/index.js");
          await new Connection(location.origin).join(room, {peerId: "grace"});
        }""",
        room,
    )
    ada = open_call(open_page, room, "ada", **CHAT)
    ada.wait_for_function(f"() => {PAIR}?.pc.signalingState === 'have-local-offer'")
    gone.goto("about:blank")
    ada.wait_for_function(f"() => {PAIR}?.member === undefined")
    grace = open_call(open_page, room, "grace", **CHAT)
    wait_for_state("connected", ada, grace)


def test_offers_that_both_sides_make_before_the_last_are_answered_settle(open_page: OpenPage) -> None:
    """Each page restarts ICE again and again, and shares a picture meanwhile: offers collide, and answers come late."""
    pages = open_pair(open_page, options={"channels": {"chat": {}}}, init_script=COUNT_RESTARTS)
    wait_for_state("connected", *pages)
    for number in range(20):
        for page in pages:
            page.evaluate(f"() => {{ {PAIR}.pc.restartIce(); }}")
            if number == 10:
                page.evaluate(SHARE)
    for page, other in (pages, pages[::-1]):
        page.wait_for_function(
            f"() => {PAIR}.pc.signalingState === 'stable' && {PAIR}.pc.connectionState === 'connected'"
        )
        wait_for_screen(page, True)
        assert page.evaluate(FLOWS, "screen") == 160
        page.wait_for_function("() => call.send('chat', 'settled') === 1")
        wait_to_hear(other, "settled")
        assert page.evaluate("restarts") >= 20


def test_a_call_leaves_nothing_behind_when_it_is_closed(open_page: OpenPage) -> None:
    """At any moment: here as soon as it begins, and when it is connected. The other page is told nothing but by ICE."""
    pages = open_pair(open_page, init_script=COUNT_PARTS, **CHAT)
    wait_for_state("connected", *pages)
    closing = pages[1]
    closing.evaluate("connection.close()")
    closing.wait_for_function("() => call.pairs.size === 0")
    assert closing.evaluate("connections.every(({signalingState}) => signalingState === 'closed')")
    assert say(closing, "x") == 0
    closing.wait_for_function("() => timers.size === 0")
    pages[0].wait_for_function("() => call.pairs.size === 0")
    room = a_room()
    open_call(open_page, room, "ada")
    begun = open_call(open_page, room, "grace", init_script=COUNT_PARTS)
    begun.evaluate("call.close()")
    begun.wait_for_function("() => call.pairs.size === 0")
    assert begun.evaluate("connections.every(({signalingState}) => signalingState === 'closed')")
    assert begun.evaluate("room.joined")
    begun.evaluate("connection.close()")
    begun.wait_for_function("() => timers.size === 0")
