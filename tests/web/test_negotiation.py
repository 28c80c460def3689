"""Negotiation between demo pages, observed on the wire: who offers, how often, and the numbers of offers."""

from __future__ import annotations

import json
from collections import Counter
from itertools import combinations
from typing import TYPE_CHECKING, Any

from playwright.sync_api import expect

from tests.web.pages import COUNT_RESTARTS, PAIRS, RESTART_ICE, Tap, a_room, assert_everybody_sees_everybody, id_of

if TYPE_CHECKING:
    from playwright.sync_api import Page, WebSocketRoute

    from tests.web.pages import OpenPage

JOIN = """
(at) => setTimeout(() => document.getElementById("join-form").requestSubmit(), at - Date.now())
"""
CONNECTED = f"others => {PAIRS}.filter(({{state}}) => state === 'connected').length === others"
RECORD_NUMBERS = """
() => {
  globalThis.relayed = new Set();
  for (const type of ["offer", "answer", "ice-candidate"]) {
    mcpActors.parts().room.addEventListener(type, ({detail}) => relayed.add(`${type} ${detail.negotiation}`));
  }
}
"""
POLITE = f"{PAIRS}.map(({{polite}}) => polite)"
RELAYED = "message => relayed.has(message)"
JOIN_DELAY = 1_000
"""Milliseconds until all pages join at once."""


def test_three_pages_that_join_at_once_need_one_offer_per_pair(open_page: OpenPage) -> None:
    """Each offer is answered, and no page restarts ICE."""
    taps = [Tap() for _ in range(3)]
    room = a_room()
    pages = [open_page(room, init_script=COUNT_RESTARTS, websockets=tap.over, joins=False) for tap in taps]
    for page in pages:
        page.locator("#preview-camera").click()
        expect(page.locator("#camera")).to_have_attribute("data-source", "camera")
    together = pages[0].evaluate("Date.now()") + JOIN_DELAY
    for page in pages:
        page.evaluate(JOIN, together)
    for page in pages:
        page.wait_for_function("() => mcpActors.parts().call")
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

        page.route_web_socket("**/ws/signaling/**", connect)

    room = a_room()
    first, second = (open_page(room, websockets=reverse_orders) for _ in range(2))
    assert_everybody_sees_everybody(first, second)
    assert first.evaluate(POLITE) == [True]
    assert second.evaluate(POLITE) == [False]
