"""The command line."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mcp_actors import __version__, commands, secret
from mcp_actors.app import App, StartError
from mcp_actors.config import SettingsError, load
from mcp_actors.logs import set_up
from mcp_actors.processes import serve

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

try:
    from uvloop import run as run_loop
except ImportError:  # where uvloop does not install, asyncio's own loop serves, slower
    run_loop: Callable[[Coroutine[object, object, None]], None] = asyncio.run  # type: ignore[no-redef]

EPILOG = """\
Try it:
  mcp-actors                            serve on http://localhost:8000; open it in two tabs
  mcp-actors serve --port 9000          ... on another port
  mcp-actors serve --host 0.0.0.0       ... to other machines too
  mcp-actors serve --processes 4        ... with four processes, which the Redis of REDIS_URL joins
  mcp-actors serve --settings FILE      ... with the settings of a file, such as settings/production.env
  mcp-actors secret                     print a secret, for MCP_ACTORS_SECRET_KEY
  mcp-actors token --sub alice --room 'team-*' --ttl 1h
                                        print an access token, for a server with MCP_ACTORS_AUTH=required

Every setting is an environment variable MCP_ACTORS_<NAME>, or a line of `.env` in the working directory, or of the
settings file; settings/development.env explains each. The wire protocol is in mcp_actors/protocol/PROTOCOL.md.
"""

USAGE, FAILURE = 2, 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status: 0, 1 if the server cannot start, 2 for a wrong setting or argument."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0].startswith("-") and words[0] not in ("-h", "--help", "--version"):
        words.insert(0, "serve")
    options = _parser().parse_args(words)
    overrides = {name: getattr(options, name, None) for name in ("host", "port", "processes", "echo")}
    try:
        if hasattr(options, "command"):
            options.command(options)
            return 0
        settings = load(getattr(options, "settings", None), overrides)
        secret.check(settings)
    except SettingsError as error:
        _complain(str(error))
        return USAGE
    set_up("debug" if settings.debug else settings.log_level, settings.log_format)
    try:
        if settings.processes > 1:
            return serve(settings, run_loop, announce=_announce, complain=_complain)
        run_loop(App(settings).run(_announce))
    except StartError as error:
        _complain(str(error))
        return FAILURE
    return 0


def _announce(greeting: str) -> None:
    print(greeting, flush=True)


def _complain(why: str) -> None:
    print(f"mcp-actors: {why}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mcp-actors",
        description="A signaling server for WebRTC: peers meet in rooms and exchange offers, answers and candidates.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"mcp_actors {__version__}")
    subparsers = parser.add_subparsers(metavar="[COMMAND]", title="commands")
    commands.add(subparsers)
    command = subparsers.add_parser("serve", help="run the server (what happens without a command, too)")
    command.add_argument("--host", help="name or address to listen on (default: localhost; 0.0.0.0 for all interfaces)")
    command.add_argument("--port", help="port to listen on (default: 8000; 0 lets the system choose)")
    command.add_argument("--processes", help="how many processes serve this port (default: 1; more need REDIS_URL)")
    command.add_argument("--settings", type=Path, metavar="FILE", help="a settings file: lines of NAME=value")
    command.add_argument(
        "--echo",
        action="store_true",
        default=None,
        help="serve /echo too, which sends back every message (16 MiB limit)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
