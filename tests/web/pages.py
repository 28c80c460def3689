"""Helpers for the demo page in a browser: what it shows and receives, and scripts to run on it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from itertools import permutations
from typing import Any
from uuid import uuid4

from playwright.sync_api import Page, WebSocket, WebSocketRoute, expect

DEADLINE = 60.0
"""Seconds that a test waits for anything: enough for a busy machine."""

DEVICES = ["camera", "microphone"]
"""The permissions of a page that may use the fake camera: Chromium without windows asks nobody."""

PLAIN = "/favicon.svg"
"""The path of a page without scripts, for tests that bring a client of their own."""

OpenPage = Callable[..., Page]

# Resolves to the number of decoded video frames of this peer, once it is higher than the given one.
DECODED = """
async ({peerId, over, deadline}) => {
  const end = performance.now() + deadline;
  let frames = -1;
  while (performance.now() < end) {
    const pair = globalThis.mcpActors?.parts().call?.pairs.get(peerId);
    for (const entry of (await pair?.pc.getStats())?.values() ?? []) {
      if (entry.type === "inbound-rtp" && entry.kind === "video") frames = entry.framesDecoded;
    }
    if (frames > over) return frames;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`${peerId}: ${frames} frames decoded`);
}
"""
COUNT_RESTARTS = """
globalThis.restarts = 0;
const restartIce = RTCPeerConnection.prototype.restartIce;
RTCPeerConnection.prototype.restartIce = function () { globalThis.restarts++; return restartIce.call(this); };
"""
# Records from now on: changes of membership (`happened`), received signals and chat messages (`received`), changes of
# the connections (`transitions`), and the last pause before reconnecting (`pause`).
RECORD = """
async () => {
  while (!mcpActors.parts().userRoom) await new Promise((resolve) => setTimeout(resolve, 20));
  Object.assign(globalThis, {happened: [], received: [], transitions: [], pause: null});
  const {connection, users, room, userRoom, call} = mcpActors.parts();
  for (const type of ["rejoined", "peer-joined", "peer-left", "ended"]) {
    room.addEventListener(type, () => happened.push(type));
  }
  for (const type of ["rejoined", "user-joined", "user-left", "ended"]) {
    userRoom.addEventListener(type, () => happened.push(`chat ${type}`));
  }
  for (const one of [connection, users]) {
    for (const type of ["reconnecting", "open", "close"]) {
      one.addEventListener(type, () => transitions.push(type));
    }
  }
  connection.addEventListener("reconnecting", ({detail}) => (globalThis.pause = detail));
  room.addEventListener("signal", ({detail: {data}}) => data?.callHeal ?? received.push(data));
  userRoom.addEventListener("message", ({detail: {content}}) => received.push(content));
  globalThis.descriptions = () => [...call.pairs.values()].map(({pc}) => pc.localDescription.sdp).join();
  globalThis.connectionsBefore = [...call.pairs.values()].map(({pc}) => pc);
  globalThis.descriptionsBefore = descriptions();
}
"""
CALL_IS_UNCHANGED = """
() => descriptions() === descriptionsBefore && restarts === 0
  && [...mcpActors.parts().call.pairs.values()].every(({pc}, index) => pc === connectionsBefore[index])
"""
SIGNAL = "([id, data]) => mcpActors.parts().room.signal(id, data)"
SIGNAL_LATER = "([id, data]) => { globalThis.later = mcpActors.parts().room.signal(id, data); }"
SAY = "content => mcpActors.parts().userRoom.send(content)"
STATES = "[mcpActors.parts().connection?.state, mcpActors.parts().users?.state].join()"
PAIRS = "[...mcpActors.parts().call.pairs.values()]"
PEERS_PRESENT = f"others => {PAIRS}.filter(({{away}}) => !away).length === others"
RESTART_ICE = f"{PAIRS}[0].pc.restartIce()"


def a_room() -> str:
    """The path of a room that no other test uses."""
    return f"/?room=test-{uuid4().hex}"


def join(page: Page) -> None:
    """Join from the first screen of the demo page, with camera and microphone if there are any."""
    page.locator("#preview-camera").click()
    page.locator("#preview-microphone").click()
    page.locator("#join-button").click()


def rename(page: Page, name: str) -> None:
    """Enter another name during the call."""
    page.locator("#show-people").click()
    page.locator("#new-name").fill(name)
    page.locator("#new-name").press("Enter")
    page.locator("#show-chat").click()


def id_of(page: Page) -> str:
    """The peer id of this page."""
    peer_id = page.locator(".tile.self").get_attribute("data-peer-id")
    assert peer_id is not None
    return peer_id


def frames_decoded(page: Page, peer_id: str, over: int = 0) -> int:
    """Wait until the page has decoded more than `over` video frames of a peer; return the number."""
    frames: int = page.evaluate(DECODED, {"peerId": peer_id, "over": over, "deadline": DEADLINE * 1000})
    return frames


def assert_media_flows(*pages: Page) -> None:
    """Each page continues to decode the video of each other page."""
    so_far = [(page, id_of(other), frames_decoded(page, id_of(other))) for page, other in permutations(pages, 2)]
    for page, peer_id, frames in so_far:
        assert frames_decoded(page, peer_id, over=frames + 5) > frames


def assert_everybody_sees_everybody(*pages: Page) -> None:
    """Each page shows and decodes the video of each other page."""
    for page, other in permutations(pages, 2):
        peer_id = id_of(other)
        expect(page.locator(f".tile[data-peer-id='{peer_id}'] video")).to_be_visible()
        assert frames_decoded(page, peer_id) > 0


def assert_only_sees(page: Page, *others: Page) -> None:
    """The page has its own tile and those of the others, and no more."""
    expect(page.locator(".tile")).to_have_count(1 + len(others))
    for other in others:
        expect(page.locator(f".tile[data-peer-id='{id_of(other)}']")).to_have_count(1)


def wait_until(page: Page, condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition outside of the page."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        page.wait_for_timeout(10)


def collect_sockets(into: list[WebSocketRoute], pattern: str) -> Callable[[Page], None]:
    """A hook for `open_page` that collects the WebSockets of the page and connects them to the server."""

    def connect(route: WebSocketRoute) -> None:
        route.connect_to_server()
        into.append(route)

    return lambda page: page.route_web_socket(pattern, connect)


class Tap:
    """Records the messages that a page receives on its signaling connection."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    def over(self, page: Page) -> None:
        """Listen to a page from its first connection on."""
        page.on("websocket", self._tap)

    def _tap(self, socket: WebSocket) -> None:
        if "/ws/signaling/" in socket.url:
            socket.on("framereceived", lambda frame: self.messages.append(json.loads(frame)))

    def relayed(self, kind: str) -> list[dict[str, Any]]:
        """Messages of this type from other peers."""
        return [message for message in self.messages if message["type"] == kind and "sender" in message]
