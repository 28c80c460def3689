"""Offsets in the inboxes of nodes, as clients are told them: `<entry>.<index>@<node>`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from mcp_actors.protocol.identifiers import NodeId

END_OF_ENTRY = 999_999
"""As index: after all frames of the entry."""

TAG_LENGTH = 8
"""How many characters of a node's id an offset has: the random ones at its end."""


class Offset(NamedTuple):
    """A frame or change in an inbox: the parts of the entry's id, and the position in the entry."""

    milliseconds: int
    sequence: int
    position: int


def format_offset(entry: bytes, index: int, node: NodeId) -> bytes:
    """An offset as clients are told it."""
    return b"%b.%d@%b" % (entry, index, node[-TAG_LENGTH:].encode())


def parse_offset(text: str, node: NodeId) -> Offset | None:
    """An offset in the inbox of that node; None if the text is something else."""
    where, _, tag = text.partition("@")
    entry, _, index = where.partition(".")
    parts = (*entry.partition("-")[::2], index)
    if tag != node[-TAG_LENGTH:] or not all(part.isdecimal() for part in parts):
        return None
    return Offset(*map(int, parts))
