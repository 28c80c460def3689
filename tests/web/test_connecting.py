"""How the browser client connects: refusals of the server, and calls that cancel each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.web.conftest import serving
from tests.web.pages import DEADLINE, PLAIN, wait_until
from tests.web.scripted import ScriptedServer, joined, send_on

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

    from tests.web.pages import OpenPage

CREATE = """
async (options) => {
  const {Signaling} = await import("/signaling.js");
  globalThis.signaling = new Signaling(`ws://${location.host}/ws/scripted/`, options);
  Object.assign(globalThis, {log: [], outcome: null});
  for (const type of ["reconnecting", "close"]) {
    signaling.addEventListener(type, ({detail}) => log.push([type, detail.code]));
  }
  globalThis.settled = (joining) => joining.then(
    ({order}) => ({order}),
    ({code, message, details, retryable}) => ({code, message, details, retryable}),
  );
}
"""
JOIN = "(room) => { outcome = null; settled(signaling.join(room ?? 'r', 'me')).then((how) => (outcome = how)); }"
JOIN_AND_WAIT = "async ([url, options]) => settled(new signaling.constructor(url, options).join('r', 'me'))"
CONNECT_AND_ASK = """
async () => {
  const {Connection} = await import("/connection.js");
  const connection = new (class extends Connection {
    restore(ask) {
      return ask("hello");
    }
  })(signaling.url, {connectTimeout: 500});
  settled(connection.connect()).then((how) => (outcome = how));
}
"""
ERROR = {"type": "error", "payload": {"code": "peer-id-taken", "message": "Taken.", "retryable": True}}


@pytest.fixture
def scripted(open_page: OpenPage) -> tuple[Page, ScriptedServer]:
    """A page with a client that has not connected yet."""
    server = ScriptedServer()
    server.greeting = [joined(1, "token 1", resumed=False)]
    page = open_page(PLAIN, websockets=server.over)
    page.evaluate(CREATE, {})
    return page, server


@pytest.fixture
def page(site: str, chromium: Browser) -> Iterator[Page]:
    """A page that may report failed connections."""
    context = chromium.new_context()
    context.set_default_timeout(DEADLINE * 1000)
    page = context.new_page()
    page.goto(f"{site}{PLAIN}")
    page.evaluate(CREATE, {})
    yield page
    context.close()


def outcome(page: Page) -> dict[str, Any]:
    """How join() ended."""
    page.wait_for_function("() => outcome")
    found: dict[str, Any] = page.evaluate("outcome")
    return found


def types(server: ScriptedServer) -> list[str]:
    return [request["type"] for request in server.requests]


def test_a_handshake_that_is_refused_for_ever_is_given_up_with_a_hint(page: Page, site: str) -> None:
    url = site.replace("http", "ws") + "/ws/no-such-path/"
    error = page.evaluate(JOIN_AND_WAIT, [url, {"connectTimeout": 1500}])
    assert error["code"] == "handshake-refused"
    assert error["retryable"] is False
    assert "server's log" in error["message"]
    assert f'curl -i -H "Origin: {site}" {site}/ws/no-such-path/' in error["message"]
    assert error["details"]["code"] == 1006


def test_a_server_that_does_not_answer_is_told_apart(page: Page, tmp_path: Path) -> None:
    with serving(tmp_path) as port:
        page.goto(f"http://127.0.0.1:{port}{PLAIN}")
        page.evaluate(CREATE, {})
    error = page.evaluate(JOIN_AND_WAIT, [f"ws://127.0.0.1:{port}/ws/signaling/", {"connectTimeout": 1500}])
    assert error["code"] == "unreachable"
    assert f"No server answers at http://127.0.0.1:{port}/ws/signaling/" in error["message"]


@pytest.mark.parametrize("code", [4500, 4506, 4510])
def test_a_final_close_before_the_reply_rejects_the_join_with_its_code_and_reason(
    scripted: tuple[Page, ScriptedServer], code: int
) -> None:
    page, server = scripted
    server.greeting = []
    server.close_with = code, "the-reason"
    page.evaluate(JOIN)
    error = outcome(page)
    assert (error["code"], error["details"]) == ("closed", {"code": code, "reason": "the-reason"})
    assert "the-reason" in error["message"]
    assert page.evaluate("[signaling.state, log]") == ["closed", [["close", code]]]
    assert len(server.sockets) == 1


def test_a_client_that_is_closed_with_4004_waits_and_tries_again(scripted: tuple[Page, ScriptedServer]) -> None:
    page, server = scripted
    greeting, server.greeting = server.greeting, []
    server.close_with = 4004, "rate-limited"
    page.evaluate(JOIN)
    page.wait_for_function("() => log.length >= 3")
    assert page.evaluate("outcome") is None
    server.greeting, server.close_with = greeting, None
    assert outcome(page) == {"order": 1}
    assert {code for _, code in page.evaluate("log")} == {4004}


def test_a_client_that_is_limited_for_too_long_says_so(scripted: tuple[Page, ScriptedServer]) -> None:
    page, server = scripted
    server.greeting = []
    server.close_with = 4004, "rate-limited"
    page.clock.install()
    page.evaluate(JOIN)
    page.clock.run_for(1000)
    wait_until(page, lambda: len(server.sockets) >= 2, "another attempt")
    page.clock.fast_forward(60_000)

    def ends_in_a_second() -> bool:
        page.clock.run_for(1000)
        return bool(page.evaluate("outcome !== null"))

    wait_until(page, ends_in_a_second, "the end")
    error = outcome(page)
    assert (error["code"], error["retryable"], error["details"]["code"]) == ("rate-limited", True, 4004)


def test_a_subclass_that_is_limited_while_it_restores_its_state_says_so(
    scripted: tuple[Page, ScriptedServer],
) -> None:
    page, server = scripted
    server.close_with = 4004, "rate-limited"
    page.evaluate(CONNECT_AND_ASK)
    error = outcome(page)
    assert (error["code"], error["retryable"], error["details"]["code"]) == ("rate-limited", True, 4004)


def test_a_client_that_is_closed_in_the_same_turn_does_not_connect(scripted: tuple[Page, ScriptedServer]) -> None:
    page, server = scripted
    page.evaluate(f"() => {{ ({JOIN})(); signaling.close(); }}")
    assert outcome(page)["code"] == "closed"
    assert page.evaluate("[signaling.state, signaling.room]") == ["closed", None]
    page.evaluate(JOIN)
    assert outcome(page) == {"order": 1}
    assert types(server) == ["join"]


def test_the_second_of_two_joins_counts(scripted: tuple[Page, ScriptedServer]) -> None:
    page, server = scripted
    page.evaluate(f"() => {{ globalThis.first = settled(signaling.join('elsewhere', 'me')); ({JOIN})(); }}")
    assert page.evaluate("first.then(({code}) => code)") == "cancelled"
    assert outcome(page) == {"order": 1}
    assert page.evaluate("signaling.room") == "r"
    assert [(request["type"], request["room"]) for request in server.requests] == [("join", "r")]


def test_joins_and_a_close_in_one_turn_leave_nothing_behind(scripted: tuple[Page, ScriptedServer]) -> None:
    page, server = scripted
    page.evaluate(
        """() => {
          globalThis.all = Promise.all([
            settled(signaling.join("a", "me")), settled(signaling.join("b", "me")), settled(signaling.leave()),
            settled(signaling.join("c", "me")),
          ].map((one) => one.catch(() => ({code: "left"}))));
          signaling.close();
        }"""
    )
    codes = page.evaluate("all.then((outcomes) => outcomes.map(({code}) => code))")
    assert codes[0] == codes[1] == "cancelled"
    assert codes[3] == "closed"
    assert page.evaluate("[signaling.state, signaling.room]") == ["closed", None]
    assert server.requests == []


def test_a_join_that_is_left_before_its_reply_is_taken_back(scripted: tuple[Page, ScriptedServer]) -> None:
    page, server = scripted
    server.greeting = []
    page.evaluate(JOIN)
    server.wait_for_requests(page, 1)
    page.evaluate("() => { signaling.leave(); }")
    assert outcome(page)["code"] == "cancelled"
    join, leave = server.wait_for_requests(page, 2)
    assert (leave["type"], leave["room"]) == ("leave", "r")
    server.send(**joined(1, "token", resumed=False) | {"id": join["id"]})
    server.send(id=leave["id"], delivery=2, type="left", payload={"peer_id": "me"})
    assert page.evaluate("signaling.room") is None


def test_a_client_that_is_closed_while_a_token_is_fetched_does_not_connect(
    scripted: tuple[Page, ScriptedServer],
) -> None:
    page, server = scripted
    page.evaluate(
        """async () => {
          const token = () => new Promise((resolve) => (globalThis.give = () => resolve("token")));
          globalThis.signaling = new signaling.constructor(signaling.url, {token});
        }"""
    )
    page.evaluate(JOIN)
    page.evaluate("() => { signaling.close(); give(); }")
    assert outcome(page)["code"] == "closed"
    page.evaluate("() => new Promise((resolve) => setTimeout(resolve))")
    assert server.sockets == []


@pytest.mark.parametrize(("url", "token"), [("ftp://127.0.0.1/", None), (None, "no subprotocol"), (None, "a, b")])
def test_an_address_or_a_token_that_the_browser_refuses_is_reported_at_once(
    page: Page, url: str | None, token: str | None
) -> None:
    page.evaluate(
        """([url, token]) => {
          const options = token === null ? {} : {token: async () => token};
          globalThis.signaling = new signaling.constructor(url ?? signaling.url, options);
        }""",
        [url, token],
    )
    page.evaluate(JOIN)
    error = outcome(page)
    assert error["code"] == "unreachable"
    assert "Failed to construct 'WebSocket'" in error["message"]
    assert page.evaluate("signaling.state") == "closed"


@pytest.mark.parametrize(("fails", "text"), [(True, "no luck"), (False, "has not answered")])
def test_a_token_that_never_comes_is_given_up(scripted: tuple[Page, ScriptedServer], fails: bool, text: str) -> None:
    page, server = scripted
    page.evaluate(
        """async (fails) => {
          const token = () => (fails ? Promise.reject(new Error("no luck")) : new Promise(() => {}));
          globalThis.signaling = new signaling.constructor(signaling.url, {token, connectTimeout: 500});
        }""",
        fails,
    )
    page.evaluate(JOIN)
    error = outcome(page)
    assert error["code"] == "no-token"
    assert text in error["message"]
    assert server.sockets == []


def test_an_id_that_may_be_the_clients_own_is_tried_again(scripted: tuple[Page, ScriptedServer]) -> None:
    """The connection is lost before the reply to the join; the server does not know yet, and refuses the next join."""
    page, server = scripted
    greeting, server.greeting = server.greeting, []
    page.evaluate(JOIN)
    server.wait_for_requests(page, 1)
    server.sockets[0].close(code=4000)
    for count in (2, 3):
        request = server.wait_for_requests(page, count)[-1]
        if count == 3:
            server.send(**greeting[0] | {"id": request["id"]})
        else:
            server.send(**ERROR, id=request["id"])
    assert outcome(page) == {"order": 1}


def test_an_id_that_is_taken_after_a_reconnect_is_tried_again(scripted: tuple[Page, ScriptedServer]) -> None:
    """The session is lost, and the server does not know yet that the connection is."""
    page, server = scripted
    greeting = server.greeting
    page.evaluate(JOIN)
    assert outcome(page) == {"order": 1}
    server.greeting = []
    server.sockets[0].close(code=4000)
    for count in (2, 3):
        server.send(**ERROR, id=server.wait_for_requests(page, count)[-1]["id"])
    server.send(**greeting[0] | {"id": server.wait_for_requests(page, 4)[-1]["id"]})
    page.wait_for_function("() => signaling.state === 'open'")
    assert {request["payload"]["peer_id"] for request in server.requests} == {"me"}
    assert len(server.sockets) == 2


def test_an_id_that_stays_taken_ends_the_connection(scripted: tuple[Page, ScriptedServer]) -> None:
    page, server = scripted
    page.clock.install()
    page.evaluate(JOIN)
    assert outcome(page) == {"order": 1}
    server.greeting = []
    server.sockets[0].close(code=4000)

    refused = server.requests[:1]

    def closed_when_all_are_refused() -> bool:
        for request in server.requests[len(refused) :]:
            refused.append(request)
            server.send(**ERROR, id=request["id"])
        page.clock.run_for(1000)
        return bool(page.evaluate("signaling.state === 'closed'"))

    wait_until(page, closed_when_all_are_refused, "the end")
    assert len(refused) > 5
    assert page.evaluate("log.at(-1)") == ["close", 4500]


def test_an_id_of_somebody_else_is_reported_at_once(scripted: tuple[Page, ScriptedServer]) -> None:
    page, server = scripted
    server.greeting = []
    page.evaluate(JOIN)
    request = server.wait_for_requests(page, 1)[0]
    send_on(server.sockets[0], **ERROR, id=request["id"])
    error = outcome(page)
    assert (error["code"], error["retryable"]) == ("peer-id-taken", True)
    assert page.evaluate("[signaling.state, signaling.room]") == ["open", None]
