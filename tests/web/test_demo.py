"""The demo page in a real browser, against a real server."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from tests.web.pages import (
    PAIRS,
    a_room,
    assert_everybody_sees_everybody,
    assert_only_sees,
    collect_sockets,
    frames_decoded,
    id_of,
    join,
    rename,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Browser, WebSocketRoute

    from tests.web.conftest import Watch
    from tests.web.pages import OpenPage

REFUSE_CAMERA = """
const refuse = async () => { throw new DOMException("refused", "NotAllowedError"); };
if (navigator.mediaDevices) navigator.mediaDevices.getUserMedia = refuse;
"""
# Attempts that injected code would make; resolves to the directives that blocked them.
ATTACK = """
async () => {
  const blocked = [], attempts = 6;
  const all = new Promise((resolve) => document.addEventListener("securitypolicyviolation", (event) => {
    if (blocked.push(event.effectiveDirective) === attempts) resolve();
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
  return blocked;
}
"""
NO_MEDIA_DEVICES = "Object.defineProperty(Navigator.prototype, 'mediaDevices', {value: undefined});"


def test_three_pages_see_each_other_until_one_is_closed(open_page: OpenPage) -> None:
    """This needs no room in the address."""
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
    room = a_room()
    staying, reloading = open_page(room), open_page(room)
    assert_everybody_sees_everybody(staying, reloading)
    before = id_of(reloading)
    reloading.reload()
    expect(staying.locator(f".tile[data-peer-id='{before}']")).to_have_count(0)
    assert id_of(reloading) != before
    expect(reloading.locator("#camera")).to_have_attribute("data-source", "camera")
    assert_everybody_sees_everybody(staying, reloading)
    assert_only_sees(staying, reloading)


def test_leaving_and_joining_again_needs_no_reload(open_page: OpenPage) -> None:
    room = a_room()
    staying, leaving = open_page(room), open_page(room)
    assert_everybody_sees_everybody(staying, leaving)
    leaving.get_by_role("button", name="Leave").click()
    assert_only_sees(staying)
    expect(leaving.locator(".tile, #roster li")).to_have_count(0)
    expect(leaving.locator("#status")).to_have_attribute("data-state", "closed")
    leaving.get_by_role("button", name="Join").click()
    assert_everybody_sees_everybody(staying, leaving)
    expect(leaving.locator("#people-count")).to_have_text("2")


def test_a_double_click_on_leave_leaves_and_stops_the_camera(open_page: OpenPage) -> None:
    """The second click does not join again."""
    page = open_page(a_room())
    expect(page.locator("#status")).to_have_attribute("data-state", "open")
    expect(page.locator("#camera")).to_have_attribute("data-source", "camera")
    track = page.evaluate_handle("mcpActors.media.video")
    page.get_by_role("button", name="Leave").dblclick()
    expect(page.locator("#join")).to_be_visible()
    expect(page.locator("#status")).to_have_attribute("data-state", "closed")
    expect(page.locator("#preview-camera")).to_have_attribute("aria-pressed", "false")
    assert track.evaluate("track => track.readyState") == "ended"


def test_chat_messages_and_names_are_shown_as_text(open_page: OpenPage) -> None:
    """Markup from other people is not interpreted."""
    room, markup = a_room(), "<img src=x onerror=alert(1)><b>bold</b>"
    one, other = open_page(room), open_page(room)
    assert_everybody_sees_everybody(one, other)
    rename(one, "<i>Ada</i>")
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
def test_without_a_camera_the_generated_picture_is_sent(open_page: OpenPage, init_script: str) -> None:
    """The permission is refused, or the context is not secure."""
    room = a_room()
    without, other = open_page(room, init_script=init_script), open_page(room)
    assert_everybody_sees_everybody(without, other)
    expect(without.locator("#camera")).to_have_attribute("data-source", "generated")
    so_far = frames_decoded(other, id_of(without))
    assert frames_decoded(other, id_of(without), over=so_far + 5) > so_far


def test_switching_between_camera_and_picture_needs_no_negotiation(open_page: OpenPage) -> None:
    room = a_room()
    one, other = open_page(room), open_page(room)
    camera = one.locator("#camera")
    expect(camera).to_have_attribute("data-source", "camera")
    assert_everybody_sees_everybody(one, other)
    descriptions = f"{PAIRS}.map(({{pc}}) => pc.localDescription.sdp)"
    before = one.evaluate(descriptions)
    for source in ("generated", "camera"):
        camera.click()
        expect(camera).to_have_attribute("data-source", source)
        so_far = frames_decoded(other, id_of(one))
        assert frames_decoded(other, id_of(one), over=so_far + 5) > so_far
    assert one.evaluate(descriptions) == before


NOTE_STATES = """
(tile) => {
  globalThis.states = [];
  new MutationObserver(() => states.push(tile.dataset.state)).observe(tile, {attributeFilter: ["data-state"]});
}
"""


def test_media_flows_while_signaling_is_lost_and_the_room_is_joined_again(
    open_page: OpenPage, watch: Watch, sessionless_site: str
) -> None:
    """The call keeps its RTCPeerConnection; the new roster does not change it."""
    sockets: list[WebSocketRoute] = []
    watch.hosts.add(urlsplit(sessionless_site).netloc)
    watch.server_may_be_away = True  # it stops before the pages are closed
    dropping = open_page(sessionless_site, websockets=collect_sockets(sockets, "**/ws/signaling/**"))
    other = open_page(sessionless_site)
    assert_everybody_sees_everybody(dropping, other)
    dropping.evaluate(
        """() => {
            const {call, room} = mcpActors.parts();
            globalThis.before = [...call.pairs.values()][0].pc;
            room.addEventListener("rejoined", () => (globalThis.rejoined = true));
        }"""
    )
    tile = other.locator(f".tile[data-peer-id='{id_of(dropping)}']")
    so_far = frames_decoded(other, id_of(dropping))
    tile.evaluate(NOTE_STATES)

    sockets[0].close(code=4000)
    other.wait_for_function("() => states.includes('away')")  # perhaps only for a moment
    assert frames_decoded(other, id_of(dropping), over=so_far) > so_far
    expect(tile).to_have_attribute("data-state", "connected")
    expect(dropping.locator("#status")).to_have_attribute("data-state", "open")
    assert dropping.evaluate("globalThis.rejoined")
    assert dropping.evaluate(f"{PAIRS}[0].pc === globalThis.before")
    assert_everybody_sees_everybody(dropping, other)


def test_a_page_that_cannot_reach_others_loads_and_says_why(open_page: OpenPage, hiding_chromium: Browser) -> None:
    """Browsers hide their addresses until one may use its camera; `goto` waits for the page to load."""
    room = a_room()
    one = open_page(room, browser=hiding_chromium)
    other = open_page(room, browser=hiding_chromium)
    assert other.evaluate("document.readyState") == "complete"
    tile = other.locator(f".tile[data-peer-id='{id_of(one)}']")
    expect(tile.locator(".cover-state")).to_have_text("Connecting")
    name = tile.locator(".name").text_content()
    for page in (one, other):
        expect(page.locator("#problem")).to_contain_text("This page keeps trying.")
    expect(other.locator("#problem")).to_contain_text(f"No call with {name} yet")

    other.context.grant_permissions(["camera", "microphone"])
    other.evaluate("mcpActors.parts().call.restart()")
    assert_everybody_sees_everybody(one, other)
    for page in (one, other):
        expect(page.locator("#problem")).to_be_hidden()


def test_after_a_restart_of_the_server_nobody_is_reported_as_joined_or_left(
    open_page: OpenPage, watch: Watch, restartable_site: tuple[str, Callable[[], None]]
) -> None:
    """The chat reports the interruption and keeps the text that is being typed."""
    site, restart = restartable_site
    watch.hosts.add(urlsplit(site).netloc)
    watch.server_may_be_away = True
    one, other = open_page(site), open_page(site)
    assert_everybody_sees_everybody(one, other)
    expect(one.locator("#chat-log .notice", has_text="joined.")).to_have_count(1)
    one.get_by_label("Message").fill("typed meanwhile")
    restart()
    for page in (one, other):
        expect(page.locator("#chat-log .notice").last).to_have_text("The chat is connected again.")
    expect(one.get_by_label("Message")).to_have_value("typed meanwhile")
    one.get_by_label("Message").press("Enter")
    expect(other.locator("#chat-log .message .text")).to_have_text("typed meanwhile")
    expect(one.locator("#chat-log .notice", has_text="joined.")).to_have_count(1)
    expect(other.locator("#chat-log .notice", has_text="joined.")).to_have_count(0)
    expect(one.locator("#chat-log .notice", has_text="left.")).to_have_count(0)


def test_the_content_security_policy_blocks_injected_code(chromium: Browser, site: str) -> None:
    """All tests check that the page itself does not violate the policy: that would be an error on the console."""
    context = chromium.new_context()
    page = context.new_page()
    page.goto(site + a_room())
    join(page)
    expect(page.locator("#status")).to_have_attribute("data-state", "open")
    blocked = page.evaluate(ATTACK)
    context.close()
    assert sorted(blocked) == ["base-uri", "connect-src", "frame-src", "img-src", "script-src-elem", "style-src-attr"]


def test_the_page_cannot_be_framed(chromium: Browser, site: str) -> None:
    """Not even by its own site: a click in a disguised frame could turn the camera on."""
    context = chromium.new_context()
    page = context.new_page()
    page.route("**/frame.html", lambda route: route.fulfill(body=f'<iframe src="{site}/"></iframe>'))
    with page.expect_event("console", lambda message: "frame-ancestors" in message.text):
        page.goto(f"{site}/frame.html")
    context.close()
