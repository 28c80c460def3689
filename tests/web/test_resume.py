"""The demo page's connections break, and the call goes on: a path is cut, a server is killed, and frame by frame."""

from __future__ import annotations

import json
import signal
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from tests.support.server import Process
from tests.web.test_demo import OpenPage, a_room, assert_everybody_sees_everybody, frames_decoded, id_of
from tests.web.test_negotiation import COUNT_RESTARTS, RESTART, Tap

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Page, WebSocketRoute

    from tests.web.conftest import Watch

# What happened on a page from now on, and the connections it has.
LISTEN = """
() => {
  globalThis.happened = [];
  globalThis.told = [];
  const {signaling, chat, call} = mcpActors;
  for (const type of ["rejoined", "peer-joined", "peer-left", "close"]) {
    signaling.addEventListener(type, () => happened.push(type));
  }
  for (const type of ["rejoined", "user-joined", "user-left", "close"]) {
    chat.addEventListener(type, () => happened.push(`chat ${type}`));
  }
  signaling.addEventListener("signal", ({detail: {data}}) => data?.profile ?? told.push(data));
  chat.addEventListener("message", ({detail: {content}}) => told.push(content));
  globalThis.described = () => [...call.peers.values()].map(({pc}) => pc.localDescription.sdp).join();
  globalThis.before = [...call.peers.values()].map(({pc}) => pc);
  globalThis.beforeDescribed = described();
}
"""
CALL_IS_AS_IT_WAS = """
() => described() === beforeDescribed && restarts === 0
  && [...mcpActors.call.peers.values()].every(({pc}, index) => pc === before[index])
"""
SIGNAL = "([id, data]) => mcpActors.signaling.signal(id, data)"
SIGNAL_LATER = "([id, data]) => { globalThis.later = mcpActors.signaling.signal(id, data); }"
SAY = "content => mcpActors.chat.say(content)"
STATES = "[mcpActors.signaling.state, mcpActors.chat.state].join()"
NOTE_PAUSES = """
() => mcpActors.signaling.addEventListener("reconnecting", ({detail}) => (globalThis.pause = detail))
"""
PC = "[...mcpActors.call.peers.values()][0].pc"
SETTLED = f"() => {PC}.connectionState === 'connected' && {PC}.signalingState === 'stable'"
GENERATION = f"/a=ice-ufrag:\\S+/.exec({PC}.currentRemoteDescription.sdp)[0]"
PEERS = "others => [...mcpActors.call.peers.values()].filter(({away}) => !away).length === others"


class NetworkPath:
    """A network path to a port, that can be cut and mended; it has a port of its own."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._ends: list[socket.socket] = []
        self._listener: socket.socket
        self.port = 0
        self.mend()

    def lead_to(self, target: int) -> None:
        """Take new connections to another port."""
        self._target = target

    def mend(self) -> None:
        """Let connections through."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        """Break all connections, and let none through."""
        self._hang_up(self._listener)
        while self._ends:
            self._hang_up(self._ends.pop())

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
                self._ends += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        self._hang_up(source)
        self._hang_up(sink)

    @staticmethod
    def _hang_up(end: socket.socket) -> None:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()


@pytest.fixture
def path(site: str, watch: Watch) -> Iterator[NetworkPath]:
    """A way to the site that can be cut."""
    path = NetworkPath(urlsplit(site).port or 80)
    watch.hosts.add(f"127.0.0.1:{path.port}")
    watch.server_may_be_away = True
    yield path
    path.cut()


def assert_media_flows(*pages: Page) -> None:
    """Each page goes on decoding what each other sends."""
    for page in pages:
        for other in pages:
            if other is not page:
                so_far = frames_decoded(page, id_of(other))
                assert frames_decoded(page, id_of(other), over=so_far + 5) > so_far


@pytest.mark.parametrize("known", [True, False], ids=["cut", "cut-and-mended-at-once"])
def test_a_cut_path_changes_nothing_about_the_call(open_page: OpenPage, path: NetworkPath, known: bool) -> None:
    """What is sent meanwhile arrives once, in order, and the other page does not notice."""
    room, taps = a_room(), [Tap(), Tap()]
    cut_off = open_page(f"http://127.0.0.1:{path.port}{room}", init_script=COUNT_RESTARTS, websockets=taps[0].over)
    other = open_page(room, init_script=COUNT_RESTARTS, websockets=taps[1].over)
    pages = (cut_off, other)
    assert_everybody_sees_everybody(*pages)
    for page in pages:
        expect(page.locator("#chat-log .notice", has_text="You are in room")).to_have_count(1)
        expect(page.locator("#camera")).to_have_attribute("data-source", "camera")
        page.evaluate(LISTEN)
    offers = [len(tap.relayed("offer")) for tap in taps]

    path.cut()
    if known:
        cut_off.wait_for_function(f"() => {STATES} === 'reconnecting,reconnecting'")
        for number in range(3):
            assert other.evaluate(SIGNAL, [id_of(cut_off), number])["status"] == "queued"
        other.evaluate(SAY, {"text": "meanwhile"})
        cut_off.evaluate(SIGNAL_LATER, [id_of(other), "from afar"])
        assert_media_flows(*pages)
    path.mend()
    if not known:
        for number in range(3):
            other.evaluate(SIGNAL, [id_of(cut_off), number])
        other.evaluate(SAY, {"text": "meanwhile"})
        cut_off.evaluate(SIGNAL_LATER, [id_of(other), "from afar"])

    cut_off.wait_for_function("() => told.length >= 4")
    cut_off.wait_for_function(f"() => {STATES} === 'open,open'")
    assert cut_off.evaluate("later")["status"] == "delivered"
    assert other.evaluate(SIGNAL, [id_of(cut_off), "after"])["status"] == "delivered"
    cut_off.wait_for_function("() => told.includes('after')")
    told = cut_off.evaluate("told")
    assert [one for one in told if isinstance(one, int)] == [0, 1, 2]
    assert told.count({"text": "meanwhile"}) == told.count("after") == 1
    assert len(told) == 5
    assert other.evaluate("told") == ["from afar"]

    assert_media_flows(*pages)
    for page in pages:
        assert page.evaluate("happened") == []
        assert page.evaluate(CALL_IS_AS_IT_WAS)
        expect(page.locator("#chat-log .notice", has_text="left.")).to_have_count(0)
    assert [len(tap.relayed("offer")) for tap in taps] == offers
    expect(cut_off.locator("#status")).to_have_attribute("data-state", "open")


def test_a_path_for_media_that_is_sought_meanwhile_is_found(open_page: OpenPage, path: NetworkPath) -> None:
    """The offer waits for the connection: rejoining does not make up for it, as nobody rejoins."""
    room = a_room()
    pages = [open_page(room), open_page(f"http://127.0.0.1:{path.port}{room}")]
    cut_off = pages[1]
    assert_everybody_sees_everybody(*pages)
    for page in pages:
        page.wait_for_function(f"() => {STATES} === 'open,open'")
        page.wait_for_function(SETTLED)
    generation = cut_off.evaluate(GENERATION)
    path.cut()
    cut_off.wait_for_function("() => mcpActors.signaling.state === 'reconnecting'")
    cut_off.evaluate(RESTART)
    cut_off.wait_for_function(f"() => {PC}.signalingState === 'have-local-offer'")
    path.mend()
    cut_off.wait_for_function(SETTLED)
    assert cut_off.evaluate(GENERATION) != generation
    assert_media_flows(*pages)


def test_a_page_goes_on_without_delay_when_the_browser_is_online_again(open_page: OpenPage, path: NetworkPath) -> None:
    """However long the pause it had come to."""
    page = open_page(f"http://127.0.0.1:{path.port}{a_room()}")
    page.wait_for_function(f"() => {STATES} === 'open,open'")
    page.evaluate(NOTE_PAUSES)
    path.cut()
    page.wait_for_function("() => globalThis.pause?.attempt >= 4")
    path.mend()
    page.evaluate("dispatchEvent(new Event('online'))")
    page.wait_for_function("() => mcpActors.signaling.state === 'open'", timeout=1_000)


def test_a_server_that_is_killed_and_started_again_does_not_end_the_call(
    open_page: OpenPage, watch: Watch, tmp_path: Path
) -> None:
    """The pages join again by themselves, and all of them are there."""
    watch.server_may_be_away = True
    with Process(tmp_path, "serve", "--host", "127.0.0.1", "--port", "0") as server:
        port = server.wait_until_serving().port
        watch.hosts.add(f"127.0.0.1:{port}")
        pages = [open_page(f"http://127.0.0.1:{port}", init_script=COUNT_RESTARTS) for _ in range(3)]
        assert_everybody_sees_everybody(*pages)
        for page in pages:
            expect(page.locator("#camera")).to_have_attribute("data-source", "camera")
            page.evaluate(LISTEN)
        assert server.stop(signal.SIGKILL) == -signal.SIGKILL
    for page in pages:
        page.wait_for_function(f"() => {STATES} === 'reconnecting,reconnecting'")
    assert_media_flows(*pages)
    with Process(tmp_path, "serve", "--host", "127.0.0.1", "--port", str(port)) as server:
        server.wait_until_serving()
        for page in pages:
            page.wait_for_function(f"() => {STATES} === 'open,open'")
            page.wait_for_function(PEERS, arg=2)
            assert page.evaluate("happened.filter(type => type === 'rejoined').length") == 1
            expect(page.locator("#people-count")).to_have_text("3")
            for other in pages:
                if other is not page:
                    tile = page.locator(f".tile[data-peer-id='{id_of(other)}']")
                    expect(tile).to_have_attribute("data-state", "connected")
        assert_media_flows(*pages)
        for page in pages:
            assert page.evaluate(CALL_IS_AS_IT_WAS)


# ------------------------------------------------------------------------------------------------------ frame by frame

START = """
async () => {
  const {Signaling} = await import("/signaling.js");
  globalThis.signaling = new Signaling(`ws://${location.host}/ws/scripted/`);
  globalThis.log = [];
  for (const type of ["open", "rejoined", "peer-joined", "close", "signal"]) {
    signaling.addEventListener(type, ({detail}) => log.push([type, detail?.data ?? detail?.code ?? null]));
  }
  await signaling.join("r", "me");
}
"""
ASK = """
() => {
  for (const data of ["one", "two", "three"]) {
    signaling.signal("you", data).then(({status}) => log.push([data, status]), ({code}) => log.push([data, code]));
  }
}
"""


class Scripted:
    """A server in the test's hands: what it is sent is kept, and it says what it is told to."""

    def __init__(self) -> None:
        self.sockets: list[WebSocketRoute] = []
        self.heard: list[dict[str, Any]] = []
        self.greeting: list[dict[str, Any]] = []
        """What is said to a `join`, by and by: `joined` gets the id of the request."""

    def over(self, page: Page) -> None:
        """Be the server of a page."""
        page.route_web_socket("**/ws/scripted/", self._connect)

    def _connect(self, socket: WebSocketRoute) -> None:
        self.sockets.append(socket)
        socket.on_message(self._hear)

    def _hear(self, frame: str | bytes) -> None:
        message = json.loads(frame)
        self.heard.append(message)
        if message["type"] == "join":
            for answer in self.greeting:
                self.say(**({"id": message["id"]} if answer["type"] == "joined" else {}) | answer)

    def say(self, **message: Any) -> None:
        """Send a frame on the latest connection."""
        self.sockets[-1].send(json.dumps({"room": "r", **message}))


def joined(delivery: int, token: str, **session: bool) -> dict[str, Any]:
    """The reply to `join`."""
    peers = [{"peer_id": "me", "metadata": {}, "order": 1}]
    payload = {"peer_id": "me", "order": 1, "peers": peers, "ice_servers": [], "resume": token, **session}
    return {"delivery": delivery, "type": "joined", "payload": payload}


def signalled(delivery: int) -> dict[str, Any]:
    """A signal whose data is its delivery number."""
    return {"delivery": delivery, "sender": "you", "type": "signal", "payload": {"data": delivery}}


@pytest.fixture
def scripted(open_page: OpenPage) -> tuple[Page, Scripted]:
    """A page that has joined at such a server, and asked for three things: only the first was answered."""
    server = Scripted()
    server.greeting = [joined(1, "token 1", resumed=False)]
    page = open_page(a_room(), websockets=server.over)
    page.evaluate(START)
    for number in (2, 3, 3, 2, 1, 4):
        server.say(**signalled(number))
    page.wait_for_function("() => log.length >= 4")
    page.evaluate(ASK)
    while len(server.heard) < 4:
        page.wait_for_timeout(10)
    requests = [message for message in server.heard if message["type"] == "signal"]
    assert [message["payload"]["data"] for message in requests] == ["one", "two", "three"]
    server.say(delivery=5, type="ack", id=requests[0]["id"], payload={"status": "delivered"})
    page.wait_for_function("() => log.length >= 5")
    assert page.evaluate("log") == [["open", None], *(["signal", n] for n in (2, 3, 4)), ["one", "delivered"]]
    page.evaluate("log.length = 0")
    return page, server


def test_a_frame_is_handled_once_and_what_was_not_answered_is_sent_again(scripted: tuple[Page, Scripted]) -> None:
    """The missed frames come before the reply, an answer among them."""
    page, server = scripted
    ids = {message["payload"].get("data"): message["id"] for message in server.heard}
    ack = {"type": "ack", "payload": {"status": "delivered"}}
    server.greeting = [
        signalled(5),
        signalled(6),
        {"delivery": 7, "id": ids["two"], **ack},
        joined(8, "token 2", resumed=True, complete=True),
    ]
    so_far = len(server.heard)
    server.sockets[-1].close(code=4000)
    page.wait_for_function("() => log.length >= 3")
    while len(server.heard) < so_far + 2:
        page.wait_for_timeout(10)
    join, again = server.heard[so_far:]
    assert join["payload"] == {"peer_id": "me", "resume": "token 1", "received": 5, "at": {}}
    assert (again["id"], again["payload"]["data"]) == (ids["three"], "three")
    server.say(delivery=9, id=ids["three"], **ack)
    page.wait_for_function("() => log.length >= 4")
    assert sorted(map(str, page.evaluate("log"))) == sorted(
        map(str, [["signal", 6], ["two", "delivered"], ["open", None], ["three", "delivered"]])
    )


def test_what_a_moderator_asked_is_sent_again_too(scripted: tuple[Page, Scripted]) -> None:
    page, server = scripted
    page.evaluate("() => { signaling.request('kick', signaling.room, {peer_id: 'you'}); }")

    def kicks() -> list[dict[str, Any]]:
        return [message for message in server.heard if message["type"] == "kick"]

    while not kicks():
        page.wait_for_timeout(10)
    server.greeting = [joined(6, "token 2", resumed=True, complete=True)]
    server.sockets[-1].close(code=4000)
    while len(kicks()) < 2:
        page.wait_for_timeout(10)
    first, second = kicks()
    assert second == {**first, "again": True}


@pytest.mark.parametrize(
    "greeting",
    [joined(1, "token 2", resumed=False), joined(9, "token 2", resumed=True, complete=False)],
    ids=["another-session", "with-a-gap"],
)
def test_where_something_was_missed_the_roster_comes_again(
    scripted: tuple[Page, Scripted], greeting: dict[str, Any]
) -> None:
    """And nothing is sent again: it is not known what has come through."""
    page, server = scripted
    server.greeting = [greeting]
    so_far = len(server.heard)
    server.sockets[-1].close(code=4000)
    page.wait_for_function("() => log.length >= 4")
    server.say(**signalled(greeting["delivery"] + 1))
    page.wait_for_function("() => log.length >= 5")
    assert [message["type"] for message in server.heard[so_far:]] == ["join"]
    log = page.evaluate("log")
    assert [one for one in log if one[0] in ("open", "rejoined")] == [["open", None], ["rejoined", None]]
    assert [one for one in log if one[0] in ("two", "three")] == [
        [data, "connection-lost"] for data in ("two", "three")
    ]
    assert log[-1] == ["signal", greeting["delivery"] + 1]


def test_who_was_replaced_does_not_come_back(scripted: tuple[Page, Scripted]) -> None:
    """Another connection goes on with the session."""
    page, server = scripted
    server.sockets[-1].close(code=4501)
    page.wait_for_function("() => log.length >= 3")
    (closed, *failed) = page.evaluate("log")
    assert closed == ["close", 4501]
    assert failed == [["two", "closed"], ["three", "closed"]]  # for good: not to be tried again
    assert page.evaluate("signaling.state") == "closed"
    assert len(server.sockets) == 1
