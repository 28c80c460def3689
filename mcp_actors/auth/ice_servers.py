"""The ICE servers that a peer is told: those of the settings or of its grant, and TURN servers with new credentials."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import UNSET, UnsetType

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mcp_actors.auth.grants import Grant
    from mcp_actors.auth.turn import TurnServers


class IceServerList(NamedTuple):
    """RTCIceServer objects; `expire_in`: the seconds until their credentials end, unset if they do not."""

    servers: Sequence[dict[str, Any]] = ()
    expire_in: int | UnsetType = UNSET


class IceServerSource:
    """The ICE servers of a deployment: `fixed` ones, and `turn`, whose credentials are made for each peer."""

    def __init__(
        self,
        fixed: Sequence[dict[str, Any]] = (),
        turn: TurnServers | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._fixed = fixed
        self._turn = turn
        self._clock = clock

    def servers_for(self, grant: Grant | None, turn_user: str | None) -> IceServerList:
        """Return the servers for a peer. `turn_user`: the user of its credentials, None if it gets none."""
        servers = self._fixed if grant is None or grant.ice_servers is None else grant.ice_servers
        if self._turn is None or turn_user is None:
            return IceServerList(servers)
        return IceServerList([*servers, self._turn.ice_server(turn_user, self._clock())], self._turn.ttl)
