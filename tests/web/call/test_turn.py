"""Calls of the client package over a real coturn, for longer than their credentials last."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from mcp_actors.auth.secret import make
from tests.support.coturn import Coturn, allocated
from tests.web.call.pages import PAIR, open_pair, wait_for_state
from tests.web.conftest import serving
from tests.web.pages import COUNT_RESTARTS, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.web.pages import OpenPage

TTL = 3
"""Seconds that credentials last."""

# Notes what is missing or out of order of what the other page counts.
LISTEN = """
() => {
  globalThis.wrong = 0;
  globalThis.renewals = 0;
  globalThis.last = 0;
  call.addEventListener("message", ({detail: {data}}) => {
    if (Number(data) !== last + 1) wrong++;
    last = Number(data);
  });
  room.addEventListener("ice-servers", () => renewals++);
}
"""
COUNT = """
() => {
  let count = 0;
  setInterval(() => (count += call.send("count", String(count + 1))), 50);
}
"""
SELECTED = f"""
async () => {{
  const stats = await {PAIR}.pc.getStats();
  const transport = [...stats.values()].find(({{type}}) => type === "transport");
  const pair = stats.get(transport.selectedCandidatePairId);
  return [pair.localCandidateId, pair.remoteCandidateId].map((id) => stats.get(id));
}}
"""
USERNAMES = f"{PAIR}.pc.getConfiguration().iceServers.map(({{username}}) => username)"
UFRAG = f"/a=ice-ufrag:(.*)/.exec({PAIR}.pc.localDescription.sdp)[1]"


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[Coturn]:
    with Coturn(tmp_path, make()) as running:
        yield running


@pytest.fixture
def site(tmp_path: Path, relay: Coturn) -> Iterator[str]:
    turn = {"URLS": relay.url, "SECRET": relay.secret, "TTL": str(TTL)}
    with serving(tmp_path, {f"MCP_ACTORS_TURN_{name}": value for name, value in turn.items()}) as port:
        yield f"http://127.0.0.1:{port}"


def a_call(open_page: OpenPage, **more: Any) -> tuple[Page, Page]:
    """Two pages that count to each other."""
    pages = open_pair(open_page, options={"channels": {"count": {}}}, **more)
    for page in pages:
        page.evaluate(LISTEN)
    for page in pages:
        page.evaluate(COUNT)
    for page in pages:
        wait_for_count(page, 1)
    return pages


def wait_for_count(page: Page, count: int) -> None:
    page.wait_for_function("count => last >= count", arg=count)


def wait_for_more(page: Page) -> None:
    wait_for_count(page, page.evaluate("last") + 20)
    assert page.evaluate("wrong") == 0


def test_a_relayed_call_outlives_its_credentials_three_times_and_a_restart_of_the_relay(
    open_page: OpenPage, relay: Coturn
) -> None:
    pages = a_call(open_page, rtcConfiguration={"iceTransportPolicy": "relay"})
    started = time.time()
    ports = set()
    for page in pages:
        local, remote = page.evaluate(SELECTED)
        assert local["candidateType"] == remote["candidateType"] == "relay"
        ports.add(local["port"])
    wait_until(pages[0], lambda: time.time() > started + 3 * TTL, "three lifetimes")
    wait_until(pages[0], lambda: last_end(relay) > time.time(), "credentials that have not ended")
    for page in pages:
        wait_for_more(page)
        local, remote = page.evaluate(SELECTED)
        assert local["candidateType"] == remote["candidateType"] == "relay"
        assert local["port"] not in ports

    relay.stop()
    relay.start()
    for page in pages:
        wait_for_more(page)
    wait_for_state("connected", *pages)


def last_end(relay: Coturn) -> int:
    """When the last credentials end that each of the two pages used, the earlier of both."""
    ends = {user.partition(":")[2]: int(user.partition(":")[0]) for user in allocated(relay.log())}
    assert len(ends) == 2
    return min(ends.values())


def test_a_direct_call_gets_new_credentials_for_later_and_is_not_disturbed(open_page: OpenPage) -> None:
    pages = a_call(open_page, init_script=COUNT_RESTARTS)
    before: list[Any] = [page.evaluate(f"[{USERNAMES}, {UFRAG}]") for page in pages]
    for page in pages:
        page.wait_for_function("() => renewals >= 2")
    for page, (usernames, ufrag) in zip(pages, before, strict=True):
        wait_for_more(page)
        assert page.evaluate("restarts") == 0
        assert page.evaluate(UFRAG) == ufrag
        assert len(usernames) == 1
        assert page.evaluate(USERNAMES)[0].partition(":")[2] == usernames[0].partition(":")[2]
        assert page.evaluate(USERNAMES) != usernames
        assert "relay" not in {candidate["candidateType"] for candidate in page.evaluate(SELECTED)}
