"""What the client says about the fate of a request: delivered, refused, not sent, or unknown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.web.pages import PLAIN, wait_until
from tests.web.scripted import ScriptedServer, joined

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.web.pages import OpenPage

LIMIT = 65_536

JOIN = """
async () => {
  const {Connection} = await import("/client/index.js");
  globalThis.connection = new Connection(`ws://${location.host}/ws/scripted/`);
  globalThis.fates = {};
  globalThis.say = (name, data) => room.signal("you", data ?? name).then(
    ({status}) => (fates[name] = status),
    ({code, details}) => (fates[name] = [code, details?.limit ?? null]),
  );
  globalThis.room = await connection.join("r", {peerId: "me"});
}
"""
ACK = {"type": "ack", "payload": {"status": "delivered"}}


@pytest.fixture
def scripted(open_page: OpenPage, request: pytest.FixtureRequest) -> tuple[Page, ScriptedServer]:
    """A page that has joined at a server that tells its limit, if the test's parameter says so."""
    server = ScriptedServer()
    terms = {"max_message_bytes": LIMIT} if getattr(request, "param", True) else {}
    server.greeting = [joined(1, "token 1", resumed=False, **terms)]
    page = open_page(PLAIN, websockets=server.over)
    page.evaluate(JOIN)
    return page, server


def signals(server: ScriptedServer) -> list[dict[str, Any]]:
    return [request for request in server.requests if request["type"] == "signal"]


def settled(page: Page, count: int) -> dict[str, Any]:
    """The fates, once there are this many."""
    page.wait_for_function(f"() => Object.keys(fates).length >= {count}")
    found: dict[str, Any] = page.evaluate("fates")
    return found


def test_a_message_beyond_the_limit_is_refused_at_once_and_the_next_is_sent(
    scripted: tuple[Page, ScriptedServer],
) -> None:
    page, server = scripted
    page.evaluate(f"() => {{ say('large', 'x'.repeat({LIMIT})); say('wide', 'é'.repeat({LIMIT} / 2)); say('small'); }}")
    wait_until(page, lambda: len(signals(server)) == 1, "the small message")
    server.send(id=signals(server)[0]["id"], delivery=2, **ACK)
    assert settled(page, 3) == {
        "large": ["message-too-big", LIMIT],
        "wide": ["message-too-big", LIMIT],
        "small": "delivered",
    }
    assert len(server.sockets) == 1


@pytest.mark.parametrize("scripted", [False], indirect=True)
def test_the_message_for_which_the_server_closes_with_1009_is_not_sent_again(
    scripted: tuple[Page, ScriptedServer],
) -> None:
    page, server = scripted
    page.evaluate(f"() => {{ say('before'); say('large', 'x'.repeat({5 * LIMIT})); say('after'); }}")
    wait_until(page, lambda: len(signals(server)) == 3, "all messages")
    server.greeting = [joined(2, "token 2", resumed=True, complete=True)]
    server.sockets[0].close(code=1009)
    wait_until(page, lambda: len(signals(server)) == 5, "the others again")
    assert [(message["payload"]["data"], message["again"]) for message in signals(server)[3:]] == [
        ("before", True),
        ("after", True),
    ]
    for delivery, message in enumerate(signals(server)[3:], 3):
        server.send(id=message["id"], delivery=delivery, **ACK)
    assert settled(page, 3) == {"large": ["message-too-big", None], "before": "delivered", "after": "delivered"}
    assert len(server.sockets) == 2


def test_a_message_that_may_have_arrived_is_never_called_not_sent(scripted: tuple[Page, ScriptedServer]) -> None:
    page, server = scripted
    page.evaluate("() => { connection.addEventListener('reconnecting', () => say('held')); say('sent'); }")
    wait_until(page, lambda: len(signals(server)) == 1, "the message")
    server.greeting = [joined(1, "token of another session", resumed=False)]
    server.sockets[0].close(code=4000)
    assert settled(page, 2) == {"sent": ["unknown", None], "held": ["connection-lost", None]}
    assert len(signals(server)) == 1


def test_what_is_sent_while_reconnecting_is_pending_and_sent_when_the_session_is_resumed(
    scripted: tuple[Page, ScriptedServer],
) -> None:
    page, server = scripted
    server.greeting = [joined(2, "token 2", resumed=True, complete=True)]
    page.evaluate("() => { connection.addEventListener('reconnecting', () => say('held')); }")
    server.sockets[0].close(code=4000)
    wait_until(page, lambda: len(signals(server)) == 1, "the message")
    assert page.evaluate("fates") == {}
    assert "again" not in signals(server)[0]
    server.send(id=signals(server)[0]["id"], delivery=3, **ACK)
    assert settled(page, 1) == {"held": "delivered"}
