"""The states of the demo page, each set up in a browser: for screenshots, and for tests that hold in all of them."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from uuid import uuid4

from playwright.sync_api import expect

from tests.support.tokens import SECRET, token
from tests.web.crowd import LONG_NAMES, NAMES, gather
from tests.web.network_path import NetworkPath
from tests.web.pages import DEADLINE, DEVICES
from tests.web.peer import connected

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from playwright.sync_api import Browser, Page

SIZES = {
    "desktop": (1440, 900),
    "short": (1024, 600),
    "tablet": (768, 1024),
    "phone": (390, 844),
    "phone-on-its-side": (844, 390),
}
"""Widths and heights of windows, in CSS pixels."""

OPEN = {"MCP_ACTORS_AUTH": "optional", "MCP_ACTORS_SECRET_KEY": SECRET}
"""The settings of the server of most scenes."""

STRICT = {
    "MCP_ACTORS_AUTH": "required",
    "MCP_ACTORS_SECRET_KEY": SECRET,
    "MCP_ACTORS_MAX_ROOM_MEMBERS": "4",
    "MCP_ACTORS_MAX_MESSAGE_BYTES": "1024",
}
"""The settings of a server that refuses: those without a token, a fifth member, and offers."""

REFUSE = """
if (navigator.mediaDevices) navigator.mediaDevices.getUserMedia = async () => { throw new DOMException("", "%s"); };
"""
# A drawn document in place of a screen.
SCREEN = """
if (navigator.mediaDevices) navigator.mediaDevices.getDisplayMedia = async () => {
  const canvas = Object.assign(document.createElement("canvas"), {width: 1280, height: 800});
  const context = canvas.getContext("2d");
  const draw = () => {
    context.fillStyle = "#fbfbfd";
    context.fillRect(0, 0, 1280, 800);
    context.fillStyle = "#2f3a8f";
    context.fillRect(0, 0, 1280, 90);
    context.fillStyle = "#fff";
    context.font = "600 34px sans-serif";
    context.fillText("Quarterly plan", 50, 57);
    context.fillStyle = "#c9cede";
    for (let row = 0; row < 9; row++) context.fillRect(50, 150 + row * 62, 420 + ((row * 263) % 620), 22);
  };
  draw();
  setInterval(draw, 500);
  return canvas.captureStream(2);
};
"""


@dataclass
class Studio:
    """Where scenes are set up. `filmed`: whether people in the room send pictures, which takes CPU time."""

    browser: Browser
    port: int
    strict_port: int
    filmed: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    stack: ExitStack = field(default_factory=ExitStack)

    def open(
        self,
        room: str,
        *,
        port: int = 0,
        name: str = "Ada Lovelace",
        script: str = "",
        token: str = "",
        joins: bool = True,
    ) -> Page:
        """Open the page, and join unless `joins` is false."""
        context = self.stack.enter_context(self.browser.new_context(permissions=DEVICES, **self.options))
        context.set_default_timeout(DEADLINE * 1000)
        if script:
            context.add_init_script(script)
        page = context.new_page()
        query = urlencode({"room": room, **({"token": token} if token else {})})
        page.goto(f"http://127.0.0.1:{port or self.port}/?{query}")
        page.locator("#name").fill(name)
        if joins:
            page.locator("#join-button").click()
            expect(page.locator("#call")).to_be_visible()
        return page

    def gather(self, room: str, names: Sequence[str]) -> None:
        """Let people join."""
        context = self.stack.enter_context(self.browser.new_context(permissions=DEVICES))
        gather(context, f"http://127.0.0.1:{self.port}", room, names, filmed=self.filmed)

    def call(self, others: Sequence[str], **options: Any) -> Page:
        """A call with these people."""
        room = a_room()
        self.gather(room, others)
        page = self.open(room, **options)
        expect(page.locator("#tiles .tile")).to_have_count(1 + len(others))
        if self.filmed:
            expect(page.locator("#tiles .tile[data-state=connected].playing")).to_have_count(1 + len(others))
        return page

    def unreachable_later(self) -> NetworkPath:
        """A path to the server, to be cut."""
        path = NetworkPath(self.port)
        self.stack.callback(path.cut)
        return path


PANELS = {"people": "people", "chat": "chat", "locked": "people"}
"""The panel that a state is about."""


def resize(page: Page, size: str, state: str) -> None:
    """Give the window another size, and let the page arrange itself. The panel that the state is about stays open."""
    panel = PANELS.get(state)
    width, height = SIZES[size]
    page.set_viewport_size({"width": width, "height": height})
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    if panel and not page.locator(f"#{panel}-panel").is_visible():
        page.locator(f"#show-{panel}").click()


def a_room() -> str:
    """The name of a room that no other scene uses."""
    return f"Design review {uuid4().hex[:4]}"


def join_screen(studio: Studio) -> Page:
    return studio.open(a_room(), joins=False)


def preview(studio: Studio) -> Page:
    page = studio.open(a_room(), joins=False)
    for name in ("camera", "microphone"):
        page.locator(f"#preview-{name}").click()
        expect(page.locator(f"#preview-{name}")).to_have_attribute("aria-pressed", "true")
    return page


def _without_camera(studio: Studio, error: str) -> Page:
    page = studio.open(a_room(), script=REFUSE % error, joins=False)
    page.locator("#preview-camera").click()
    expect(page.locator("#device-note")).not_to_be_empty()
    return page


def camera_denied(studio: Studio) -> Page:
    return _without_camera(studio, "NotAllowedError")


def no_camera(studio: Studio) -> Page:
    return _without_camera(studio, "NotFoundError")


def token_needed(studio: Studio) -> Page:
    page = studio.open(a_room(), port=studio.strict_port, joins=False)
    page.locator("#join-button").click()
    expect(page.locator("#token-input")).to_be_visible()
    return page


def room_full(studio: Studio) -> Page:
    room = a_room()
    for number in range(4):
        peer = studio.stack.enter_context(connected(studio.strict_port, token(f"p{number}")))
        peer.join(room, f"p{number}")
    page = studio.open(room, port=studio.strict_port, token=token("ada"), joins=False)
    page.locator("#join-button").click()
    expect(page.locator("#join-problem")).to_contain_text("full")
    return page


def server_down(studio: Studio) -> Page:
    path = studio.unreachable_later()
    page = studio.open(a_room(), port=path.port, joins=False)
    path.cut()
    page.locator("#join-button").click()
    expect(page.locator("#joining-text")).to_contain_text("cannot be reached")
    return page


def alone(studio: Studio) -> Page:
    return studio.call([])


def two(studio: Studio) -> Page:
    return studio.call(NAMES[1:2])


def six(studio: Studio) -> Page:
    return studio.call(NAMES[1:6])


def seventeen(studio: Studio) -> Page:
    return studio.call(NAMES[1:17])


def thirty(studio: Studio) -> Page:
    return studio.call(NAMES[1:30])


def long_names(studio: Studio) -> Page:
    return studio.call(LONG_NAMES, name="Maximilian Freiherr von und zu Guttenber")


def people(studio: Studio) -> Page:
    page = long_names(studio)
    page.locator("#show-people").click()
    return page


def chat(studio: Studio) -> Page:
    page = studio.call(NAMES[1:3])
    expect(page.locator("#chat-send")).to_be_enabled()
    if not page.locator("#chat-panel").is_visible():
        page.locator("#show-chat").click()
    for text in ("Hello!", "The plan is at https://intranet.example/a/very/long/address/" + "x" * 60, "See page 3."):
        page.locator("#chat-input").fill(text)
        page.locator("#chat-input").press("Enter")
    expect(page.locator("#chat-entries .message")).to_have_count(3)
    return page


def shared_screen(studio: Studio) -> Page:
    room = a_room()
    studio.gather(room, NAMES[2:6])
    page = studio.open(room)
    other = studio.open(room, name="Grace Hopper", script=SCREEN)
    other.locator("#screen").click()
    expect(page.locator("#screens .tile.playing")).to_be_visible()
    return page


def _moderated(studio: Studio) -> Page:
    return studio.call(NAMES[1:6], token=token("ada", can=["signal", "message", "moderate"]))


def locked(studio: Studio) -> Page:
    page = _moderated(studio)
    page.locator("#show-people").click()
    page.locator("#lock").click()
    expect(page.locator("#locked")).to_be_visible()
    return page


def removing(studio: Studio) -> Page:
    page = _moderated(studio)
    page.locator("#show-people").click()
    page.get_by_role("button", name="Remove Bo").click()
    return page


def shortcuts(studio: Studio) -> Page:
    page = studio.call(NAMES[1:6])
    page.keyboard.press("?")
    return page


def _ended(studio: Studio, kind: str, **payload: Any) -> Page:
    """A call that a moderator has ended."""
    room = a_room()
    moderator = studio.stack.enter_context(connected(studio.port, token("mo", can=["signal", "moderate"])))
    moderator.join(room, "mo")
    page = studio.open(room)
    peer_id = page.locator(".tile.self").get_attribute("data-peer-id")
    moderator.say(kind, room, {**({"peer_id": peer_id} if kind == "kick" else {}), **payload})
    expect(page.locator("#join-problem")).to_be_visible()
    return page


def kicked(studio: Studio) -> Page:
    return _ended(studio, "kick", message="Please come back with a question.")


def room_closed(studio: Studio) -> Page:
    return _ended(studio, "close-room", message="The lesson is over. See you tomorrow!")


def reconnecting(studio: Studio) -> Page:
    path, room = studio.unreachable_later(), a_room()
    studio.gather(room, NAMES[1:6])
    page = studio.open(room, port=path.port)
    expect(page.locator("#tiles .tile")).to_have_count(6)
    if studio.filmed:
        expect(page.locator("#tiles .tile[data-state=connected].playing")).to_have_count(6)
    path.cut()
    expect(page.locator("#banner")).to_contain_text("Trying again in")
    return page


def away(studio: Studio) -> Page:
    room, path = a_room(), studio.unreachable_later()
    studio.gather(room, NAMES[2:5])
    studio.open(room, port=path.port, name="Grace Hopper")
    page = studio.open(room)
    expect(page.locator("#tiles .tile")).to_have_count(5)
    path.cut()
    expect(page.locator("#tiles .tile[data-state=away]")).to_be_visible()
    return page


def offer_refused(studio: Studio) -> Page:
    room = a_room()
    studio.open(room, port=studio.strict_port, name="Grace Hopper", token=token("grace"))
    page = studio.open(room, port=studio.strict_port, token=token("ada"))
    expect(page.locator("#problem")).to_contain_text("too big")
    return page


BEFORE: dict[str, Callable[[Studio], Page]] = {
    "join": join_screen,
    "join-with-camera": preview,
    "camera-denied": camera_denied,
    "no-camera": no_camera,
    "token-needed": token_needed,
    "room-full": room_full,
    "server-down": server_down,
    "kicked": kicked,
    "room-closed": room_closed,
}
"""The states of the first screen, by their names."""

DURING: dict[str, Callable[[Studio], Page]] = {
    "alone": alone,
    "two": two,
    "six": six,
    "seventeen": seventeen,
    "thirty": thirty,
    "long-names": long_names,
    "people": people,
    "chat": chat,
    "shared-screen": shared_screen,
    "locked": locked,
    "removing": removing,
    "shortcuts": shortcuts,
    "reconnecting": reconnecting,
    "away": away,
    "offer-refused": offer_refused,
}
"""The states of a call, by their names."""
