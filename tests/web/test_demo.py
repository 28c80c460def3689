"""The demo page in a real browser, against a real server."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import permutations
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, Page, WebSocketRoute, expect

if TYPE_CHECKING:
    from tests.web.conftest import Watch

DEADLINE = 20.0
OpenPage = Callable[..., Page]

# Resolves once more frames than given of this peer's video have been decoded, to their number then.
DECODED = """
async ({peerId, over, deadline}) => {
  const end = performance.now() + deadline;
  let frames = -1;
  while (performance.now() < end) {
    const peer = globalThis.mcpActors?.call.peers.get(peerId);
    for (const entry of (await peer?.pc.getStats())?.values() ?? []) {
      if (entry.type === "inbound-rtp" && entry.kind === "video") frames = entry.framesDecoded;
    }
    if (frames > over) return frames;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`${peerId}: ${frames} frames decoded`);
}
"""
REFUSE_CAMERA = """
const refuse = async () => { throw new DOMException("refused", "NotAllowedError"); };
if (navigator.mediaDevices) navigator.mediaDevices.getUserMedia = refuse;
"""
# Tries what a page that was broken into would; resolves to the rules that refused it.
OUTLAW = """
async () => {
  const refused = [], attempts = 6;
  const all = new Promise((resolve) => document.addEventListener("securitypolicyviolation", (event) => {
    if (refused.push(event.effectiveDirective) === attempts) resolve();
  }));
  const add = (tag, fields) => document.body.append(Object.assign(document.createElement(tag), fields));
  add("script", {text: "window.broken = true"});
  add("img", {src: "http://evil.example/"});
  add("iframe", {src: "http://evil.example/"});
  add("base", {href: "http://evil.example/"});
  document.body.insertAdjacentHTML("beforeend", "<p style='color: red'></p>");
  fetch("http://evil.example/").catch(() => {});
  await all;
  if (window.broken) throw new Error("the script ran");
  return refused;
}
"""
NO_MEDIA_DEVICES = "Object.defineProperty(Navigator.prototype, 'mediaDevices', {value: undefined});"


def id_of(page: Page) -> str:
    """The peer id of this page."""
    peer_id = page.locator(".tile.self").get_attribute("data-peer-id")
    assert peer_id is not None
    return peer_id


def frames_decoded(page: Page, peer_id: str, over: int = 0) -> int:
    """Wait until the page has decoded more than so many video frames of a peer; return how many."""
    frames: int = page.evaluate(DECODED, {"peerId": peer_id, "over": over, "deadline": DEADLINE * 1000})
    return frames


def assert_everybody_sees_everybody(*pages: Page) -> None:
    """Each page shows and decodes the video of each other."""
    for one, other in permutations(pages, 2):
        peer_id = id_of(other)
        expect(one.locator(f".tile[data-peer-id='{peer_id}'] video")).to_be_visible()
        assert frames_decoded(one, peer_id) > 0


def assert_only_sees(page: Page, *others: Page) -> None:
    """The page has its own tile and those of the others, no more."""
    expect(page.locator(".tile")).to_have_count(1 + len(others))
    for other in others:
        expect(page.locator(f".tile[data-peer-id='{id_of(other)}']")).to_have_count(1)


def a_room() -> str:
    """The path of a room nobody else uses."""
    return f"/?room=test-{uuid4().hex}"


def test_two_pages_see_each_other_then_a_third_comes_then_one_leaves(open_page: OpenPage) -> None:
    """Without a click, and without a room in the address."""
    first, second = open_page("/"), open_page("/")
    assert_everybody_sees_everybody(first, second)
    third = open_page("/")
    assert_everybody_sees_everybody(first, second, third)
    assert_only_sees(third, first, second)

    second.close()
    assert_only_sees(first, third)
    assert_only_sees(third, first)
    for one, other in permutations((first, third)):
        peer_id = id_of(other)
        so_far = frames_decoded(one, peer_id)
        assert frames_decoded(one, peer_id, over=so_far) > so_far


def test_a_reload_replaces_the_tile_and_video_flows_again(open_page: OpenPage) -> None:
    """The old peer goes, a new one comes."""
    room = a_room()
    staying, reloading = open_page(room), open_page(room)
    assert_everybody_sees_everybody(staying, reloading)
    before = id_of(reloading)
    reloading.reload()
    expect(staying.locator(f".tile[data-peer-id='{before}']")).to_have_count(0)
    assert id_of(reloading) != before
    assert_everybody_sees_everybody(staying, reloading)
    assert_only_sees(staying, reloading)


def test_leaving_and_joining_again_needs_no_reload(open_page: OpenPage) -> None:
    """The button leaves, its other face comes back."""
    room = a_room()
    staying, leaving = open_page(room), open_page(room)
    assert_everybody_sees_everybody(staying, leaving)
    leaving.get_by_role("button", name="Leave").click()
    assert_only_sees(staying)
    assert_only_sees(leaving)
    expect(leaving.locator("#status")).to_have_attribute("data-state", "closed")
    expect(leaving.locator("#people-count")).to_have_text("0")
    expect(leaving.locator("#roster li:visible")).to_have_count(0)
    leaving.get_by_role("button", name="Join again").click()
    assert_everybody_sees_everybody(staying, leaving)
    expect(leaving.locator("#people-count")).to_have_text("2")


def test_a_double_click_on_leave_leaves(open_page: OpenPage) -> None:
    """It does not come back with its second half, and what was off stays off."""
    page = open_page(a_room())
    expect(page.locator("#status")).to_have_attribute("data-state", "open")
    expect(page.locator("#camera")).to_have_attribute("data-source", "camera")
    page.locator("#camera").click()
    page.get_by_role("button", name="Leave").dblclick()
    expect(page.locator("#status")).to_have_attribute("data-state", "closed")
    expect(page.locator("#camera")).to_be_disabled()
    page.get_by_role("button", name="Join again").click()
    expect(page.locator("#status")).to_have_attribute("data-state", "open")
    expect(page.locator("#mute")).to_be_enabled()
    expect(page.locator("#camera")).to_have_attribute("data-source", "generated")


def test_pages_of_different_rooms_do_not_see_each_other_until_one_changes_rooms(open_page: OpenPage) -> None:
    """The room is the one in the address, and the one in the room field."""
    here, there = a_room(), a_room()
    one, two, other = open_page(here), open_page(here), open_page(there)
    assert_everybody_sees_everybody(one, two)
    expect(other.locator("#status")).to_have_attribute("data-state", "open")
    assert_only_sees(one, two)
    assert_only_sees(other)

    field = two.get_by_label("Room", exact=True)
    field.fill(there.removeprefix("/?room="))
    field.press("Enter")
    assert_everybody_sees_everybody(two, other)
    assert_only_sees(one)
    assert two.url.endswith(there)


def test_chat_crosses_as_text_and_so_do_names(open_page: OpenPage) -> None:
    """Nobody can put markup into the page of somebody else."""
    room, markup = a_room(), "<img src=x onerror=alert(1)><b>bold</b>"
    one, other = open_page(room), open_page(room)
    name = one.get_by_label("Your name")
    assert_everybody_sees_everybody(one, other)
    name.fill("<i>Ada</i>")
    name.press("Enter")
    expect(other.locator(f".tile[data-peer-id='{id_of(one)}'] .name")).to_have_text("<i>Ada</i>")

    for page in (one, other):
        expect(page.locator("#chat-log .notice", has_text="You are in room")).to_have_count(1)
    one.get_by_label("Message").fill(markup)
    one.get_by_label("Message").press("Enter")
    expect(other.locator("#chat-log .message .text")).to_have_text(markup)
    expect(other.locator("#chat-log .message .author")).to_have_text("<i>Ada</i>")
    other.get_by_label("Message").fill("plain & simple")
    other.get_by_role("button", name="Send").click()
    expect(one.locator("#chat-log .message .text")).to_have_text([markup, "plain & simple"])
    expect(one.locator("#chat-log .message.failed")).to_have_count(0)
    for page in (one, other):
        expect(page.locator("#chat-log img, #chat-log b, .name i, .author i")).to_have_count(0)


@pytest.mark.parametrize("init_script", [REFUSE_CAMERA, NO_MEDIA_DEVICES], ids=["refused", "insecure-context"])
def test_without_a_camera_the_generated_picture_is_seen(open_page: OpenPage, init_script: str) -> None:
    """No permission, no secure context: there is something to see all the same."""
    room = a_room()
    without, other = open_page(room, init_script=init_script), open_page(room)
    assert_everybody_sees_everybody(without, other)
    expect(without.locator("#camera")).to_have_attribute("data-source", "generated")
    so_far = frames_decoded(other, id_of(without))
    assert frames_decoded(other, id_of(without), over=so_far + 5) > so_far


def test_camera_and_picture_change_places_without_negotiation(open_page: OpenPage) -> None:
    """The same RTCPeerConnection carries both."""
    room = a_room()
    one, other = open_page(room), open_page(room)
    camera = one.locator("#camera")
    expect(camera).to_have_attribute("data-source", "camera")
    assert_everybody_sees_everybody(one, other)
    described = "[...mcpActors.call.peers.values()].map(({pc}) => pc.localDescription.sdp)"
    before = one.evaluate(described)
    for source in ("generated", "camera"):
        camera.click()
        expect(camera).to_have_attribute("data-source", source)
        so_far = frames_decoded(other, id_of(one))
        assert frames_decoded(other, id_of(one), over=so_far + 5) > so_far
    assert one.evaluate(described) == before


def test_media_flows_on_while_signaling_is_lost_and_found_again(
    open_page: OpenPage, watch: Watch, forgetful_site: str
) -> None:
    """The call goes on over the connection it has, and the newly joined roster changes nothing about it."""
    sockets: list[WebSocketRoute] = []

    def pass_through(page: Page) -> None:
        def connect(route: WebSocketRoute) -> None:
            route.connect_to_server()
            sockets.append(route)

        page.route_web_socket("**/ws/signaling/", connect)

    watch.hosts.add(urlsplit(forgetful_site).netloc)
    watch.server_may_be_away = True  # it ends before its pages do
    dropping, other = open_page(forgetful_site, websockets=pass_through), open_page(forgetful_site)
    assert_everybody_sees_everybody(dropping, other)
    dropping.evaluate(
        """() => {
            globalThis.before = [...mcpActors.call.peers.values()][0].pc;
            mcpActors.signaling.addEventListener("rejoined", () => (globalThis.rejoined = true));
        }"""
    )
    tile = other.locator(f".tile[data-peer-id='{id_of(dropping)}']")
    so_far = frames_decoded(other, id_of(dropping))

    sockets[0].close(code=4000)
    expect(tile).to_have_attribute("data-state", "away")
    assert frames_decoded(other, id_of(dropping), over=so_far) > so_far
    expect(tile).to_have_attribute("data-state", "connected")
    expect(dropping.locator("#status")).to_have_attribute("data-state", "open")
    assert dropping.evaluate("globalThis.rejoined")
    assert dropping.evaluate("[...mcpActors.call.peers.values()][0].pc === globalThis.before")
    assert_everybody_sees_everybody(dropping, other)


def test_a_page_loads_and_says_why_it_cannot_reach_others(open_page: OpenPage, hiding_chromium: Browser) -> None:
    """Browsers that hide their addresses from each other: until one is allowed to use its camera."""
    room = a_room()
    one = open_page(room, browser=hiding_chromium)
    began = time.monotonic()
    other = open_page(room, browser=hiding_chromium)
    assert time.monotonic() - began < 5
    assert other.evaluate("document.readyState") == "complete"
    tile = other.locator(f".tile[data-peer-id='{id_of(one)}']")
    expect(tile.locator(".cover-state")).to_have_text("Waiting")
    name = tile.locator(".name").text_content()
    for page in (one, other):
        expect(page.locator("#problem")).to_contain_text("but not to", timeout=DEADLINE * 1000)
    expect(other.locator("#problem")).to_contain_text(f"Connected to the server, but not to {name} yet")

    other.context.grant_permissions(["camera", "microphone"])
    other.evaluate("mcpActors.call.retry()")
    assert_everybody_sees_everybody(one, other)
    for page in (one, other):
        expect(page.locator("#problem")).to_be_hidden()


def test_a_restarted_server_makes_nobody_join_again(
    open_page: OpenPage, watch: Watch, restartable_site: tuple[str, Callable[[], None]]
) -> None:
    """The chat says that it was away, keeps what is being typed, and goes on."""
    site, restart = restartable_site
    watch.hosts.add(urlsplit(site).netloc)
    watch.server_may_be_away = True
    one, other = open_page(site), open_page(site)
    assert_everybody_sees_everybody(one, other)
    expect(one.locator("#chat-log .notice", has_text="joined.")).to_have_count(1)
    one.get_by_label("Message").fill("typed meanwhile")
    restart()
    for page in (one, other):
        expect(page.locator("#chat-log .notice").last).to_have_text("The chat is back.")
    expect(one.get_by_label("Message")).to_have_value("typed meanwhile")
    one.get_by_label("Message").press("Enter")
    expect(other.locator("#chat-log .message .text")).to_have_text("typed meanwhile")
    expect(one.locator("#chat-log .notice", has_text="joined.")).to_have_count(1)
    expect(other.locator("#chat-log .notice", has_text="joined.")).to_have_count(0)
    expect(one.locator("#chat-log .notice", has_text="left.")).to_have_count(0)


def test_what_is_smuggled_into_the_page_may_do_nothing(chromium: Browser, site: str) -> None:
    """That the page itself breaks no rule is seen in all tests: a breach is a complaint on the console."""
    context = chromium.new_context()
    page = context.new_page()
    page.goto(site + a_room())
    expect(page.locator("#status")).to_have_attribute("data-state", "open")
    refused = page.evaluate(OUTLAW)
    context.close()
    assert sorted(refused) == ["base-uri", "connect-src", "frame-src", "img-src", "script-src-elem", "style-src-attr"]


def test_the_page_stands_in_no_frame(chromium: Browser, site: str) -> None:
    """Not even in one of its own site: a click on what seems another page would turn the camera on."""
    context = chromium.new_context()
    page = context.new_page()
    page.route("**/frame.html", lambda route: route.fulfill(body=f'<iframe src="{site}/"></iframe>'))
    with page.expect_event("console", lambda message: "frame-ancestors" in message.text):
        page.goto(f"{site}/frame.html")
    context.close()
