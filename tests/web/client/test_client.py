"""How the client connects and joins: refusals, signals that abort, and closing at any moment."""

from __future__ import annotations

from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from bench.ports import free_ports
from tests.support.js_client import CLIENT
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
  const {Connection} = await import("/client/index.js");
  globalThis.create = (url, options) => {
    globalThis.connection = new Connection(url ?? `ws://${location.host}/ws/scripted/`, options);
    for (const type of ["reconnecting", "close"]) {
      connection.addEventListener(type, ({detail}) => log.push([type, detail.code]));
    }
  };
  globalThis.settled = (joining) => joining.then(
    (room) => ({order: room?.order}),
    ({code, name, message, details, retryable}) => ({code: code || name, message, details, retryable}),
  );
  Object.assign(globalThis, {log: [], outcome: null});
  create(undefined, options);
}
"""
JOIN = """
(options) => {
  outcome = null;
  settled(connection.join("r", {peerId: "me", ...options})).then((how) => (outcome = how));
}
"""
JOIN_AND_WAIT = "async ([url, options]) => { create(url, options); return settled(connection.join('r')); }"
STATE = "[connection.state, [...connection.rooms.keys()]]"
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


def test_a_path_where_there_is_no_server_is_told_apart_at_once(page: Page, site: str) -> None:
    error = page.evaluate(JOIN_AND_WAIT, [f"{site}/ws/no-such-path/", {}])
    assert (error["code"], error["retryable"], error["details"]) == ("handshake-refused", False, {"status": 404})
    assert f"{site}/ws/no-such-path/" in error["message"]


class Quiet(SimpleHTTPRequestHandler):
    """Serves files, and logs nothing."""

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def foreign(page: Page, tmp_path: Path) -> Iterator[Page]:
    """The same on a page of another origin, which has no Content-Security-Policy."""
    (tmp_path / "page.html").write_text("<!doctype html>")
    (tmp_path / "client").symlink_to(CLIENT)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        page.goto(f"http://127.0.0.1:{server.server_port}/page.html")
        page.evaluate(CREATE, {})
        yield page
        page.goto("about:blank")
        server.shutdown()


REFUSALS = {
    "a wrong origin": ({"CORS_ALLOWED_ORIGINS": "https://app.example"}, 4506),
    "too many connections": ({"CORS_ALLOWED_ORIGINS": "*", "MCP_ACTORS_MAX_ADDRESS_CONNECTIONS": "1"}, 4004),
}


@pytest.mark.parametrize(("environ", "code"), REFUSALS.values(), ids=REFUSALS)
@pytest.mark.parametrize("as_close", [False, True], ids=["by status", "by a close frame"])
def test_a_refused_handshake_is_told_apart_from_a_dead_network(
    foreign: Page, tmp_path: Path, environ: dict[str, str], code: int, as_close: bool
) -> None:
    """A page may not see the status of another origin, but that there is one."""
    with serving(tmp_path, environ | {"MCP_ACTORS_REFUSE_WITH_CLOSE": str(as_close)}) as port:
        for _ in range(2 if code == 4004 else 1):
            error = foreign.evaluate(JOIN_AND_WAIT, [f"http://127.0.0.1:{port}", {"connectTimeout": 4000}])
        foreign.goto("about:blank")
    if as_close:
        assert error["code"] == ("closed" if code == 4506 else "rate-limited")
        assert error["details"]["code"] == code
    else:
        assert (error["code"], error["details"]) == ("handshake-refused", {"status": 0})
        assert "Its log says why" in error["message"]


def test_a_server_that_does_not_answer_is_told_apart(foreign: Page) -> None:
    url = f"http://127.0.0.1:{free_ports()}"
    error = foreign.evaluate(JOIN_AND_WAIT, [url, {"connectTimeout": 1000}])
    assert (error["code"], error["retryable"]) == ("unreachable", True)
    assert f"No server answers at {url}" in error["message"]
    assert foreign.evaluate(STATE) == ["closed", []]


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
    assert page.evaluate("[connection.state, log]") == ["closed", [["close", code]]]
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


def test_a_client_that_is_closed_in_the_same_turn_does_not_connect_and_stays_closed(
    scripted: tuple[Page, ScriptedServer],
) -> None:
    page, server = scripted
    page.evaluate(f"() => {{ ({JOIN})(); connection.close(); }}")
    assert outcome(page)["code"] == "closed"
    assert page.evaluate(STATE) == ["closed", []]
    page.evaluate(JOIN)
    assert outcome(page)["code"] == "closed"
    assert page.evaluate("connection.connect().catch(({code}) => code)") == "closed"
    assert server.sockets == []


@pytest.mark.parametrize("moment", ["connecting", "joining", "joined", "reconnecting"])
def test_closing_at_any_moment_settles_everything_and_means_closed(
    scripted: tuple[Page, ScriptedServer], moment: str
) -> None:
    page, server = scripted
    server.answers_pings = moment != "connecting"
    if moment == "joining":
        server.greeting = []
    page.evaluate(JOIN)
    wait_until(page, lambda: bool(server.sockets), "the connection")
    if moment == "joining":
        server.wait_for_requests(page, 1)
    if moment in ("joined", "reconnecting"):
        assert outcome(page) == {"order": 1}
    if moment == "reconnecting":
        server.sockets[-1].close(code=4000)
        page.wait_for_function("() => connection.state === 'reconnecting'")
    page.evaluate(
        """() => {
          globalThis.ended = [];
          globalThis.room = connection.rooms.get("r");
          room?.addEventListener("ended", ({detail}) => ended.push(detail.code));
          globalThis.others = Promise.all([
            settled(connection.join("s")), settled(room ? room.signal("you", 1) : connection.connect()),
          ]);
          connection.close();
          connection.close();
        }"""
    )
    settled = page.evaluate("others.then((all) => all.map((one) => one.code ?? null))")
    in_room = moment in ("joined", "reconnecting")
    assert page.evaluate("ended") == ["closed"] * in_room
    assert settled == ["closed", None if moment == "joining" else "closed"]  # there was a connection
    if not in_room:
        assert outcome(page)["code"] == "closed"
    assert page.evaluate(STATE) == ["closed", []]
    assert page.evaluate("log.filter(([type]) => type === 'close')") == [["close", 1000]]


def test_a_room_that_is_being_joined_is_not_joined_twice(scripted: tuple[Page, ScriptedServer]) -> None:
    page, server = scripted
    page.evaluate(f"() => {{ ({JOIN})(); globalThis.second = settled(connection.join('r', {{peerId: 'other'}})); }}")
    assert page.evaluate("second.then(({code}) => code)") == "already-in-room"
    assert outcome(page) == {"order": 1}
    assert [(request["type"], request["room"]) for request in server.requests] == [("join", "r")]


def test_a_join_with_an_aborted_signal_does_not_even_connect(scripted: tuple[Page, ScriptedServer]) -> None:
    page, server = scripted
    codes = page.evaluate(
        """async () => {
          const options = {signal: AbortSignal.abort()};
          const both = [await settled(connection.join("r", options)), await settled(connection.connect(options))];
          return both.map(({code}) => code);
        }"""
    )
    assert codes == [20, 20]  # of the AbortError
    assert page.evaluate(STATE) == ["closed", []]
    assert server.sockets == []


def test_a_connection_that_nobody_waits_for_any_more_is_given_up(scripted: tuple[Page, ScriptedServer]) -> None:
    page, server = scripted
    server.answers_pings = False
    page.evaluate(
        """() => {
          globalThis.stop = new AbortController();
          globalThis.both = Promise.all([
            settled(connection.join("r", {signal: stop.signal})), settled(connection.connect({signal: stop.signal})),
          ]);
        }"""
    )
    wait_until(page, lambda: bool(server.sockets), "the connection")
    page.evaluate("stop.abort(Object.assign(new Error('enough'), {code: 'mine'}))")
    assert page.evaluate("both.then((all) => all.map(({code}) => code))") == ["mine", "mine"]
    assert page.evaluate(STATE) == ["closed", []]
    server.answers_pings = True
    page.evaluate(JOIN)
    assert outcome(page) == {"order": 1}


def test_a_join_that_is_aborted_before_its_reply_is_taken_back(scripted: tuple[Page, ScriptedServer]) -> None:
    page, server = scripted
    server.greeting = []
    page.evaluate("globalThis.stop = new AbortController()")
    page.evaluate(f"() => ({JOIN})({{signal: stop.signal}})")
    server.wait_for_requests(page, 1)
    page.evaluate("stop.abort()")
    assert outcome(page)["code"] == 20
    join, leave = server.wait_for_requests(page, 2)
    assert (leave["type"], leave["room"]) == ("leave", "r")
    server.send(**joined(1, "token", resumed=False) | {"id": join["id"]})
    server.send(id=leave["id"], delivery=2, type="left", payload={"peer_id": "me"})
    assert page.evaluate(STATE) == ["open", []]
    server.greeting = [joined(3, "token")]
    page.evaluate(JOIN)
    assert outcome(page) == {"order": 1}


def test_a_room_that_is_left_while_the_connection_is_lost_is_left_on_the_next(
    scripted: tuple[Page, ScriptedServer],
) -> None:
    page, server = scripted
    page.evaluate(JOIN)
    assert outcome(page) == {"order": 1}
    server.greeting = [joined(2, "token 2", resumed=True, complete=True)]
    page.evaluate(
        """() => {
          const room = connection.rooms.get("r");
          connection.addEventListener("reconnecting", () => room.leave());
          room.addEventListener("ended", ({detail}) => log.push(["ended", detail.code, connection.state]));
        }"""
    )
    server.sockets[-1].close(code=4000)
    requests = server.wait_for_requests(page, 3)
    assert [request["type"] for request in requests] == ["join", "join", "leave"]
    server.send(id=requests[-1]["id"], delivery=3, type="left", payload={"peer_id": "me"})
    page.wait_for_function("() => connection.state === 'open'")
    assert page.evaluate("[log.at(-1), [...connection.rooms]]") == [["ended", "left", "reconnecting"], []]


def test_of_many_rooms_one_that_cannot_be_joined_again_ends_alone(scripted: tuple[Page, ScriptedServer]) -> None:
    page, server = scripted
    server.greeting = []
    names = ["a", "b", "c"]
    page.evaluate("(names) => { globalThis.rooms = Promise.all(names.map((name) => connection.join(name))); }", names)

    def answer(count: int, token: str, refused: str = "", **fields: Any) -> None:
        requests = server.wait_for_requests(page, count)
        for delivery, request in enumerate(requests[-1:] if count == 4 else requests[-3 + (count > 4) :], 3 * count):
            error = {"code": "room-closed", "message": "Closed.", "retryable": False, "details": {"reason": "over"}}
            answer = {"type": "error", "payload": error} if request["room"] == refused else joined(0, token, **fields)
            server.send(**answer | {"room": request["room"], "id": request["id"], "delivery": delivery})

    answer(3, "token 1")
    page.evaluate(
        """async () => {
          globalThis.heard = [];
          for (const room of await rooms) {
            for (const type of ["ended", "rejoined"]) {
              room.addEventListener(type, ({detail}) => heard.push([room.name, type, detail]));
            }
          }
        }"""
    )
    server.sockets[-1].close(code=4000)
    answer(4, "token 2", resumed=True, complete=True)
    answer(6, "token 2", refused="b", resumed=True, complete=True)
    page.wait_for_function("() => connection.state === 'open'")
    assert page.evaluate("heard") == [["b", "ended", {"code": "room-closed", "message": "Closed.", "reason": "over"}]]
    assert page.evaluate(STATE) == ["open", ["a", "c"]]
    assert [request["payload"].get("resume") for request in server.requests] == [
        *[None] * 3,
        "token 1",
        *["token 2"] * 2,
    ]


def test_a_room_that_the_token_allows_no_more_ends_and_other_errors_are_of_the_connection(
    scripted: tuple[Page, ScriptedServer],
) -> None:
    page, server = scripted
    page.evaluate(JOIN)
    assert outcome(page) == {"order": 1}
    page.evaluate(
        """() => {
          globalThis.heard = [];
          connection.addEventListener("error", ({detail}) => heard.push(detail.code));
          connection.rooms.get("r").addEventListener("ended", ({detail}) => heard.push(detail));
        }"""
    )
    server.send(type="error", payload={"code": "rate-limited", "message": "Slowly.", "retryable": True})
    server.send(type="error", payload={"code": "forbidden", "message": "Not here.", "retryable": False})
    page.wait_for_function("() => heard.length === 2")
    assert page.evaluate("heard") == ["rate-limited", {"code": "forbidden", "message": "Not here."}]
    assert page.evaluate(STATE) == ["open", []]


def test_a_client_that_is_closed_while_a_token_is_fetched_does_not_connect(
    scripted: tuple[Page, ScriptedServer],
) -> None:
    page, server = scripted
    page.evaluate(
        """async () => {
          const token = () => new Promise((resolve) => (globalThis.give = () => resolve("token")));
          create(undefined, {token});
        }"""
    )
    page.evaluate(JOIN)
    page.evaluate("() => { connection.close(); give(); }")
    assert outcome(page)["code"] == "closed"
    page.evaluate("() => new Promise((resolve) => setTimeout(resolve))")
    assert server.sockets == []


@pytest.mark.parametrize(("url", "token"), [(None, "no subprotocol"), (None, "a, b")])
def test_an_address_or_a_token_that_the_browser_refuses_is_reported_at_once(
    page: Page, url: str | None, token: str | None
) -> None:
    page.evaluate(
        """([url, token]) => {
          const options = token === null ? {} : {token: async () => token};
          create(url ?? undefined, options);
        }""",
        [url, token],
    )
    page.evaluate(JOIN)
    error = outcome(page)
    assert error["code"] == "unreachable"
    assert "Failed to construct 'WebSocket'" in error["message"]
    assert page.evaluate("connection.state") == "closed"


@pytest.mark.parametrize(("fails", "text"), [(True, "no luck"), (False, "no answer")])
def test_a_token_that_never_comes_is_given_up(scripted: tuple[Page, ScriptedServer], fails: bool, text: str) -> None:
    page, server = scripted
    page.evaluate(
        """async (fails) => {
          const token = () => (fails ? Promise.reject(new Error("no luck")) : new Promise(() => {}));
          create(undefined, {token, connectTimeout: 500});
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
    page.wait_for_function("() => connection.state === 'open'")
    assert {request["payload"]["peer_id"] for request in server.requests} == {"me"}
    assert len(server.sockets) == 2


def test_an_id_that_stays_taken_ends_the_room(scripted: tuple[Page, ScriptedServer]) -> None:
    page, server = scripted
    page.clock.install()
    page.evaluate(JOIN)
    assert outcome(page) == {"order": 1}
    page.evaluate("connection.rooms.get('r').addEventListener('ended', ({detail}) => log.push(['ended', detail.code]))")
    server.greeting = []
    server.sockets[0].close(code=4000)

    refused = server.requests[:1]

    def ends_when_all_are_refused() -> bool:
        for request in server.requests[len(refused) :]:
            refused.append(request)
            server.send(**ERROR, id=request["id"])
        page.clock.run_for(1000)
        return bool(page.evaluate("connection.rooms.size === 0"))

    wait_until(page, ends_when_all_are_refused, "the end")
    assert len(refused) > 5
    assert page.evaluate("log.at(-1)") == ["ended", "peer-id-taken"]


def test_an_id_of_somebody_else_is_reported_at_once(scripted: tuple[Page, ScriptedServer]) -> None:
    page, server = scripted
    server.greeting = []
    page.evaluate(JOIN)
    request = server.wait_for_requests(page, 1)[0]
    send_on(server.sockets[0], **ERROR, id=request["id"])
    error = outcome(page)
    assert (error["code"], error["retryable"]) == ("peer-id-taken", True)
    assert page.evaluate(STATE) == ["open", []]
