"""The wiring of gateways: which modules are imported, and the rules of their rooms."""

from __future__ import annotations

import subprocess
import sys

from mcp_actors.environment import load
from mcp_actors.gateway_setup import special_rooms

SHOW = """
import sys
from mcp_actors.app import App
from mcp_actors.environment import load
App(load(overrides={"gateways": %r}, environ={}))
print([name for name in sys.modules if "peerjs" in name])
"""


def _imported(gateways: str) -> str:
    shown = subprocess.run([sys.executable, "-c", SHOW % gateways], capture_output=True, text=True, check=True)
    return shown.stdout.strip()


def test_a_plain_server_imports_no_gateway() -> None:
    assert _imported("") == "[]"
    assert "mcp_actors.gateways.peerjs.endpoint" in _imported("peerjs")


def test_the_rooms_of_gateways_have_the_rules_of_the_settings() -> None:
    assert special_rooms(load(environ={}).gateways) == {}
    settings = {"gateways": "peerjs", "peerjs_key": "k", "max_peerjs_peers": 7, "peerjs_expire_timeout": 3.0}
    ((room, rules),) = special_rooms(load(overrides=settings, environ={}).gateways).items()
    assert room == "peerjs:k"
    assert (rules.capacity, rules.silent, rules.patience) == (7, True, 3.0)
