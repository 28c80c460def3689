"""Pages with a Call of the client package, and what they have noted of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

from tests.web.pages import PLAIN

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

    from tests.web.pages import OpenPage

# Joins a room and calls everybody in it. Notes the events of the call in `told`, its messages in `heard`, and the
# reports to the server in `reports`.
JOIN = """
async ({room, peerId, options, camera, rtcConfiguration, presence}) => {
  const {Connection} = await import("/client/index.js");
  const {Call} = await import("/client/call.js");
  const connection = new Connection(location.origin);
  const joined = await connection.join(room, {peerId, presence});
  const media = camera ? await navigator.mediaDevices.getUserMedia({audio: true, video: true}) : null;
  const tracks = media ? {audio: media.getAudioTracks()[0], video: media.getVideoTracks()[0]} : {};
  const reports = [];
  const report = joined.report.bind(joined);
  joined.report = (what) => (reports.push(what), report(what));
  const call = new Call(joined, {...tracks, rtcConfiguration, ...options});
  const told = [], heard = [];
  const tell = (type, {peerId, state, reason}, more = {}) => told.push({type, peerId, state, reason, ...more});
  for (const type of ["pair-added", "pair-changed", "pair-removed"]) {
    call.addEventListener(type, ({detail}) => tell(type, detail));
  }
  for (const type of ["pair-failed", "pair-healed"]) {
    call.addEventListener(type, ({detail: {pair, ...more}}) => tell(type, pair, more));
  }
  call.addEventListener("message", ({detail: {pair, label, data}}) => heard.push([pair.peerId, label, data]));
  Object.assign(globalThis, {connection, room: joined, call, told, heard, reports});
}
"""
PAIR = "[...call.pairs.values()][0]"
STATE_IS = f"state => {PAIR}?.state === state"
TOLD = "type => told.filter((event) => event.type === type)"
RESTART_COUNT = "globalThis.restarts"


def open_call(open_page: OpenPage, room: str, peer_id: str, **more: Any) -> Page:
    """Open a page that has joined a room and calls everybody in it.

    `more`: `options` of the Call, `rtcConfiguration`, or whether it has a `camera`; and for the page the `site`, or
    `init_script`, `websockets` and `browser`.
    """
    opening = {name: more.pop(name) for name in ("init_script", "websockets", "browser") if name in more}
    page = open_page(more.pop("site", "") + PLAIN, **opening)
    page.evaluate(JOIN, {"room": room, "peerId": peer_id, "presence": True, **more})
    return page


def open_pair(open_page: OpenPage, hook: Callable[[Page], None] | None = None, **more: Any) -> tuple[Page, Page]:
    """Two pages in a call; the second is the polite one."""
    room = a_room()
    first = open_call(open_page, room, "ada", websockets=hook, **more)
    return first, open_call(open_page, room, "grace", websockets=hook, **more)


def a_room() -> str:
    """A room that no other test uses."""
    return f"call-{uuid4().hex}"


def wait_for_state(state: str, *pages: Page) -> None:
    """Wait until the first pair of each page has this state."""
    for page in pages:
        page.wait_for_function(STATE_IS, arg=state)


def told(page: Page, kind: str) -> list[dict[str, Any]]:
    """The events of a kind that the page has noted."""
    events: list[dict[str, Any]] = page.evaluate(TOLD, kind)
    return events


def say(page: Page, text: str) -> int:
    """Send a text over the channel "chat"; the number of pairs that took it."""
    taken: int = page.evaluate("text => call.send('chat', text)", text)
    return taken


def wait_to_hear(page: Page, text: str) -> None:
    """Wait until the page has received this text."""
    page.wait_for_function("text => heard.some(([, , data]) => data === text)", arg=text)
