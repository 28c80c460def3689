"""The servers that are compared, each in its own documented setup."""

from __future__ import annotations

from dataclasses import replace

from bench.peers import OURS, PEERS, SPANNING
from bench.spanning import spanning

CONTENDERS = {
    one.name: one
    for one in (
        OURS,
        replace(spanning(OURS), name="mcp_actors-redis"),
        PEERS["peerjs"],
        SPANNING["socket.io-streams"],
        SPANNING["socketio-redis"],
        SPANNING["channels-groups"],
        PEERS["y-webrtc"],
    )
}
"""The contenders by name: those with a broker for several processes run as two, the others as one."""
