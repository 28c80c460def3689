"""Calls of the client package with peers that have other software, which they must not disturb."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support import loopback
from tests.web.call.pages import PAIR, a_room, open_call, wait_for_state
from tests.web.pages import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

    from tests.web.pages import OpenPage

PATHS = [*loopback.__path__, os.environ.get("PYTHONPATH", ""), str(Path(__file__).parents[3])]
ENVIRON = {**os.environ, "PYTHONPATH": os.pathsep.join(PATHS)}
"""Lets aiortc use the loopback, which may be the only network here, and which aioice leaves out on its own."""

SENT_ON_HEARTBEAT = f"""
async () => [...(await {PAIR}.pc.getStats()).values()]
  .filter(({{type, label}}) => type === "data-channel" && label === "mcp-actors.heartbeat")
  .reduce((sum, {{messagesSent}}) => sum + messagesSent, 0)
"""
# Longer than the heartbeat would wait.
TALK = """
async (label) => {
  const end = performance.now() + 3000;
  for (let count = 0; performance.now() < end; count++) {
    const text = `${label} ${count}`;
    if (call.send(label, text)) {
      while (!heard.some(([, , data]) => data === text)) await new Promise((resolve) => setTimeout(resolve, 10));
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
"""


class Foreign:
    """What a peer of aiortc prints."""

    def __init__(self, output: Path) -> None:
        self._output = output

    def said(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._output.read_text().splitlines()]

    def wait_until_joined(self, page: Page, peer_id: str) -> None:
        wait_until(page, lambda: {"joined": peer_id} in self.said(), "the peer of aiortc")


@contextmanager
def foreign(tmp_path: Path, *arguments: str) -> Iterator[Foreign]:
    """Run a peer of aiortc."""
    output = tmp_path / "foreign.jsonl"
    with output.open("w") as file:
        command = [sys.executable, "-m", "tests.web.call.foreign_aiortc", *arguments]
        process = subprocess.Popen(command, stdout=file, env=ENVIRON)
        try:
            yield Foreign(output)
        finally:
            process.terminate()
            process.wait()


def test_a_peer_without_the_heartbeat_that_answers_is_not_disturbed(
    open_page: OpenPage, site: str, tmp_path: Path
) -> None:
    room = a_room()
    idle = open_page("/favicon.svg")
    with foreign(tmp_path, site, room, "ada") as ada:
        ada.wait_until_joined(idle, "ada")
        options = {"channels": {"ours": {"negotiated": False}, "chat": {}}}
        page = open_call(open_page, room, "grace", options=options)
        wait_for_state("connected", page)
        page.evaluate(TALK, "ours")
        assert ada.said() == [{"joined": "ada"}, {"channel": "ours"}]
        assert page.evaluate("call.send('chat', 'not to those that may not have the channel')") == 0
        assert_never_broken(page)


def test_a_peer_without_the_heartbeat_that_offers_is_not_disturbed(
    open_page: OpenPage, site: str, tmp_path: Path
) -> None:
    room = a_room()
    page = open_call(open_page, room, "ada", options={"channels": {"chat": {}}})
    with foreign(tmp_path, site, room, "grace") as grace:
        wait_for_state("connected", page)
        page.evaluate(TALK, "theirs")
        assert grace.said() == [{"joined": "grace"}]
        assert_never_broken(page)


def assert_never_broken(page: Page) -> None:
    assert page.evaluate(SENT_ON_HEARTBEAT) == 0
    assert page.evaluate("told.every(({state}) => state === 'connecting' || state === 'connected')")
