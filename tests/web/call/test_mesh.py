"""A page with the Call of the JavaScript client, and a Mesh of the Python client: both heal their pair."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.web.call.pages import PAIR, a_room, open_call, told, wait_for_state
from tests.web.call.signaling_proxy import SignalingProxy
from tests.web.call.test_foreign import ENVIRON, Foreign
from tests.web.call.udp_path import UdpPath
from tests.web.pages import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.web.pages import OpenPage

# Both sides have pinged, and what the page sent first has had a second to arrive.
BEATS = f"""
async () => [...(await {PAIR}.pc.getStats()).values()]
  .filter(({{label}}) => label === "mcp-actors.heartbeat")
  .some(({{messagesSent, messagesReceived}}) => messagesSent > 1 && messagesReceived)
"""
KEEP = f"globalThis.kept = {PAIR}.pc"
IS_REPLACED = f"() => kept !== {PAIR}.pc"


@contextmanager
def mesh(tmp_path: Path, *arguments: str) -> Iterator[Foreign]:
    """Run a member with a mesh."""
    output = tmp_path / "mesh.jsonl"
    with output.open("w") as file:
        command = [sys.executable, "-m", "tests.web.call.mesh_member", *arguments]
        process = subprocess.Popen(command, stdout=file, env=ENVIRON)
        try:
            yield Foreign(output)
        finally:
            process.terminate()
            process.wait()


@pytest.mark.parametrize("polite", ["page", "mesh"])
def test_a_page_and_a_mesh_notice_that_data_does_not_arrive_and_heal_their_pair(
    open_page: OpenPage, site: str, tmp_path: Path, polite: str
) -> None:
    """The path carries ICE all the time, so that only the heartbeat can tell."""
    room, idle = a_room(), open_page("/favicon.svg")
    with UdpPath() as path, SignalingProxy(path, urlsplit(site).port or 80) as proxy:
        if polite == "mesh":
            page = open_call(open_page, room, "grace", websockets=path.over)
        with mesh(tmp_path, proxy.url, room, "ada") as ada:
            ada.wait_until_joined(idle, "ada")
            if polite == "page":
                page = open_call(open_page, room, "grace", websockets=path.over)
            connected = {"event": "PairConnected", "peer": "grace"}
            wait_until(idle, lambda: connected in ada.said(), "a connection of the mesh")
            wait_for_state("connected", page)
            page.wait_for_function(BEATS)
            page.evaluate(KEEP)
            path.only_ice()
            healed = {"event": "PairHealed", "peer": "grace"}
            wait_until(idle, lambda: healed in ada.said(), "a healed pair of the mesh")
            page.wait_for_function(IS_REPLACED)
            wait_for_state("connected", page)
            assert told(page, "pair-healed")
