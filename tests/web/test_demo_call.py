"""What people do in a call of the demo page: devices, screens, keys, moderation, and waiting for the server."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

import pytest
from playwright.sync_api import expect

from tests.support.tokens import token
from tests.web.conftest import serving
from tests.web.network_path import NetworkPath
from tests.web.pages import RECORD, a_room, assert_everybody_sees_everybody, frames_decoded, id_of
from tests.web.scenes import OPEN, SCREEN

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.web.conftest import Watch
    from tests.web.pages import OpenPage

COUNT = """
globalThis.asked = globalThis.dialled = 0;
const devices = navigator.mediaDevices, ask = devices?.getUserMedia.bind(devices);
if (devices) devices.getUserMedia = (...given) => { globalThis.asked++; return ask(...given); };
const Dialled = WebSocket;
globalThis.WebSocket = class extends Dialled { constructor(...given) { globalThis.dialled++; super(...given); } };
"""
ASKED_AND_DIALLED = "[globalThis.asked, globalThis.dialled]"
STOP_LONG_TIMERS = """
() => {
  const start = setTimeout;
  globalThis.setTimeout = (run, delay, ...rest) => start(run, delay >= 1000 ? 2 ** 30 : delay, ...rest);
}
"""


@pytest.fixture
def port(tmp_path: Path, watch: Watch) -> Iterator[int]:
    """A server with optional tokens."""
    with serving(tmp_path, OPEN) as port:
        watch.hosts.add(f"127.0.0.1:{port}")
        watch.server_may_be_away = True  # it stops before the pages are closed
        yield port


def test_no_device_and_no_connection_is_used_before_a_click(open_page: OpenPage) -> None:
    page = open_page(a_room(), init_script=COUNT, joins=False)
    expect(page.locator("#join-button")).to_be_enabled()
    assert page.evaluate(ASKED_AND_DIALLED) == [0, 0]
    page.locator("#join-button").click()
    expect(page.locator("#status")).to_have_attribute("data-state", "open")
    assert page.evaluate("globalThis.asked") == 0
    expect(page.locator("#camera")).to_have_attribute("aria-pressed", "false")


def test_a_shared_screen_is_shown_beside_the_camera_until_it_is_stopped(open_page: OpenPage) -> None:
    room = a_room()
    sharing, other = open_page(room, init_script=SCREEN), open_page(room)
    assert_everybody_sees_everybody(sharing, other)
    sharing.locator("#screen").click()
    screen = other.locator(f"#screens .tile[data-screen-of='{id_of(sharing)}'].playing")
    expect(screen).to_be_visible()
    so_far = frames_decoded(other, id_of(sharing))
    assert frames_decoded(other, id_of(sharing), over=so_far) > so_far
    sharing.locator("#screen").click()
    expect(other.locator("#screens")).to_be_hidden()
    expect(sharing.locator("#screens")).to_be_hidden()


def test_single_keys_control_the_call_unless_one_types_or_turns_them_off(open_page: OpenPage) -> None:
    page = open_page(a_room())
    microphone = page.locator("#microphone")
    expect(page.locator("#call")).to_be_visible()
    expect(microphone).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("m")
    expect(microphone).to_have_attribute("aria-pressed", "false")
    page.locator("#chat-input").press("m")
    expect(page.locator("#chat-input")).to_have_value("m")
    page.locator("#camera").focus()
    page.keyboard.press("?")
    page.get_by_label("Use these keys").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("m")
    expect(microphone).to_have_attribute("aria-pressed", "false")


def test_a_moderator_locks_the_room_and_removes_somebody_who_is_told_why(open_page: OpenPage, port: int) -> None:
    room = f"http://127.0.0.1:{port}{a_room()}"
    moderator = open_page(f"{room}&{urlencode({'token': token('mo', can=['signal', 'message', 'moderate'])})}")
    bob = open_page(room)
    assert_everybody_sees_everybody(moderator, bob)
    expect(bob.locator("#moderation")).to_be_hidden()
    moderator.locator("#show-people").click()
    moderator.get_by_role("button", name="Lock room").click()
    for page in (moderator, bob):
        expect(page.locator("#locked")).to_be_visible()
    eve = open_page(room)
    expect(eve.locator("#join-problem")).to_have_text(
        "This room is locked. Ask a moderator to unlock it, then join again."
    )
    moderator.locator(f"#roster li[data-peer-id='{id_of(bob)}'] .remove").click()
    moderator.get_by_label("Words for them").fill("Please be kind.")
    moderator.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(bob.locator("#join-problem")).to_have_text(
        "A moderator removed you from this room. They say: “Please be kind.” You can join again."
    )
    expect(moderator.locator(".tile")).to_have_count(1)


def test_the_page_counts_down_to_the_next_attempt_and_tries_at_once_if_told_to(
    open_page: OpenPage, site: str, watch: Watch
) -> None:
    """Its pause would never end here."""
    path = NetworkPath(urlsplit(site).port or 80)
    watch.hosts.add(f"127.0.0.1:{path.port}")
    watch.server_may_be_away = True
    page = open_page(f"http://127.0.0.1:{path.port}{a_room()}")
    expect(page.locator("#status")).to_have_attribute("data-state", "open")
    page.wait_for_function("() => mcpActors.parts().userRoom")
    page.evaluate(RECORD)
    page.evaluate(STOP_LONG_TIMERS)
    path.cut()
    page.wait_for_function("() => pause?.delay >= 1000")
    expect(page.locator("#banner-text")).to_have_text("The connection to the server is lost. Trying again now.")
    path.mend()
    page.locator("#retry").click()
    expect(page.locator("#banner")).to_be_hidden()
    expect(page.locator("#status")).to_have_attribute("data-state", "open")
    path.cut()
