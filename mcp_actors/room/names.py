"""The names that members of a room give themselves, apart from their ids."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from mcp_actors.protocol.identifiers import Incarnation


class Names:
    """The name of each member that has one: it has only one, and several members may have the same."""

    __slots__ = ("_holders", "_names")

    def __init__(self) -> None:
        self._names: dict[Incarnation, str] = {}
        self._holders: dict[str, dict[Incarnation, None]] = {}

    @property
    def size(self) -> tuple[int, int]:
        """The number of members that have a name, and of names."""
        return len(self._names), len(self._holders)

    def of(self, incarnation: Incarnation) -> str:
        """The name of a member; empty if it has none."""
        return self._names.get(incarnation, "")

    def holders(self, name: str) -> Collection[Incarnation]:
        """The members with a name."""
        return self._holders.get(name, ())

    def take(self, incarnation: Incarnation, name: str) -> None:
        """Give a member a name in place of the one that it has."""
        self.release(incarnation)
        self._names[incarnation] = name
        self._holders.setdefault(name, {})[incarnation] = None

    def release(self, incarnation: Incarnation) -> None:
        """Forget the name of a member, if it has one."""
        name = self._names.pop(incarnation, None)
        if name is None:
            return
        holders = self._holders[name]
        del holders[incarnation]
        if not holders:
            del self._holders[name]

    def clear(self) -> None:
        """Forget all names."""
        self._names.clear()
        self._holders.clear()
