"""The servers that are measured beside ours: each a small relay, written as its library's documentation teaches."""

from __future__ import annotations

import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from bench.contender import Contender, ours
from bench.peers import npm

HERE = Path(__file__).parent


def _python(script: str, *arguments: str) -> partial[list[str]]:
    return partial(lambda port: [sys.executable, str(HERE / script), str(port), *arguments])


def _node(script: str) -> partial[list[str]]:
    return partial(lambda port: ["node", str(npm.script(script)), str(port)])


def _needs(*modules: str) -> partial[str | None]:
    return partial(_lacking, modules)


def _lacking(modules: tuple[str, ...]) -> str | None:
    absent = [module for module in modules if find_spec(module) is None]
    return f"{', '.join(absent)} is not installed: pip install -e '.[bench]'" if absent else None


_PEERS = (
    Contender("tornado", "Tornado's own handlers, on asyncio's loop", _python("tornado_stock.py")),
    Contender("tornado-uvloop", "the same, on uvloop", _python("tornado_stock.py", "uvloop"), _needs("uvloop")),
    Contender("websockets", "websockets, on uvloop", _python("websockets_relay.py"), _needs("websockets", "uvloop")),
    Contender("picows", "WebSockets in C, on uvloop", _python("picows_relay.py"), _needs("picows", "uvloop")),
    Contender("ws", "Node's ws", _node("ws_relay.mjs"), npm.missing),
    Contender("peerjs", "the PeerJS server", _node("peerjs.mjs"), npm.missing, "peerjs", None),
    Contender(
        "socketio",
        "python-socketio in uvicorn",
        _python("socketio_relay.py"),
        _needs("socketio", "uvicorn"),
        "socketio",
        "socketio",
    ),
    Contender(
        "channels",
        "Django Channels in uvicorn",
        _python("channels_relay.py"),
        _needs("channels", "django", "uvicorn"),
    ),
)

OURS = ours()
PEERS: dict[str, Contender] = {peer.name: peer for peer in _PEERS}
"""By the name that --against takes."""
