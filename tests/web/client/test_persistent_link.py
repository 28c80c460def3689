"""The client resumes, moves and renews its token, message by message, against a scripted server."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.web.pages import PLAIN, wait_until
from tests.web.scripted import ScriptedServer, ask_to_reconnect, joined, send_on, signalled

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.web.pages import OpenPage

NEVER = 600_000
"""A delay in milliseconds that no test reaches."""

ACK = {"type": "ack", "payload": {"status": "delivered"}}

JOIN = """
async () => {
  const {Connection} = await import("/client/index.js");
  globalThis.log = [];
  const hear = (target, ...types) => {
    for (const type of types) {
      target.addEventListener(type, ({detail}) => log.push([type, detail?.data ?? detail?.code ?? null]));
    }
  };
  globalThis.connection = new Connection(`ws://${location.host}/ws/scripted/`);
  hear(connection, "open", "close");
  globalThis.room = await connection.join("r", {peerId: "me"});
  hear(room, "rejoined", "peer-joined", "signal");
}
"""
SEND_THREE = """
() => {
  for (const data of ["one", "two", "three"]) {
    room.signal("you", data).then(({status}) => log.push([data, status]), ({code}) => log.push([data, code]));
  }
}
"""
SEND_FOUR = "() => { room.signal('you', 'four').then(({status}) => log.push(['four', status])); }"
JOIN_ANOTHER_ROOM = """
() => { globalThis.elsewhere = connection.join("elsewhere", {peerId: "me"}).then(({order}) => order); }
"""
JOIN_WITH_TOKENS = """
async () => {
  const {Connection} = await import("/client/index.js");
  Object.assign(globalThis, {fetched: 0, failing: false, stalling: false, offered: [], log: []});
  globalThis.WebSocket = class extends WebSocket {
    constructor(url, protocols) {
      super(url, protocols);
      if (url.includes("/scripted/")) offered.push(protocols);
    }
  };
  const token = async () => {
    fetched++;
    if (failing) throw new Error("no token");
    if (stalling) await new Promise((resolve) => (globalThis.give = resolve));
    return `number-${fetched}`;
  };
  globalThis.connection = new Connection(`ws://${location.host}/ws/scripted/`, {token});
  for (const type of ["reconnecting", "close"]) connection.addEventListener(type, () => log.push(type));
  globalThis.room = await connection.join("r", {peerId: "me"});
  room.addEventListener("signal", ({detail}) => log.push(detail.data));
}
"""


def subprotocols(number: int) -> list[str]:
    """The subprotocols that carry the token fetched as the n-th."""
    return ["mcp-actors", f"mcp-actors.token.number-{number}"]


def entries(*log: list[Any]) -> list[str]:
    """Log entries in a fixed order: promises and events may be handled in any."""
    return sorted(map(str, log))


@pytest.fixture
def scripted(open_page: OpenPage) -> tuple[Page, ScriptedServer]:
    """A page that has joined, and has sent three signals, of which only the first was answered."""
    server = ScriptedServer()
    server.greeting = [joined(1, "token 1", resumed=False)]
    page = open_page(PLAIN, websockets=server.over)
    page.evaluate(JOIN)
    for number in (2, 3, 3, 2, 1, 4):
        server.send(**signalled(number))
    page.wait_for_function("() => log.length >= 4")
    page.evaluate(SEND_THREE)
    requests = server.wait_for_requests(page, 4)[1:]
    assert [message["payload"]["data"] for message in requests] == ["one", "two", "three"]
    assert not any("again" in message for message in requests)
    server.send(delivery=5, id=requests[0]["id"], **ACK)
    page.wait_for_function("() => log.length >= 5")
    assert page.evaluate("log") == [["open", None], *(["signal", n] for n in (2, 3, 4)), ["one", "delivered"]]
    page.evaluate("log.length = 0")
    return page, server


@pytest.fixture
def tokens(open_page: OpenPage) -> tuple[Page, ScriptedServer]:
    """A page that has joined and fetches numbered access tokens."""
    server = ScriptedServer()
    server.greeting = [joined(1, "resume 1", resumed=False)]
    page = open_page(PLAIN, websockets=server.over)
    page.evaluate(JOIN_WITH_TOKENS)
    return page, server


def test_each_message_is_handled_once_and_unanswered_requests_are_sent_again(
    scripted: tuple[Page, ScriptedServer],
) -> None:
    page, server = scripted
    ids = {message["payload"].get("data"): message["id"] for message in server.requests}
    server.greeting = [
        signalled(5),
        signalled(6),
        {"delivery": 7, "id": ids["two"], **ACK},
        joined(8, "token 2", resumed=True, complete=True),
    ]
    so_far = len(server.requests)
    server.sockets[-1].close(code=4000)
    page.wait_for_function("() => log.length >= 3")
    join, again = server.wait_for_requests(page, so_far + 2)[so_far:]
    assert join["payload"] == {"peer_id": "me", "resume": "token 1", "received": 5, "at": {}}
    assert (again["id"], again["payload"]["data"], again["again"]) == (ids["three"], "three", True)
    server.send(delivery=9, id=ids["three"], **ACK)
    page.wait_for_function("() => log.length >= 4")
    assert entries(*page.evaluate("log")) == entries(
        ["signal", 6], ["two", "delivered"], ["open", None], ["three", "delivered"]
    )


def test_requests_of_moderators_are_sent_again(scripted: tuple[Page, ScriptedServer]) -> None:
    page, server = scripted
    page.evaluate("() => { room.kick('you'); }")

    def kicks() -> list[dict[str, Any]]:
        return [message for message in server.requests if message["type"] == "kick"]

    wait_until(page, lambda: len(kicks()) == 1, "the request")
    server.greeting = [joined(6, "token 2", resumed=True, complete=True)]
    server.sockets[-1].close(code=4000)
    wait_until(page, lambda: len(kicks()) == 2, "the repeated request")
    first, second = kicks()
    assert second == {**first, "again": True}


@pytest.mark.parametrize(
    ("call", "request_type", "payload", "reply", "result"),
    [
        ("update({name: 'Ada'})", "update", {"metadata": {"name": "Ada"}}, {"metadata": {"name": "Ada"}}, None),
        ("kick('you')", "kick", {"peer_id": "you"}, {"peer_id": "you"}, None),
        ("kick({userId: 'u'})", "kick", {"user_id": "u"}, {"user_id": "u"}, None),
        (
            "kick('you', {banSeconds: 60, reason: 'spam', message: 'Bye.'})",
            "kick",
            {"peer_id": "you", "ban_seconds": 60, "reason": "spam", "message": "Bye."},
            {},
            None,
        ),
        ("close({message: 'Time is up.'})", "close-room", {"message": "Time is up."}, {}, None),
        ("lock()", "lock", {}, {}, None),
        ("unlock()", "unlock", {}, {}, None),
        (
            "bans()",
            "list-bans",
            {},
            {"bans": [{"peer_id": "you", "expires_in": 60, "by": "mo", "address": False}]},
            [{"peerId": "you", "expiresIn": 60, "by": "mo", "address": False}],
        ),
        ("unban('you')", "unban", {"peer_id": "you"}, {}, None),
        (
            "report({pair: 'failed', reason: 'no-turn', milliseconds: 7})",
            "report",
            {"pair": "failed", "reason": "no-turn", "milliseconds": 7},
            {},
            None,
        ),
    ],
)
def test_a_method_sends_its_request_and_returns_the_reply(
    scripted: tuple[Page, ScriptedServer],
    call: str,
    request_type: str,
    payload: dict[str, Any],
    reply: dict[str, Any],
    result: Any,
) -> None:
    page, server = scripted
    so_far = len(server.requests)
    page.evaluate(f"() => {{ globalThis.result = room.{call}; }}")
    request = server.wait_for_requests(page, so_far + 1)[-1]
    assert (request["type"], request["room"], request["payload"]) == (request_type, "r", payload)
    server.send(type="reply", id=request["id"], delivery=6, payload=reply)
    assert page.evaluate("result") == result


def test_changed_metadata_is_reported_and_kept_for_the_next_join(scripted: tuple[Page, ScriptedServer]) -> None:
    page, server = scripted
    page.evaluate("room.addEventListener('peer-updated', ({detail}) => log.push({...detail}))")
    server.send(delivery=6, type="peer-joined", payload={"peer_id": "you", "order": 2})
    server.send(delivery=7, type="peer-updated", payload={"peer_id": "you", "metadata": {"hand": True}})
    page.wait_for_function("() => log.length === 2")
    updated = {"peerId": "you", "order": 2, "metadata": {"hand": True}, "presence": "here", "verified": False}
    assert page.evaluate("log[1]") == updated
    assert page.evaluate("[...room.peers.values()]") == [updated]
    page.evaluate("() => { globalThis.result = room.update({name: 'Ada'}); }")
    wait_until(page, lambda: server.requests[-1]["type"] == "update", "the request")
    server.send(type="updated", id=server.requests[-1]["id"], delivery=8, payload={})
    page.evaluate("result")
    assert page.evaluate("room.metadata") == {"name": "Ada"}
    server.sockets[-1].close(code=4000)
    wait_until(page, lambda: server.requests[-1]["type"] == "join", "the next join")
    assert server.requests[-1]["payload"]["metadata"] == {"name": "Ada"}


@pytest.mark.parametrize(
    ("event", "payload"),
    [
        ("kicked", {"peer_id": "me", "reason": "spam", "message": "Bye."}),
        ("room-closed", {"reason": "over", "message": "Time is up."}),
    ],
)
def test_a_removed_client_is_told_the_reason(
    scripted: tuple[Page, ScriptedServer], event: str, payload: dict[str, Any]
) -> None:
    page, server = scripted
    page.evaluate("room.addEventListener('ended', ({detail}) => log.push(detail))")
    server.send(delivery=6, type=event, payload=payload)
    page.wait_for_function("() => log.length")
    assert page.evaluate("log") == [{"code": event, "reason": payload["reason"], "message": payload["message"]}]
    assert page.evaluate("[room.joined, connection.rooms.size]") == [False, 0]
    assert page.evaluate("room.signal('you', 1).catch(({code}) => code)") == "left"


@pytest.mark.parametrize(
    "greeting",
    [joined(1, "token 2", resumed=False), joined(9, "token 2", resumed=True, complete=False)],
    ids=["another-session", "incomplete"],
)
def test_after_missed_messages_the_roster_is_reported_and_nothing_is_sent_again(
    scripted: tuple[Page, ScriptedServer], greeting: dict[str, Any]
) -> None:
    page, server = scripted
    server.greeting = [greeting]
    so_far = len(server.requests)
    server.sockets[-1].close(code=4000)
    page.wait_for_function("() => log.length >= 4")
    server.send(**signalled(greeting["delivery"] + 1))
    page.wait_for_function("() => log.length >= 5")
    assert [message["type"] for message in server.requests[so_far:]] == ["join"]
    log = page.evaluate("log")
    assert [entry for entry in log if entry[0] in ("open", "rejoined")] == [["rejoined", None], ["open", None]]
    assert [entry for entry in log if entry[0] in ("two", "three")] == [[data, "unknown"] for data in ("two", "three")]
    assert log[-1] == ["signal", greeting["delivery"] + 1]


@pytest.mark.parametrize("token", ["token 2", None], ids=["with-sessions", "without-sessions"])
def test_what_is_sent_on_hearing_rejoined_is_sent_when_all_rooms_are_joined(
    scripted: tuple[Page, ScriptedServer], token: str | None
) -> None:
    page, server = scripted
    page.evaluate("room.addEventListener('rejoined', () => room.signal('you', 'again').catch(log.push))")
    fields = {} if token is None else {"resume": token}
    welcome = joined(1, "")
    welcome["payload"] = {**{name: value for name, value in welcome["payload"].items() if name != "resume"}, **fields}
    server.greeting = [welcome]
    so_far = len(server.requests)
    server.sockets[-1].close(code=4000)
    sent = server.wait_for_requests(page, so_far + 2)[so_far:]
    assert [(message["type"], message["payload"].get("data")) for message in sent] == [
        ("join", None),
        ("signal", "again"),
    ]


def test_a_replaced_client_does_not_reconnect(scripted: tuple[Page, ScriptedServer]) -> None:
    page, server = scripted
    server.sockets[-1].close(code=4501)
    page.wait_for_function("() => log.length >= 3")
    assert page.evaluate("log") == [["close", 4501], ["two", "closed"], ["three", "closed"]]
    assert page.evaluate("[connection.state, room.joined]") == ["closed", False]
    assert len(server.sockets) == 1


def test_a_duplicate_is_dropped_if_its_sender_sent_it_again(scripted: tuple[Page, ScriptedServer]) -> None:
    page, server = scripted
    for delivery, (number, sender, again) in enumerate(
        [(1, "you", False), (1, "you", True), (1, "they", True), (2, "you", True), (2, "you", True), (2, "you", False)],
        6,
    ):
        server.send(**signalled(delivery) | {"sender": sender}, id=number, **({"again": True} if again else {}))
    page.wait_for_function("() => log.length >= 4")
    assert page.evaluate("log") == [["signal", number] for number in (6, 8, 9, 11)]


def test_a_sender_is_verified_if_the_server_says_so_and_not_by_its_own_word(
    scripted: tuple[Page, ScriptedServer],
) -> None:
    page, server = scripted
    page.evaluate(
        "() => { globalThis.details = []; room.addEventListener('signal', ({detail}) => details.push(detail)); }"
    )
    server.send(**signalled(6), verified=True)
    server.send(**signalled(7) | {"payload": {"data": 7, "verified": True, "sender": "they"}})
    page.wait_for_function("() => details.length >= 2")
    told = [(one["sender"], one.get("verified")) for one in page.evaluate("details")]
    assert told == [("you", True), ("you", False)]


def test_the_stream_positions_are_sent_when_a_session_is_resumed(scripted: tuple[Page, ScriptedServer]) -> None:
    page, server = scripted
    server.send(**signalled(6), at="position 1")
    server.send(**signalled(7), at="position 2")
    server.send(**signalled(8) | {"room": "another"}, at="position 3")
    page.wait_for_function("() => log.length >= 2")
    so_far = len(server.requests)
    server.sockets[0].close(code=4000)
    assert server.wait_for_requests(page, so_far + 1)[so_far]["payload"] == {
        "peer_id": "me",
        "resume": "token 1",
        "received": 8,
        "at": {"r": "position 2", "another": "position 3"},
    }


@pytest.mark.parametrize("closed", ["before", "after"])
def test_the_old_connection_is_used_until_the_new_one_takes_over(
    scripted: tuple[Page, ScriptedServer], closed: str
) -> None:
    """The server closes the old connection before or after the client has received the reply on the new one."""
    page, server = scripted
    ids = {message["payload"].get("data"): message["id"] for message in server.requests}
    server.greeting = []
    so_far = len(server.requests)
    began = time.monotonic()
    ask_to_reconnect(server.sockets[0], 300)
    join = server.wait_for_requests(page, so_far + 1)[so_far]
    assert time.monotonic() - began >= 0.3
    assert join["payload"] == {"peer_id": "me", "resume": "token 1", "received": 5, "at": {}}

    old, new = server.sockets
    send_on(old, **signalled(6))
    page.wait_for_function("() => log.length >= 1")
    page.evaluate(SEND_FOUR)
    four = server.wait_for_requests(page, so_far + 2)[-1]
    assert four["payload"]["data"] == "four"
    assert "again" not in four
    if closed == "before":
        old.close(code=4501)
    for message in (
        signalled(6),
        signalled(7),
        {"delivery": 8, "id": ids["two"], **ACK},
        {"id": join["id"], **joined(9, "token 2", resumed=True, complete=True)},
    ):
        send_on(new, **message)
    again = server.wait_for_requests(page, so_far + 4)[so_far + 2 :]
    assert [(message["id"], message["payload"]["data"], message["again"]) for message in again] == [
        (ids["three"], "three", True),
        (four["id"], "four", True),
    ]
    if closed == "after":
        old.close(code=4501)
    for delivery, message in enumerate(again, 10):
        send_on(new, delivery=delivery, id=message["id"], **ACK)
    send_on(new, **signalled(12))
    page.wait_for_function("() => log.some(([, data]) => data === 12)")
    assert entries(*page.evaluate("log")) == entries(
        *(["signal", number] for number in (6, 7, 12)), *([data, "delivered"] for data in ("two", "three", "four"))
    )
    assert page.evaluate("connection.state") == "open"


def test_the_old_connection_is_kept_while_a_new_one_fails(scripted: tuple[Page, ScriptedServer]) -> None:
    page, server = scripted
    server.greeting = []
    so_far = len(server.requests)
    ask_to_reconnect(server.sockets[0], 0)
    server.wait_for_requests(page, so_far + 1)
    server.sockets[1].close(code=4000)
    send_on(server.sockets[0], **signalled(6))
    page.wait_for_function("() => log.length >= 1")
    retried = server.wait_for_requests(page, so_far + 2)[-1]
    assert retried["payload"] == {"peer_id": "me", "resume": "token 1", "received": 6, "at": {}}
    assert page.evaluate("[connection.state, ...log]") == ["open", ["signal", 6]]
    assert len(server.sockets) == 3


def test_if_the_old_connection_is_lost_first_the_client_reconnects_at_once(
    scripted: tuple[Page, ScriptedServer],
) -> None:
    page, server = scripted
    server.greeting = [joined(6, "token 2", resumed=True, complete=True)]
    ask_to_reconnect(server.sockets[0], NEVER)
    server.sockets[0].close(code=4000)
    page.wait_for_function("() => log.length >= 1")
    assert page.evaluate("log") == [["open", None]]
    ask_to_reconnect(server.sockets[1], 0)
    server.greeting = [joined(7, "token 3", resumed=True, complete=True)]
    wait_until(page, lambda: len(server.sockets) == 3, "the third connection")


def answer_the_join_of_another_room(page: Page, server: ScriptedServer, delivery: int) -> None:
    wait_until(page, lambda: server.requests[-1]["room"] == "elsewhere", "the join")
    send_on(server.sockets[-1], **joined(delivery, "token"), room="elsewhere", id=server.requests[-1]["id"])


def test_another_room_is_joined_on_a_new_connection_when_the_process_is_stopping(
    scripted: tuple[Page, ScriptedServer],
) -> None:
    """The stopping process would refuse the join."""
    page, server = scripted
    ask_to_reconnect(server.sockets[0], NEVER)
    server.greeting = [joined(6, "token 2", resumed=True, complete=True)]
    page.evaluate(JOIN_ANOTHER_ROOM)
    answer_the_join_of_another_room(page, server, 7)
    assert page.evaluate("elsewhere") == 1
    assert len(server.sockets) == 2
    resumed, other = [request for request in server.requests if request["type"] == "join"][1:]
    assert (resumed["room"], resumed["payload"]["resume"]) == ("r", "token 1")
    assert (other["room"], other["payload"]) == ("elsewhere", {"peer_id": "me"})


def test_the_old_connection_is_used_until_a_token_for_the_new_one_is_fetched(
    tokens: tuple[Page, ScriptedServer],
) -> None:
    page, server = tokens
    page.evaluate("failing = true")
    ask_to_reconnect(server.sockets[0], 0)
    page.wait_for_function("() => fetched >= 3")
    server.send(**signalled(2))
    page.wait_for_function("() => log.length")
    assert len(server.sockets) == 1
    server.greeting = [joined(3, "resume 2", resumed=True, complete=True)]
    page.evaluate("failing = false")
    wait_until(page, lambda: len(server.sockets) == 2, "the next connection")
    wait_until(page, lambda: server.requests[-1]["payload"].get("resume") == "resume 1", "the resumed session")
    server.send(**signalled(4))
    page.wait_for_function("() => log.length >= 2")
    assert page.evaluate("log") == [2, 4]
    assert page.evaluate("offered") == [subprotocols(1), subprotocols(page.evaluate("fetched"))]


def test_another_room_is_joined_once_the_token_for_the_new_connection_has_come(
    tokens: tuple[Page, ScriptedServer],
) -> None:
    page, server = tokens
    page.evaluate("stalling = true")
    ask_to_reconnect(server.sockets[0], 0)
    page.wait_for_function("() => fetched >= 2")
    server.greeting = [joined(2, "resume 2", resumed=True, complete=True)]
    page.evaluate(JOIN_ANOTHER_ROOM)
    page.evaluate("() => { stalling = false; give(); }")
    answer_the_join_of_another_room(page, server, 3)
    assert page.evaluate("elsewhere") == 1
    assert len(server.sockets) == 2
    assert page.evaluate("offered.at(-1)") == subprotocols(page.evaluate("fetched"))
