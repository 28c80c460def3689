"""Judge a client by the requirements of the protocol; the exit status is 1 if it breaks one."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from functools import partial

from mcp_actors.conformance.clients import checks  # noqa: F401 - they register themselves
from mcp_actors.conformance.clients.adapter import ProcessAdapter
from mcp_actors.conformance.clients.registry import chosen
from mcp_actors.conformance.clients.runner import Verdict, judge
from mcp_actors.conformance.clients.server import PATIENCE


def main(arguments: list[str] | None = None) -> int:
    """Judge a client; return the exit status."""
    options = parser().parse_args(arguments)
    requirements = chosen(options.only)
    if not requirements:
        sys.stderr.write(f"No requirement is called {' or '.join(options.only)}.\n")
        return 2
    verdicts = asyncio.run(judge(partial(ProcessAdapter, options.command), requirements, options.patience))
    text = json.dumps([one._asdict() for one in verdicts], indent=2) if options.json else report(verdicts)
    sys.stdout.write(text + "\n")
    return int(not all(one.kept for one in verdicts))


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m mcp_actors.conformance client", description=__doc__)
    parser.add_argument(
        "--only", action="append", default=[], metavar="ID", help="such as CLOSE-1, or CLOSE for all of these"
    )
    patience = "how long a check waits for what a client must do (default: %(default)s)"
    parser.add_argument("--patience", type=float, default=PATIENCE, metavar="SECONDS", help=patience)
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    parser.add_argument("command", nargs="+", help="starts the adapter of the client, after --")
    return parser


def report(verdicts: list[Verdict]) -> str:
    """The verdicts as text."""
    lines = []
    for one in verdicts:
        lines.append(f"{'kept' if one.kept else 'BROKEN':<8} {one.id:<10} {one.text}")
        if not one.kept:
            lines.append(f"{'':19} {one.why}. See {one.section!r} in PROTOCOL.md.")
            lines += [f"{'':19} {line}" for line in one.transcript]
    return "\n".join([*lines, "", f"{len(verdicts)} requirements: {sum(one.kept for one in verdicts)} kept"])


if __name__ == "__main__":
    sys.exit(main())
