"""The requirements of a server, each with its check."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from mcp_actors.conformance.target import Target

Check = Callable[["Target", str], Awaitable[None]]
"""Called with the server, and the name of a room that nobody else uses; raises `Failed`."""


class Requirement(NamedTuple):
    """A sentence of PROTOCOL.md. `needs`: what its check needs beside the URL, such as "tokens"; or nothing."""

    id: str
    text: str
    check: Check
    needs: str


REQUIREMENTS: dict[str, Requirement] = {}


def requirement(name: str, text: str, needs: str = "") -> Callable[[Check], Check]:
    """Register the check of a requirement."""

    def register(check: Check) -> Check:
        REQUIREMENTS[name] = Requirement(name, text, check, needs)
        return check

    return register


def ordered() -> list[Requirement]:
    """All requirements by their ids, as people count."""

    def key(one: Requirement) -> tuple[str, int]:
        subject, _, number = one.id.rpartition("-")
        return subject, int(number)

    return sorted(REQUIREMENTS.values(), key=key)
