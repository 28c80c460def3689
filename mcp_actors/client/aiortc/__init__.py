"""A mesh of RTCPeerConnections of aiortc; the extra `aiortc` installs what it needs.

    async with connect("ws://localhost:8000") as server:
        await Mesh(await server.join("team-1"), prepare).run()

`prepare(peer_id, connection)` adds tracks, handlers and data channels to each new connection. PROTOCOL.md describes how
both sides of a pair notice that it is broken, and heal it.
"""

from mcp_actors.client.aiortc.diagnosis import Reason
from mcp_actors.client.aiortc.mesh import Mesh, MeshEvent
from mcp_actors.client.aiortc.pair import Prepare
from mcp_actors.client.aiortc.pair_events import PairConnected, PairEvent, PairFailed, PairHealed

__all__ = ["Mesh", "MeshEvent", "PairConnected", "PairEvent", "PairFailed", "PairHealed", "Prepare", "Reason"]
