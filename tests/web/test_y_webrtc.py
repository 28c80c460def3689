"""Real clients, y-webrtc with Yjs and trystero, in a browser: over one process and over two, and one is killed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from bench.peers import npm
from tests.support.peerjs import expect_npm
from tests.support.server import Process
from tests.support.tokens import REQUIRED, token
from tests.support.y_webrtc import PATH
from tests.web.conftest import serving
from tests.web.network_path import NetworkPath
from tests.web.pages import DEADLINE, PLAIN

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page, WebSocket

    from tests.web.conftest import Watch
    from tests.web.pages import OpenPage

YJS = """
import * as Y from "yjs";
import {WebrtcProvider} from "y-webrtc";
// Opens documents, by their topics with the password of each, over one connection to a server.
globalThis.connect = (url, passwords) => {
  globalThis.docs = {};
  for (const [topic, password] of Object.entries(passwords)) {
    const doc = new Y.Doc();
    const options = {signaling: [url], password, peerOpts: {config: {iceServers: []}}};
    docs[topic] = {provider: new WebrtcProvider(topic, doc, options), text: doc.getText("text")};
  }
};
"""
OLD_YJS = YJS.replace('"y-webrtc"', '"y-webrtc-old"')
# The strategy of trystero's package ws-relay, on the parts of trystero's core that it is made of; it subscribes again
# when it has reconnected.
TRYSTERO = """
import {createTopicStrategy, makeSocket, selfId} from "@trystero-p2p/core";
const handlers = new Map();
const say = (client, message) => client.send(JSON.stringify(message));
const joinRoom = createTopicStrategy({
  steadyAnnounceIntervalMs: 1000,
  init: ({url}) => {
    const heard = (text) => {
      const {topic, payload} = JSON.parse(text);
      handlers.get(topic)?.(topic, payload);
    };
    const again = () => handlers.forEach((_, topic) => say(client, {type: "subscribe", topic}));
    const client = makeSocket(url, heard, again);
    return [client.ready];
  },
  subscribeTopic: (client, topic, onMessage) => {
    handlers.set(topic, onMessage);
    say(client, {type: "subscribe", topic});
    return () => handlers.delete(topic) && say(client, {type: "unsubscribe", topic});
  },
  publishTopic: (client, topic, payload) => say(client, {type: "publish", topic, payload}),
});
globalThis.connect = (url, password) => {
  const room = joinRoom({appId: "tests", password, url, rtcConfig: {iceServers: []}}, "notes");
  const action = room.makeAction("says");
  Object.assign(globalThis, {room, selfId, heard: []});
  action.onMessage = (text) => heard.push(text);
  globalThis.say = (text) => action.send(text);
};
"""
GATEWAY = {"MCP_ACTORS_GATEWAYS": "y-webrtc", "MCP_ACTORS_NODE_LEASE": "2", "MCP_ACTORS_DRAIN_SECONDS": "0"}
DOCUMENTS = {"open notes": None, "secret notes": "a password", "more": None}
OPEN, SECRET = "open notes", "secret notes"


@pytest.fixture(scope="module", autouse=True)
def _packages() -> None:
    expect_npm()


@pytest.fixture
def gateway() -> dict[str, str]:
    return GATEWAY


class Pages:
    """Opens pages at the servers, each with a client, and keeps what they are sent by WebSocket."""

    def __init__(self, open_page: OpenPage, watch: Watch) -> None:
        self._open_page = open_page
        self.watch = watch
        self.sockets: dict[Page, list[WebSocket]] = {}
        self.frames: dict[Page, list[dict[str, Any]]] = {}

    def connected(self, port: int, module: str, options: object, query: str = "") -> Page:
        """A page that connects its client."""
        site = f"http://127.0.0.1:{port}"
        self.watch.hosts.add(urlsplit(site).netloc)
        page = self._open_page(site + PLAIN)
        sockets = self.sockets[page] = []
        frames = self.frames[page] = []

        def opened(socket: WebSocket) -> None:
            sockets.append(socket)
            socket.on("framereceived", lambda frame: frames.append(json.loads(frame)))

        page.on("websocket", opened)
        page.evaluate(npm.bundle(module))
        page.evaluate("([url, options]) => connect(url, options)", [f"ws://127.0.0.1:{port}{PATH}{query}", options])
        return page

    def documents(self, port: int, query: str = "") -> Page:
        """A page with documents."""
        return self.connected(port, YJS, DOCUMENTS, query)


@pytest.fixture
def pages(open_page: OpenPage, watch: Watch) -> Pages:
    watch.server_may_be_away = True  # pages try to reconnect until they are closed
    return Pages(open_page, watch)


def until(page: Page, expression: str, argument: object = None) -> None:
    page.wait_for_function(expression, arg=argument, timeout=DEADLINE * 1000)


def meets(page: Page, others: int) -> None:
    """Wait until all documents of a page have synced with those of so many others."""
    everywhere = "({provider: {room}}) => room?.synced && room.webrtcConns.size === others"
    until(page, f"(others) => Object.values(docs).every({everywhere})", others)


def write(page: Page, text: str) -> None:
    """Write a text into all documents of a page."""
    page.evaluate("(text) => Object.values(docs).forEach((doc) => doc.text.insert(0, text))", text)


def reads(page: Page, text: str) -> None:
    """Wait until all documents of a page have a text."""
    until(page, "(text) => Object.values(docs).every((doc) => doc.text.toString().includes(text))", text)


def me(page: Page, topic: str) -> Any:
    """The name under which a page publishes."""
    return page.evaluate("(topic) => docs[topic].provider.room.peerId", topic)


def test_documents_sync_with_and_without_a_password_over_one_connection(pages: Pages, ports: list[int]) -> None:
    opened = [pages.documents(port) for port in ports]
    opened.append(pages.connected(ports[0], OLD_YJS, DOCUMENTS))
    for page in opened:
        meets(page, 2)
    for number, page in enumerate(opened):
        write(page, f"text {number}. ")
    for page in opened:
        for number in range(3):
            reads(page, f"text {number}. ")
        assert len(pages.sockets[page]) == 1
        signals = [frame["data"] for frame in pages.frames[page] if frame.get("topic") == OPEN]
        told = {signal["to"] for signal in signals if signal["type"] == "signal"}
        assert told == {me(page, OPEN)}  # and no signal for others
        secrets = [frame["data"] for frame in pages.frames[page] if frame.get("topic") == SECRET]
        assert secrets
        assert all(isinstance(secret, str) for secret in secrets)


def test_documents_go_on_at_another_process_after_their_own_was_killed(
    pages: Pages, tmp_path: Path, shared: dict[str, str]
) -> None:
    with (
        Process(tmp_path, "serve", "--host", "127.0.0.1", "--port", "0", **shared) as killed,
        serving(tmp_path, shared) as port,
    ):
        path = NetworkPath(killed.wait_until_serving().port)
        ada, bob = pages.documents(path.port), pages.documents(port)
        for page in (ada, bob):
            meets(page, 1)
        write(ada, "before. ")
        reads(bob, "before. ")
        killed.process.kill()
        write(ada, "without a server. ")
        reads(bob, "without a server. ")
        path.lead_to(port)
        late = pages.documents(port)
        for page in (ada, bob, late):
            meets(page, 2)  # also those whose process was killed have met the page that came later
        reads(late, "without a server. ")
        write(late, "after. ")
        for page in (ada, bob):
            reads(page, "after. ")
        path.cut()


def test_a_page_brings_its_access_token_in_the_url(pages: Pages, tmp_path: Path) -> None:
    settings = {f"MCP_ACTORS_{name.upper()}": str(value) for name, value in REQUIRED.items()}
    with serving(tmp_path, {**GATEWAY, **settings}) as port:
        opened = [pages.documents(port, f"?token={token('ada', rooms=['y-webrtc:*'])}") for _ in range(2)]
        for page in opened:
            meets(page, 1)


def test_the_demo_page_says_that_the_gateway_is_on(pages: Pages, open_page: OpenPage, tmp_path: Path) -> None:
    with serving(tmp_path, GATEWAY) as port:
        site = f"http://127.0.0.1:{port}"
        pages.watch.hosts.add(urlsplit(site).netloc)
        page = open_page(site + "/")
        expect(page.locator("#gateways")).to_contain_text("y-webrtc and trystero at /ws/y-webrtc/")
        page.close()
    expect(open_page().locator("#gateways")).to_be_hidden()  # where there is none


class Talk:
    """Pages of trystero."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    def joins(self, port: int) -> Page:
        """A page that joins the room."""
        return self._pages.connected(port, TRYSTERO, "a password")

    def everybody_hears(self, talking: list[Page], text: str) -> None:
        """Wait until all pages have met, and let each tell the others something."""
        for page in talking:
            until(page, "(others) => Object.keys(room.getPeers()).length === others", len(talking) - 1)
        for page in talking:
            page.evaluate("(text) => say(`${text} ${selfId}`)", text)
        for page in talking:
            for other in talking:
                if other is not page:
                    until(page, "(text) => heard.includes(text)", f"{text} {other.evaluate('selfId')}")


@pytest.fixture
def talk(pages: Pages) -> Talk:
    return Talk(pages)


def test_pages_of_trystero_meet_and_talk(talk: Talk, ports: list[int]) -> None:
    talk.everybody_hears([talk.joins(port) for port in (ports[0], ports[1], ports[0])], "hello")


def test_pages_of_trystero_meet_others_after_their_process_was_killed(
    talk: Talk, tmp_path: Path, shared: dict[str, str]
) -> None:
    with (
        Process(tmp_path, "serve", "--host", "127.0.0.1", "--port", "0", **shared) as killed,
        serving(tmp_path, shared) as port,
    ):
        path = NetworkPath(killed.wait_until_serving().port)
        talking = [talk.joins(path.port), talk.joins(port)]
        talk.everybody_hears(talking, "hello")
        killed.process.kill()
        path.lead_to(port)
        talking.append(talk.joins(port))
        talk.everybody_hears(talking, "hello again")
        path.cut()
