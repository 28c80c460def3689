"""Who offers, how often, and what belongs to which offer: the demo's pages, watched on the wire."""

from __future__ import annotations

import json
from collections import Counter
from itertools import combinations
from typing import TYPE_CHECKING, Any

from playwright.sync_api import expect

from tests.web.test_demo import OpenPage, a_room, assert_everybody_sees_everybody, id_of

if TYPE_CHECKING:
    from playwright.sync_api import Page, WebSocket, WebSocketRoute

COUNT_RESTARTS = """
globalThis.restarts = 0;
const restartIce = RTCPeerConnection.prototype.restartIce;
RTCPeerConnection.prototype.restartIce = function () { globalThis.restarts++; return restartIce.call(this); };
"""
CHANGE_ROOM = """
({room, at}) => setTimeout(() => {
  document.getElementById("room-input").value = room;
  document.getElementById("room-form").requestSubmit();
}, at - Date.now())
"""
CONNECTED = "others => [...mcpActors.call.peers.values()].filter(({state}) => state === 'connected').length === others"
LISTEN = """
() => {
  globalThis.heard = new Set();
  for (const type of ["offer", "answer", "ice-candidate"]) {
    mcpActors.signaling.addEventListener(type, ({detail}) => heard.add(`${type} ${detail.negotiation}`));
  }
}
"""
RESTART = "[...mcpActors.call.peers.values()][0].pc.restartIce()"
POLITE = "[...mcpActors.call.peers.values()].map(({polite}) => polite)"
HEARD = "what => heard.has(what)"
TAKE = """
() => {
  const [peer] = mcpActors.call.peers.values();
  const candidate = {candidate: "of an earlier offer", sdpMid: "0"};
  peer.take("offer", {type: "offer", sdp: "of an earlier offer"}, 0.5);
  peer.take("ice-candidate", candidate, 0.5);
  peer.take("ice-candidate", candidate);
}
"""
TOGETHER = 1_000
"""Milliseconds until all pages join: more than it takes to tell them to."""


class Tap:
    """What one page hears on its signaling connection."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []

    def over(self, page: Page) -> None:
        """Listen to a page, from its first connection on."""
        page.on("websocket", self._tap)

    def _tap(self, socket: WebSocket) -> None:
        if "/ws/signaling/" in socket.url:
            socket.on("framereceived", lambda frame: self.heard.append(json.loads(frame)))

    def relayed(self, kind: str) -> list[dict[str, Any]]:
        """What others sent to this page."""
        return [message for message in self.heard if message["type"] == kind and "sender" in message]


def test_four_pages_that_join_at_once_need_one_offer_per_pair(open_page: OpenPage) -> None:
    """None is wasted, each is answered, and nobody restarts ICE."""
    taps = [Tap() for _ in range(4)]
    pages = [open_page(a_room(), init_script=COUNT_RESTARTS, websockets=tap.over) for tap in taps]
    for page in pages:
        expect(page.locator("#status")).to_have_attribute("data-state", "open")
        expect(page.locator("#camera")).to_have_attribute("data-source", "camera")
    together = {"room": a_room().removeprefix("/?room="), "at": pages[0].evaluate("Date.now()") + TOGETHER}
    for page in pages:
        page.evaluate(CHANGE_ROOM, together)
    for page in pages:
        page.wait_for_function(CONNECTED, arg=3)
    assert_everybody_sees_everybody(*pages)

    offers: Counter[frozenset[str]] = Counter()
    answers: Counter[frozenset[str]] = Counter()
    for page, tap in zip(pages, taps, strict=True):
        offers.update(frozenset((message["sender"], id_of(page))) for message in tap.relayed("offer"))
        answers.update(frozenset((message["sender"], id_of(page))) for message in tap.relayed("answer"))
        assert {message["negotiation"] for message in tap.relayed("offer") + tap.relayed("answer")} == {1}
        assert not [message for message in tap.heard if message["type"] == "error"]
        assert page.evaluate("globalThis.restarts") == 0
    assert offers == answers == {frozenset(map(id_of, pair)): 1 for pair in combinations(pages, 2)}


def test_answers_and_candidates_name_the_offer_they_belong_to(open_page: OpenPage) -> None:
    """Each new offer of the pair has a higher number, and so has what belongs to it."""
    room = a_room()
    one, other = open_page(room), open_page(room)
    assert_everybody_sees_everybody(one, other)
    for page in (one, other):
        page.evaluate(LISTEN)
    for number, (offerer, answerer) in enumerate([(one, other), (other, one)], 2):
        offerer.evaluate(RESTART)
        answerer.wait_for_function(HEARD, arg=f"offer {number}")
        for kind in ("answer", "ice-candidate"):
            offerer.wait_for_function(HEARD, arg=f"{kind} {number}")


def test_a_page_does_not_even_look_at_what_belongs_to_an_overtaken_offer(open_page: OpenPage) -> None:
    """Of what would not work, it complains of the one alone that has no number."""
    room = a_room()
    one, other = open_page(room), open_page(room)
    assert_everybody_sees_everybody(one, other)
    warnings: list[str] = []
    one.on("console", lambda message: warnings.append(message.text))
    with one.expect_console_message(lambda message: "not used" in message.text):
        one.evaluate(TAKE)
    assert warnings == [f"ice-candidate of {id_of(other)} not used: OperationError"]


def test_a_peer_of_lower_order_that_comes_later_is_offered_to(open_page: OpenPage) -> None:
    """The one with the higher order offers, whoever was told of whom: after an outage, orders may come so."""

    def turned(value: Any) -> Any:
        if isinstance(value, list):
            return [turned(part) for part in value]
        if isinstance(value, dict):
            return {key: 10 - part if key == "order" else turned(part) for key, part in value.items()}
        return value

    def turn_orders(page: Page) -> None:
        def connect(route: WebSocketRoute) -> None:
            server = route.connect_to_server()
            server.on_message(lambda frame: route.send(json.dumps(turned(json.loads(frame)))))

        page.route_web_socket("**/ws/signaling/", connect)

    room = a_room()
    first, second = (open_page(room, websockets=turn_orders) for _ in range(2))
    assert_everybody_sees_everybody(first, second)
    assert first.evaluate(POLITE) == [True]
    assert second.evaluate(POLITE) == [False]
