"""The processes of the cluster: /api/v1/nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from mcp_actors.adapters.admin.api_page import Operation

if TYPE_CHECKING:
    from mcp_actors.adapters.admin.api_page import Call
    from mcp_actors.broker.administration import Administration


class NodeEntry(Struct, frozen=True):
    """A process. `answers`: it is the one that answers this request.

    `alive`: it was not declared dead. `lease_seconds`: the time after which it is, unless it reports before; null if it
    is dead, or has no lease because no Redis connects it to others.
    """

    node: str
    answers: bool
    alive: bool
    lease_seconds: float | None


class NodeList(Struct, frozen=True):
    """All processes that share rooms, by their ids."""

    nodes: list[NodeEntry]


class Nodes:
    """The processes, of which this one is `node`."""

    def __init__(self, administration: Administration, node: str) -> None:
        self._administration = administration
        self._node = node

    @property
    def operations(self) -> dict[str, Operation]:
        """The operations of /nodes."""
        return {"GET": Operation("List the processes of the cluster", self._list, NodeList)}

    async def _list(self, _call: Call) -> NodeList:
        found = await self._administration.nodes()
        if not found:
            return NodeList([NodeEntry(self._node, answers=True, alive=True, lease_seconds=None)])
        return NodeList(
            [
                NodeEntry(
                    one.node,
                    one.node == self._node,
                    one.lease_seconds is not None,
                    None if one.lease_seconds is None else round(one.lease_seconds, 3),
                )
                for one in found
            ]
        )
