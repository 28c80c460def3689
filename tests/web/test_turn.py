"""Calls between pages over a real coturn, for longer than their credentials last."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from mcp_actors.auth.secret import make
from tests.support.coturn import Coturn, allocated
from tests.web.conftest import serving
from tests.web.pages import COUNT_RESTARTS, DEADLINE, PLAIN, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.web.pages import OpenPage

TTL = 3
"""Seconds that credentials last."""

RELAY_ONLY = """
globalThis.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(configuration) {
    super({...configuration, iceTransportPolicy: "relay"});
  }
};
"""
# Each page counts to the other over a data channel that the one that joins later opens, and notes what it hears.
CALL = """
async ([room, name]) => {
  const {Signaling} = await import("/signaling.js");
  const {Call} = await import("/call.js");
  globalThis.signaling = new Signaling(`ws://${location.host}/ws/signaling/`);
  globalThis.call = new Call(signaling);
  Object.assign(globalThis, {heard: 0, wrong: 0, renewals: 0});
  const use = (channel) => {
    let count = 0;
    channel.onmessage = ({data}) => {
      if (Number(data) !== heard + 1) globalThis.wrong++;
      globalThis.heard = Number(data);
    };
    const begin = () => setInterval(() => channel.send(String(++count)), 50);
    if (channel.readyState === "open") begin();
    else channel.onopen = begin;
  };
  signaling.addEventListener("ice-servers", () => globalThis.renewals++);
  call.addEventListener("peer-added", ({detail: peer}) => {
    globalThis.peer = peer;
    if (peer.polite) use(peer.pc.createDataChannel("count"));
    else peer.pc.ondatachannel = ({channel}) => use(channel);
  });
  await call.join(room, name);
}
"""
SELECTED = """
async () => {
  const stats = await peer.pc.getStats();
  const transport = [...stats.values()].find(({type}) => type === "transport");
  const pair = stats.get(transport.selectedCandidatePairId);
  return [pair.localCandidateId, pair.remoteCandidateId].map((id) => stats.get(id));
}
"""
USERNAMES = "peer.pc.getConfiguration().iceServers.map(({username}) => username)"
UFRAG = "/a=ice-ufrag:(.*)/.exec(peer.pc.localDescription.sdp)[1]"


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[Coturn]:
    with Coturn(tmp_path, make()) as running:
        yield running


@pytest.fixture
def site(tmp_path: Path, relay: Coturn) -> Iterator[str]:
    turn = {"URLS": relay.url, "SECRET": relay.secret, "TTL": str(TTL)}
    with serving(tmp_path, {f"MCP_ACTORS_TURN_{name}": value for name, value in turn.items()}) as port:
        yield f"http://127.0.0.1:{port}"


def a_call(open_page: OpenPage, init_script: str) -> tuple[Page, Page]:
    """Two pages that count to each other."""
    room = f"turn-{uuid4().hex}"
    pages: list[Page] = []
    for name in ("ada", "grace"):
        pages.append(open_page(PLAIN, init_script))
        pages[-1].evaluate(CALL, [room, name])
    for page in pages:
        wait_for_count(page, 1)
    return pages[0], pages[1]


def heard(page: Page) -> int:
    count: int = page.evaluate("heard")
    return count


def wait_for_count(page: Page, count: int) -> None:
    page.wait_for_function("count => heard >= count", arg=count, timeout=DEADLINE * 1000)


def test_a_relayed_call_outlives_its_credentials_three_times_and_a_restart_of_the_relay(
    open_page: OpenPage, relay: Coturn
) -> None:
    pages = a_call(open_page, RELAY_ONLY)
    started = time.time()
    ports = set()
    for page in pages:
        local, remote = page.evaluate(SELECTED)
        assert local["candidateType"] == remote["candidateType"] == "relay"
        ports.add(local["port"])
    wait_until(pages[0], lambda: time.time() > started + 3 * TTL, "three lifetimes")
    wait_until(pages[0], lambda: last_end(relay) > time.time(), "credentials that have not ended")
    for page in pages:
        wait_for_count(page, heard(page) + 20)
        local, remote = page.evaluate(SELECTED)
        assert local["candidateType"] == remote["candidateType"] == "relay"
        assert local["port"] not in ports
        assert page.evaluate("wrong") == 0

    relay.stop()
    relay.start()
    for page in pages:
        wait_for_count(page, heard(page) + 20)
        assert page.evaluate("wrong") == 0


def last_end(relay: Coturn) -> int:
    """When the last credentials end that each of the two pages used, the earlier of both."""
    ends = {user.partition(":")[2]: int(user.partition(":")[0]) for user in allocated(relay.log())}
    assert len(ends) == 2
    return min(ends.values())


def test_a_direct_call_gets_new_credentials_for_later_and_is_not_disturbed(open_page: OpenPage) -> None:
    pages = a_call(open_page, COUNT_RESTARTS)
    before: list[Any] = [page.evaluate(f"[{USERNAMES}, {UFRAG}]") for page in pages]
    for page in pages:
        page.wait_for_function("() => renewals >= 2", timeout=DEADLINE * 1000)
    for page, (usernames, ufrag) in zip(pages, before, strict=True):
        wait_for_count(page, heard(page) + 20)
        assert page.evaluate("restarts") == 0
        assert page.evaluate(UFRAG) == ufrag
        assert len(usernames) == 1
        assert page.evaluate(USERNAMES)[0].partition(":")[2] == usernames[0].partition(":")[2]
        assert page.evaluate(USERNAMES) != usernames
        assert "relay" not in {candidate["candidateType"] for candidate in page.evaluate(SELECTED)}
