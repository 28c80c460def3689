"""Negotiation between demo pages, observed on the wire: who offers, how often, and the numbers of offers."""

from __future__ import annotations

import json
from collections import Counter
from itertools import combinations
from typing import TYPE_CHECKING, Any

from playwright.sync_api import expect

from tests.web.pages import COUNT_RESTARTS, RESTART_ICE, Tap, a_room, assert_everybody_sees_everybody, id_of

if TYPE_CHECKING:
    from playwright.sync_api import Page, WebSocketRoute

    from tests.web.pages import OpenPage

CHANGE_ROOM = """
({room, at}) => setTimeout(() => {
  document.getElementById("room-input").value = room;
  document.getElementById("room-form").requestSubmit();
}, at - Date.now())
"""
CONNECTED = "others => [...mcpActors.call.peers.values()].filter(({state}) => state === 'connected').length === others"
RECORD_NUMBERS = """
() => {
  globalThis.relayed = new Set();
  for (const type of ["offer", "answer", "ice-candidate"]) {
    mcpActors.signaling.addEventListener(type, ({detail}) => relayed.add(`${type} ${detail.negotiation}`));
  }
}
"""
POLITE = "[...mcpActors.call.peers.values()].map(({polite}) => polite)"
RELAYED = "message => relayed.has(message)"
RECEIVE_OUTDATED = """
() => {
  const [peer] = mcpActors.call.peers.values();
  const candidate = {candidate: "of an earlier offer", sdpMid: "0"};
  peer.receive("offer", {type: "offer", sdp: "of an earlier offer"}, 0.5);
  peer.receive("ice-candidate", candidate, 0.5);
  peer.receive("ice-candidate", candidate);
}
"""
# Starts over 20 times, each time as soon as a remote description is being set.
RETRY_OFTEN = """
globalThis.retries = 0;
const setRemoteDescription = RTCPeerConnection.prototype.setRemoteDescription;
RTCPeerConnection.prototype.setRemoteDescription = function (description) {
  const applied = setRemoteDescription.call(this, description);
  if (globalThis.retries < 20) setTimeout(() => globalThis.retries++ < 20 && mcpActors.call.retry());
  return applied;
};
"""
JOIN_DELAY = 1_000
"""Milliseconds until all pages join at once."""


def test_three_pages_that_join_at_once_need_one_offer_per_pair(open_page: OpenPage) -> None:
    """Each offer is answered, and no page restarts ICE."""
    taps = [Tap() for _ in range(3)]
    pages = [open_page(a_room(), init_script=COUNT_RESTARTS, websockets=tap.over) for tap in taps]
    for page in pages:
        expect(page.locator("#status")).to_have_attribute("data-state", "open")
        expect(page.locator("#camera")).to_have_attribute("data-source", "camera")
        page.evaluate("mcpActors.call.retry = () => {}")  # a slow call is not started over
    together = {"room": a_room().removeprefix("/?room="), "at": pages[0].evaluate("Date.now()") + JOIN_DELAY}
    for page in pages:
        page.evaluate(CHANGE_ROOM, together)
    for page in pages:
        page.wait_for_function(CONNECTED, arg=2)
    assert_everybody_sees_everybody(*pages)

    offers: Counter[frozenset[str]] = Counter()
    answers: Counter[frozenset[str]] = Counter()
    for page, tap in zip(pages, taps, strict=True):
        offers.update(frozenset((message["sender"], id_of(page))) for message in tap.relayed("offer"))
        answers.update(frozenset((message["sender"], id_of(page))) for message in tap.relayed("answer"))
        assert {message["negotiation"] for message in tap.relayed("offer") + tap.relayed("answer")} == {1}
        assert not [message for message in tap.messages if message["type"] == "error"]
        assert page.evaluate("globalThis.restarts") == 0
    assert offers == answers == {frozenset(map(id_of, pair)): 1 for pair in combinations(pages, 2)}


def test_pages_connect_even_if_both_start_over_in_the_middle_of_negotiation(open_page: OpenPage) -> None:
    """Operations of a closed RTCPeerConnection never end; the messages behind them must be handled all the same."""
    room = a_room()
    one, other = open_page(room, init_script=RETRY_OFTEN), open_page(room, init_script=RETRY_OFTEN)
    for page in (one, other):
        page.wait_for_function("() => globalThis.retries >= 20")
    assert_everybody_sees_everybody(one, other)


def test_answers_and_candidates_have_the_number_of_their_offer(open_page: OpenPage) -> None:
    """Each new offer of a pair of peers has a higher number."""
    room = a_room()
    one, other = open_page(room), open_page(room)
    assert_everybody_sees_everybody(one, other)
    for page in (one, other):
        page.evaluate(RECORD_NUMBERS)
    for number, (offerer, answerer) in enumerate([(one, other), (other, one)], 2):
        offerer.evaluate(RESTART_ICE)
        answerer.wait_for_function(RELAYED, arg=f"offer {number}")
        for kind in ("answer", "ice-candidate"):
            offerer.wait_for_function(RELAYED, arg=f"{kind} {number}")


def test_a_page_ignores_messages_of_an_outdated_offer(open_page: OpenPage) -> None:
    """All three messages are invalid; the page tries, and warns of, only the one without a number."""
    room = a_room()
    one, other = open_page(room), open_page(room)
    assert_everybody_sees_everybody(one, other)
    warnings: list[str] = []
    one.on("console", lambda message: warnings.append(message.text))
    with one.expect_console_message(lambda message: "not used" in message.text):
        one.evaluate(RECEIVE_OUTDATED)
    assert warnings == [f"ice-candidate of {id_of(other)} not used: OperationError"]


def test_the_peer_with_the_higher_order_offers_even_if_it_joined_first(open_page: OpenPage) -> None:
    """Orders may be reversed after an outage of Redis."""

    def reversed_orders(value: Any) -> Any:
        if isinstance(value, list):
            return [reversed_orders(part) for part in value]
        if isinstance(value, dict):
            return {key: 10 - part if key == "order" else reversed_orders(part) for key, part in value.items()}
        return value

    def reverse_orders(page: Page) -> None:
        def connect(route: WebSocketRoute) -> None:
            server = route.connect_to_server()
            server.on_message(lambda frame: route.send(json.dumps(reversed_orders(json.loads(frame)))))

        page.route_web_socket("**/ws/signaling/", connect)

    room = a_room()
    first, second = (open_page(room, websockets=reverse_orders) for _ in range(2))
    assert_everybody_sees_everybody(first, second)
    assert first.evaluate(POLITE) == [True]
    assert second.evaluate(POLITE) == [False]
