"""The wiring of gateways: which modules are imported, and the rules of their rooms."""

from __future__ import annotations

import subprocess
import sys

from mcp_actors.environment import load
from mcp_actors.gateway_setup import announced_gateways, special_rooms
from mcp_actors.protocol.identifiers import RoomId

SHOW = """
import sys
from mcp_actors.app import App
from mcp_actors.environment import load
App(load(overrides={"gateways": %r}, environ={}))
print([name for name in sys.modules if name.startswith("mcp_actors.gateways.")])
"""


def _imported(gateways: str) -> str:
    shown = subprocess.run([sys.executable, "-c", SHOW % gateways], capture_output=True, text=True, check=True)
    return shown.stdout.strip()


def test_a_plain_server_imports_no_gateway() -> None:
    assert _imported("") == "[]"
    assert "mcp_actors.gateways.peerjs.endpoint" in _imported("peerjs")
    assert "y_webrtc" not in _imported("peerjs")
    assert "mcp_actors.gateways.y_webrtc.endpoint" in _imported("y-webrtc")


def test_the_rooms_of_gateways_have_the_rules_of_the_settings() -> None:
    peerjs, topic = RoomId("peerjs:k"), RoomId("y-webrtc:notes")
    plain = special_rooms(load(environ={}))
    assert plain.find(peerjs) is plain.find(topic) is None
    settings = {"gateways": "peerjs", "peerjs_key": "k", "max_peerjs_peers": 7, "peerjs_expire_timeout": 3.0}
    book = special_rooms(load(overrides=settings, environ={}))
    assert book.find(RoomId("peerjs:other")) is book.find(topic) is None
    rules = book.find(peerjs)
    assert rules is not None
    assert (rules.capacity, rules.silent, rules.patience) == (7, True, 3.0)


def test_every_topic_is_a_room_with_the_capacity_of_rooms() -> None:
    book = special_rooms(load(overrides={"gateways": "y-webrtc", "max_room_members": 9}, environ={}))
    for room in ("y-webrtc:notes", "y-webrtc-sha256:abc"):
        rules = book.find(RoomId(room))
        assert rules is not None
        assert (rules.capacity, rules.silent, rules.named) == (9, True, True)
    assert book.find(RoomId("y-webrtc")) is book.find(RoomId("peerjs:peerjs")) is None


def test_the_demo_page_names_the_gateways_that_are_on() -> None:
    def announced(gateways: str) -> str:
        return announced_gateways(load(overrides={"gateways": gateways, "peerjs_path": "/app"}, environ={}).gateways)

    assert announced("") == ""
    assert announced("y-webrtc") == "This server also serves clients of y-webrtc and trystero at /ws/y-webrtc/."
    both = "This server also serves clients of PeerJS at /app, and of y-webrtc and trystero at /ws/y-webrtc/."
    assert announced("y-webrtc,peerjs") == both
