"""The table of the requirements of a server."""

from __future__ import annotations

from mcp_actors.conformance import checks  # noqa: F401 - they register the requirements
from mcp_actors.conformance.registry import ordered


def markdown() -> str:
    """The requirements as a table."""
    rows = [f"| `{one.id}` | {one.text} | {one.needs} |" for one in ordered()]
    return "\n".join(["| id | requirement | needs |", "|---|---|---|", *rows])
