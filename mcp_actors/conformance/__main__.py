"""Judge a server by the requirements of the protocol; the exit status is 1 if it breaks one."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import Counter
from dataclasses import asdict

from mcp_actors.conformance import checks  # noqa: F401 - they register themselves
from mcp_actors.conformance.clients.__main__ import main as client_main
from mcp_actors.conformance.runner import Outcome, Verdict, chosen, judge
from mcp_actors.conformance.target import Target

SHOWN_LINES = 12


def main(arguments: list[str] | None = None) -> int:
    """Judge a server, or after the word `client` a client; return the exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["client"]:
        return client_main(given[1:])
    options = parser().parse_args(given)
    requirements = chosen(options.only)
    if not requirements:
        sys.stderr.write(f"No requirement is called {' or '.join(options.only)}.\n")
        return 2
    verdicts = asyncio.run(judge(Target(options.url, options.other, options.secret), requirements))
    text = json.dumps([asdict(one) for one in verdicts], indent=2) if options.json else report(verdicts)
    sys.stdout.write(text + "\n")
    return int(any(one.outcome is Outcome.BROKEN for one in verdicts))


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m mcp_actors.conformance", description=__doc__)
    parser.add_argument("url", help="of the server, such as http://localhost:8000")
    parser.add_argument("--other", default="", metavar="URL", help="another process that serves the same rooms")
    parser.add_argument("--secret", default="", help="what signs access tokens (HS256), for checks of tokens")
    parser.add_argument(
        "--only", action="append", default=[], metavar="ID", help="such as JOIN-1, or JOIN for all of these"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    return parser


def report(verdicts: list[Verdict]) -> str:
    """The verdicts as text."""
    lines = []
    for one in verdicts:
        lines.append(
            f"{one.outcome:<8} {one.id:<9} {one.text}" + (f" ({one.why})" if one.outcome is Outcome.SKIPPED else "")
        )
        if one.outcome is Outcome.BROKEN:
            lines.append(f"{'':19}{one.why}")
            for number, transcript in enumerate(one.transcript, 1):
                lines += [f"{'':19}client {number} {line}" for line in transcript[-SHOWN_LINES:]]
    counts = Counter(one.outcome for one in verdicts)
    lines.append("")
    lines.append(
        f"{len(verdicts)} requirements: " + ", ".join(f"{counts[one]} {one}" for one in Outcome if counts[one])
    )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
