"""The clients of a trial, by contender: each does what the client of its library does when a connection is lost."""

from __future__ import annotations

from functools import partial
from math import log10
from typing import TYPE_CHECKING

from bench.dialects import DIALECTS
from bench.signaling.clients.node_clients import NodeClients
from bench.signaling.clients.our_clients import OurClients
from bench.signaling.clients.python_socketio_clients import PythonSocketIoClients
from bench.signaling.clients.redialing_clients import RedialingClients

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.signaling.clients.clients import Clients

Y_BASE, Y_MOST = 1.2, 2.5


def _peerjs_pause(failures: int) -> float:
    """An application's: PeerJS does not reconnect by itself, but tells at once that it is disconnected."""
    return 1.0 if failures else 0.0


def _plain_pause(_failures: int) -> float:
    """An application's: a plain WebSocket does not reconnect by itself."""
    return 1.0


def _y_webrtc_pause(failures: int) -> float:
    """That of the WebSocket client of lib0, which y-webrtc uses."""
    return min(log10(failures + 1) * Y_BASE, Y_MOST)


CLIENTS: dict[str, Callable[..., Clients]] = {
    "mcp_actors": OurClients,
    "mcp_actors-redis": OurClients,
    "peerjs": partial(RedialingClients, dialect=DIALECTS["peerjs"], pause=_peerjs_pause),
    "socket.io-streams": NodeClients,
    "socketio-redis": PythonSocketIoClients,
    "channels-groups": partial(RedialingClients, dialect=DIALECTS["peers"], pause=_plain_pause),
    "y-webrtc": partial(RedialingClients, dialect=DIALECTS["y-webrtc"], pause=_y_webrtc_pause),
}
