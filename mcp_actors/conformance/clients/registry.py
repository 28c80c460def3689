"""The requirements of a client, each with its check."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from mcp_actors.conformance.clients.scene import Scene

Check = Callable[["Scene"], Awaitable[None]]
"""Raises `Failed`."""


class Requirement(NamedTuple):
    """A sentence of PROTOCOL.md. `section`: the heading under which it is."""

    id: str
    text: str
    section: str
    check: Check


REQUIREMENTS: dict[str, Requirement] = {}


def requirement(name: str, text: str, section: str) -> Callable[[Check], Check]:
    """Register the check of a requirement."""

    def register(check: Check) -> Check:
        REQUIREMENTS[name] = Requirement(name, text, section, check)
        return check

    return register


def chosen(only: list[str]) -> list[Requirement]:
    """The requirements with these ids, or subjects of ids such as CLOSE; all of them if there are none."""
    return [one for one in REQUIREMENTS.values() if not only or one.id in only or one.id.partition("-")[0] in only]
