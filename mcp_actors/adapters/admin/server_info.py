"""This process: /api/v1/server."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from mcp_actors.adapters.admin.api_page import Operation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mcp_actors.adapters.admin.api_page import Call


class ServerInfo(Struct, frozen=True, kw_only=True):
    """The process that answers.

    `problem`: why it takes no joins; null if it does. `sessions` counts those that can be resumed here; `detached`
    those of them that wait for their clients. `rooms`: with members at this process. `broker`: figures of what
    connects processes. `settings`: those that are numbers, switches or choices.
    """

    version: str
    node: str
    uptime_seconds: float
    problem: str | None
    connections: int
    sessions: int
    detached: int
    rooms: int
    broker: dict[str, Any]
    settings: dict[str, bool | int | float | str]


class ServerInfoResource:
    """`figures` returns all but the first four fields of `ServerInfo` and the last."""

    def __init__(
        self,
        version: str,
        node: str,
        settings: Mapping[str, bool | int | float | str],
        figures: Callable[[], dict[str, Any]],
    ) -> None:
        self._version = version
        self._node = node
        self._settings = dict(settings)
        self._figures = figures
        self._started = time.monotonic()

    @property
    def operations(self) -> dict[str, Operation]:
        """The operations of /server."""
        return {"GET": Operation("Describe the process that answers", self._describe, ServerInfo)}

    async def _describe(self, _call: Call) -> ServerInfo:
        uptime = round(time.monotonic() - self._started, 3)
        return ServerInfo(
            version=self._version, node=self._node, uptime_seconds=uptime, settings=self._settings, **self._figures()
        )
