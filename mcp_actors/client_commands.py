"""The commands for people who use a running server: `watch` and `probe`. Extras install what they need."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from mcp_actors import __version__

if TYPE_CHECKING:
    import argparse
    from collections.abc import Coroutine

SERVER = "http://localhost:8000"
"""The server that commands connect to."""

TOKEN = "MCP_ACTORS_TOKEN"  # noqa: S105 - the name of a variable

EXTRA_MODULES = frozenset({"websockets", "aiortc", "aioice"})
"""What the extras `client` and `aiortc` install."""

SUCCESS, FAILURE, USAGE = 0, 1, 2


def add_watch(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `watch`."""
    command.set_defaults(command=_watch)
    command.description = (
        "Show who comes and goes in a room until Ctrl-C. Others see the watcher as a peer that answers no offers. The "
        "signals that they send to it are shown by type and size. With --user it is a user, who sees messages of users."
    )
    command.add_argument("room", help="the name of the room")
    command.add_argument("--url", default=SERVER, help=f"of the server (default: {SERVER})")
    command.add_argument("--token", help="an access token (default: MCP_ACTORS_TOKEN of the environment)")
    command.add_argument("--user", action="store_true", help="enter as a user, at /ws/mcp/")


def add_probe(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `probe`."""
    command.set_defaults(command=_probe)
    command.description = (
        "Check what works from here: reaching the server, signaling, resuming, data channels, and each STUN and TURN "
        "server. Two peers enter a room for a moment. Exits with 1 if something fails."
    )
    command.add_argument("url", nargs="?", default=SERVER, help=f"of the server (default: {SERVER})")
    command.add_argument(
        "--token",
        action="append",
        help="an access token; give two, of two people, for all checks (default: MCP_ACTORS_TOKEN of the environment)",
    )
    command.add_argument("--room", help="a room that the tokens allow (default: one with a random name)")
    command.add_argument("--json", action="store_true", help="print JSON, for programs")


def _watch(options: argparse.Namespace) -> int:
    """Print lines until Ctrl-C, or the room ends; return 1 if the connection does, or cannot be made."""
    try:
        from mcp_actors.client import SignalingError  # noqa: PLC0415 - an extra
        from mcp_actors.watch import Watched, watch  # noqa: PLC0415 - the same
        from mcp_actors.watch.close_text import close_text  # noqa: PLC0415 - the same
    except ModuleNotFoundError as error:
        return _lacks(error, "client")
    watched = Watched(
        _with_scheme(options.url), options.room, options.token or os.environ.get(TOKEN), as_user=options.user
    )
    try:
        asyncio.run(_until_stopped(watch(watched, _say)))
    except SignalingError as error:
        _complain(close_text(error))
        return FAILURE
    except BrokenPipeError:  # as of `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return SUCCESS


async def _until_stopped(coroutine: Coroutine[object, object, None]) -> None:
    """Run a coroutine, and cancel it at Ctrl-C or SIGTERM, so that it leaves its room."""
    task = asyncio.ensure_future(coroutine)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with suppress(asyncio.CancelledError):
        await task


def _probe(options: argparse.Namespace) -> int:
    """Print a report; return 1 if something fails."""
    try:
        from mcp_actors.probe import Target, probe  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        return _lacks(error, "aiortc")
    tokens = options.token or [token for token in [os.environ.get(TOKEN)] if token]
    try:
        report = asyncio.run(probe(Target(_with_scheme(options.url), tuple(tokens), options.room)))
    except KeyboardInterrupt:
        return FAILURE
    print(report.as_json() if options.json else report.as_text())
    return FAILURE if report.has_failed else SUCCESS


def _lacks(error: ModuleNotFoundError, extra: str) -> int:
    """Explain that an extra is not installed. Raises other errors again."""
    if error.name is None or error.name.partition(".")[0] not in EXTRA_MODULES:
        raise error
    _complain(
        f"this command needs {error.name}. Install the extra `{extra}`, in a clone with pip install '.[{extra}]', or "
        f"with a wheel in place of the dot: pip install 'mcp_actors-{__version__}-py3-none-any.whl[{extra}]'"
    )
    return USAGE


def _with_scheme(url: str) -> str:
    return url if "://" in url else f"http://{url}"


def _say(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, flush=True)


def _complain(why: str) -> None:
    print(f"mcp-actors: {why}", file=sys.stderr)
