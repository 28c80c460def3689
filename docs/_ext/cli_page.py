"""The reference of the command line, from its own help."""

from __future__ import annotations

import argparse
import os
from unittest.mock import patch

from mcp_actors.cli import parser

WIDTH = "100"


def markdown() -> str:
    """The help of all commands as Markdown, in the order of the parser."""
    with patch.dict(os.environ, {"COLUMNS": WIDTH, "NO_COLOR": "1"}):
        commands = next(one for one in parser()._actions if isinstance(one, argparse._SubParsersAction))  # noqa: SLF001
        return "\n".join(
            f"## `mcp-actors {name}`\n\n```text\n{command.format_help().strip()}\n```\n"
            for name, command in commands.choices.items()
        )
