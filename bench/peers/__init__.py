"""The contenders: servers to compare with, each a small relay written as the documentation of its library teaches."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from bench.contender import Contender, ours
from bench.dialects import BENCH_KEY
from bench.operated import operated
from bench.peers import npm
from bench.spanning import Spanning, no_engine, spanning, supervised

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

HERE = Path(__file__).parent


def _python(script: str, *arguments: str) -> partial[list[str]]:
    return partial(lambda port: [sys.executable, str(HERE / script), str(port), *arguments])


def _node(script: str) -> partial[list[str]]:
    return partial(lambda port: ["node", str(npm.script(script)), str(port)])


def _spanning(name: str, about: str, script: str, *modules: str, dialect: str = "peers") -> Spanning:
    return Spanning(name, about, _python(script), _absent(*modules), dialect, None)


def _absent(*modules: str) -> Callable[[], str | None]:
    return lambda: no_engine() or _not_installed(modules)


def _needs(*modules: str) -> partial[str | None]:
    return partial(_not_installed, modules)


def _not_installed(modules: tuple[str, ...]) -> str | None:
    absent = [module for module in modules if find_spec(module) is None]
    return f"{', '.join(absent)} is not installed: pip install -e '.[bench]'" if absent else None


OURS = ours()

SESSIONLESS = {"MCP_ACTORS_RESUME_WINDOW": "0"}
GUARDED = {"MCP_ACTORS_AUTH": "required", "MCP_ACTORS_SECRET_KEY": BENCH_KEY}
RATES = (
    *("CONNECTION_MESSAGE", "CONNECTION_BYTE", "CONNECTION_JOIN"),
    *("ADDRESS_MESSAGE", "ADDRESS_BYTE", "ADDRESS_JOIN", "ADDRESS_CONNECTION"),
)
BOUNDS = (
    *("MAX_ADDRESS_CONNECTIONS", "MAX_ADDRESS_HANDSHAKES", "MAX_SLOWED_SECONDS", "MAX_REFUSED_MESSAGES"),
    *("FIRST_MESSAGE_TIMEOUT", "IDLE_TIMEOUT"),
)
GATEWAY = {"MCP_ACTORS_GATEWAYS": "peerjs"}
Y_GATEWAY = {"MCP_ACTORS_GATEWAYS": "y-webrtc"}
UNGUARDED = {f"MCP_ACTORS_{name}_RATE": "0" for name in RATES} | {f"MCP_ACTORS_{name}": "0" for name in BOUNDS}


def _variant(name: str, about: str, settings: Mapping[str, str]) -> Contender:
    return replace(OURS, name=name, about=about).with_environment(settings)


def _in_uvicorn(port: int) -> list[str]:
    options = ("--loop", "uvloop", "--ws", "websockets-sansio", "--ws-per-message-deflate", "false")
    quiet = ("--log-level", "warning", "--no-access-log")
    serve = ("-m", "uvicorn", "mcp_actors.asgi:application", "--host", "127.0.0.1", "--port", str(port))
    return [sys.executable, *serve, *options, *quiet]


_PEERS = (
    replace(
        OURS,
        name="asgi",
        about="this server in uvicorn, on uvloop",
        command=_in_uvicorn,
        missing=_needs("uvicorn", "websockets", "uvloop"),
    ),
    _variant("sessionless", "this server, without sessions: clients cannot resume", SESSIONLESS),
    replace(_variant("guarded", "this server, with access tokens required", GUARDED), dialect="guarded", users=None),
    operated(OURS),
    _variant("unguarded", "this server, without rate limits and deadlines", UNGUARDED),
    Contender("tornado", "Tornado's own handlers, on asyncio's loop", _python("tornado_stock.py")),
    Contender(
        "tornado-uvloop", "Tornado's own handlers, on uvloop", _python("tornado_stock.py", "uvloop"), _needs("uvloop")
    ),
    Contender("websockets", "websockets, on uvloop", _python("websockets_relay.py"), _needs("websockets", "uvloop")),
    Contender("picows", "picows, WebSockets in C, on uvloop", _python("picows_relay.py"), _needs("picows", "uvloop")),
    Contender("ws", "Node's ws", _node("ws_relay.mjs"), npm.missing),
    replace(_variant("gateway", "this server, with clients of PeerJS", GATEWAY), dialect="peerjs", users=None),
    Contender("peerjs", "the PeerJS server", _node("peerjs.mjs"), npm.missing, "peerjs", None),
    replace(_variant("y-gateway", "this server, with clients of y-webrtc", Y_GATEWAY), dialect="y-webrtc", users=None),
    Contender("y-webrtc", "the y-webrtc server", _node("y_webrtc.mjs"), npm.missing, "y-webrtc", None),
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

_SPANNING = (
    *supervised(OURS),
    _spanning("pubsub", "Redis pub/sub, a PUBLISH per message", "pubsub_relay.py", "redis", "uvloop", "websockets"),
    _spanning(
        *("channels-redis", "Channels with channels_redis", "channels_redis_relay.py"),
        *("channels", "channels_redis", "django", "uvicorn"),
    ),
    _spanning(
        *("socketio-redis", "python-socketio with AsyncRedisManager", "socketio_redis_relay.py"),
        *("redis", "socketio", "uvicorn"),
        dialect="socketio",
    ),
    Spanning(
        *("channels-groups", "Channels with channels_redis, a group for each peer"),
        _python("channels_redis_relay.py", "groups"),
        _absent("channels", "channels_redis", "django", "uvicorn"),
        users=None,
    ),
    Spanning(
        *("socket.io-streams", "Node's Socket.IO with its Redis Streams adapter"),
        _node("socketio_streams.mjs"),
        lambda: no_engine() or npm.missing(),
        "socketio",
        None,
    ),
)

PEERS: dict[str, Contender] = {peer.name: peer for peer in _PEERS}
"""The contenders by the name that --against takes."""

OURS_SPANNING = (
    spanning(OURS),
    replace(OURS, name="in-process", about="this server, in one process without Redis"),
)
SPANNING: dict[str, Contender] = {peer.name: peer for peer in _SPANNING}
"""The contenders of `relay --processes 2` by the name that --against takes; each is two processes that share Redis."""
