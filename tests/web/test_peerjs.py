"""The real client, the npm package peerjs, in a browser: calls over one process and over two, and lost connections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from bench.peers import npm
from tests.support.peerjs import expect_npm
from tests.support.server import Process
from tests.web.conftest import serving
from tests.web.network_path import NetworkPath
from tests.web.pages import DEADLINE, PLAIN

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.web.conftest import Watch
    from tests.web.pages import OpenPage

# Connects under an id, answers every call, and echoes every message. `happened` has the events of the client.
CONNECT = """
([id, path]) => new Promise((resolve, reject) => {
  Object.assign(globalThis, {happened: [], echoed: []});
  const port = Number(location.port);
  const options = {host: location.hostname, port, path, config: {iceServers: []}};
  globalThis.peer = id === null ? new Peer(options) : new Peer(id, options);
  for (const type of ["open", "disconnected", "close"]) peer.on(type, () => happened.push(type));
  peer.on("error", ({type}) => happened.push(type));
  peer.on("connection", (connection) => connection.on("data", (data) => connection.send(`${peer.id}: ${data}`)));
  peer.on("call", (call) => call.answer());
  peer.once("open", resolve);
  peer.once("error", ({type, message}) => reject(new Error(`${type}: ${message}`)));
})
"""
# Resolves to what another client answers over a new data channel.
ASK = """
([id, data]) => new Promise((resolve, reject) => {
  const connection = peer.connect(id, {reliable: true});
  connection.on("open", () => connection.send(data));
  connection.on("data", resolve);
  connection.on("error", ({type, message}) => reject(new Error(`${type}: ${message}`)));
})
"""
# Sends the camera to another client, and resolves once video has been sent and acknowledged by its receiver.
CALL = """
async ([id, deadline]) => {
  const stream = await navigator.mediaDevices.getUserMedia({video: true});
  const {peerConnection} = peer.call(id, stream);
  const end = performance.now() + deadline;
  while (performance.now() < end) {
    for (const entry of (await peerConnection.getStats()).values()) {
      if (entry.type === "remote-inbound-rtp" && peerConnection.connectionState === "connected") {
        stream.getTracks().forEach((track) => track.stop());
        return "received";
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return "nothing received";
}
"""
REMEMBER = "([id]) => { globalThis.first = peer.connections[id][0]; }"
GATEWAY = {
    "MCP_ACTORS_GATEWAYS": "peerjs",
    "MCP_ACTORS_PEERJS_PATH": "/app",
    "MCP_ACTORS_NODE_LEASE": "2",
    "MCP_ACTORS_DRAIN_SECONDS": "0",
}


@pytest.fixture(scope="module")
def script() -> str:
    expect_npm()
    return npm.module("peerjs/dist/peerjs.min.js").read_text(encoding="utf-8")


@pytest.fixture
def gateway() -> dict[str, str]:
    return GATEWAY


class Pages:
    """Opens pages at the servers, each with a client."""

    def __init__(self, open_page: OpenPage, watch: Watch, script: str) -> None:
        self._open_page = open_page
        self._script = script
        self.watch = watch

    def connected(self, port: int, peer: str | None) -> Page:
        """A page whose client is connected."""
        site = f"http://127.0.0.1:{port}"
        self.watch.hosts.add(urlsplit(site).netloc)
        page = self._open_page(site + PLAIN)
        page.evaluate(self._script)
        page.evaluate(CONNECT, [peer, "/app"])
        return page


@pytest.fixture
def pages(open_page: OpenPage, watch: Watch, script: str) -> Pages:
    return Pages(open_page, watch, script)


def ask(page: Page, peer: str, data: str) -> Any:
    return page.evaluate(ASK, [peer, data])


def happens(page: Page, event: str) -> None:
    page.wait_for_function("(event) => happened.includes(event)", arg=event, timeout=DEADLINE * 1000)


def reconnect(page: Page) -> None:
    page.evaluate("() => { happened.length = 0; peer.reconnect(); }")
    happens(page, "open")


def test_data_and_video_reach_another_client(pages: Pages, ports: list[int]) -> None:
    ada, bob = pages.connected(ports[0], "ada"), pages.connected(ports[1], None)
    name = bob.evaluate("peer.id")
    assert ask(ada, name, "hello") == f"{name}: hello"
    assert ask(bob, "ada", "hi") == "ada: hi"
    assert ada.evaluate(CALL, [name, DEADLINE * 1000]) == "received"


def test_a_client_whose_network_dropped_has_its_id_and_its_connections_after_it_reconnects(
    pages: Pages, tmp_path: Path
) -> None:
    pages.watch.server_may_be_away = True
    with serving(tmp_path, GATEWAY) as port:
        path = NetworkPath(port)
        ada, bob = pages.connected(path.port, "ada"), pages.connected(port, "bob")
        assert ask(ada, "bob", "hello") == "bob: hello"
        ada.evaluate(REMEMBER, ["bob"])
        path.freeze()  # the server sees no end of this connection
        ada.evaluate("peer.disconnect()")
        reconnect(ada)
        assert ask(bob, "ada", "hi") == "ada: hi"
        assert ada.evaluate("first.open")
        path.cut()
        happens(ada, "disconnected")
        path.mend()
        reconnect(ada)
        assert ask(bob, "ada", "hi again") == "ada: hi again"
        ada.evaluate("peer.destroy()")
        bob.evaluate("peer.destroy()")


def test_a_client_goes_on_at_another_process_after_its_own_was_killed(
    pages: Pages, tmp_path: Path, shared: dict[str, str]
) -> None:
    pages.watch.server_may_be_away = True
    with (
        Process(tmp_path, "serve", "--host", "127.0.0.1", "--port", "0", **shared) as killed,
        serving(tmp_path, shared) as port,
    ):
        path = NetworkPath(killed.wait_until_serving().port)
        ada, bob = pages.connected(path.port, "ada"), pages.connected(port, "bob")
        assert ask(ada, "bob", "hello") == "bob: hello"
        ada.evaluate(REMEMBER, ["bob"])
        killed.process.kill()
        happens(ada, "disconnected")
        path.lead_to(port)
        reconnect(ada)
        assert ask(bob, "ada", "hi") == "ada: hi"
        assert ask(ada, "bob", "hello again") == "bob: hello again"
        assert ada.evaluate("first.open")
        path.cut()
