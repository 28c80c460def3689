"""The command line: `serve`, `token`, `secret`, `settings`, `watch`, `probe` and `mcp`."""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import sys
import time
import uuid
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from msgspec.structs import replace

from mcp_actors import __version__, logs, systemd
from mcp_actors.adapters.tornado.http_server import allow_many_files
from mcp_actors.app import StartError
from mcp_actors.auth import secret
from mcp_actors.auth.grants import DEFAULT_PERMISSIONS, Permission
from mcp_actors.client_commands import SERVER, add_probe, add_watch
from mcp_actors.compiled import variant
from mcp_actors.environment import load
from mcp_actors.listening import Place, adopt, most_open
from mcp_actors.protocol.identifiers import id_problem
from mcp_actors.reloading import Reloading, level_of
from mcp_actors.server import Server
from mcp_actors.settings import SettingsError
from mcp_actors.supervisor import serve

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from mcp_actors.auth.tokens import Key
    from mcp_actors.settings import Settings

try:
    from uvloop import run as run_loop
except ImportError:  # uvloop is not available everywhere; asyncio's own loop is slower
    run_loop: Callable[[Coroutine[object, object, None]], None] = asyncio.run  # type: ignore[no-redef]

EPILOG = """\
Examples:
  mcp-actors                            serve on http://localhost:8000; open it in two tabs
  mcp-actors serve --port 9000          ... on another port
  mcp-actors serve --host 0.0.0.0       ... for other machines too
  mcp-actors serve --processes 4        ... with four processes that share rooms through the Redis of REDIS_URL
  mcp-actors serve --host unix:/run/mcp-actors/signaling.sock
                                        ... at a Unix socket, for a proxy on this machine
  mcp-actors serve --settings FILE      ... with a settings file: lines of NAME=value
  mcp-actors secret                     print a new secret for MCP_ACTORS_SECRET_KEY
  mcp-actors token --sub alice --room 'team-*' --ttl 1h
                                        print an access token for a server with MCP_ACTORS_AUTH=required
  mcp-actors settings                   print every setting at its default, with an explanation
  mcp-actors watch team-1               show who comes and goes in a room of a running server
  mcp-actors probe http://localhost:8000
                                        say what works of a server, from here: the first thing to try when it does not
  mcp-actors mcp http://localhost:8000  let an agent in whose host starts a command (Model Context Protocol over stdio)

Every setting is an environment variable MCP_ACTORS_<NAME>, or a line of `.env` in the working directory or of the
settings file. {protocol} documents the protocol.
"""

SUCCESS, FAILURE, USAGE = 0, 1, 2

MAX_TTL = 366 * 86_400
"""The longest lifetime of a token in seconds, and of a revocation."""

_DURATION = re.compile(r"([1-9][0-9]{0,8})([smhd]?)")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status: 0, 1 if the server cannot start, 2 for a wrong setting or argument."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or (words[0].startswith("-") and words[0] not in ("-h", "--help", "--version")):
        words.insert(0, "serve")
    options = parser().parse_args(words)
    try:
        return int(options.command(options))
    except SettingsError as error:
        _complain(str(error))
        return USAGE
    except StartError as error:
        _complain(str(error))
        return FAILURE


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="mcp-actors",
        description="A signaling server for WebRTC: peers meet in rooms and exchange offers, answers and candidates.",
        epilog=EPILOG.format(protocol=files("mcp_actors") / "protocol" / "PROTOCOL.md"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"mcp_actors {__version__} ({variant()})")
    commands = parser.add_subparsers(metavar="[COMMAND]", title="commands")
    _add_serve(commands.add_parser("serve", help="run the server (the default command)"))
    _add_token(commands.add_parser("token", help="print an access token for a server with MCP_ACTORS_AUTH"))
    commands.add_parser("secret", help="print a new secret for MCP_ACTORS_SECRET_KEY").set_defaults(command=_secret)
    _add_mcp(
        commands.add_parser("mcp", help="carry the Model Context Protocol from standard input to a running server")
    )
    add_watch(commands.add_parser("watch", help="show what happens in a room of a running server"))
    add_probe(commands.add_parser("probe", help="check a running server and its TURN servers from here"))
    commands.add_parser("settings", help="print and explain every setting").set_defaults(command=_explain_settings)
    return parser


def _add_serve(command: argparse.ArgumentParser) -> None:
    command.set_defaults(command=_serve)
    command.add_argument(
        "--host", help="name or address to listen on, or unix:PATH (default: localhost; 0.0.0.0 for all interfaces)"
    )
    command.add_argument("--port", help="port to listen on (default: 8000; 0 lets the system choose)")
    command.add_argument("--processes", help="number of processes on this port (default: 1; more need REDIS_URL)")
    command.add_argument("--settings", type=Path, metavar="FILE", help="a settings file: lines of NAME=value")
    command.add_argument(
        "--echo", action="store_true", default=None, help="serve /echo too, which returns every message (16 MiB limit)"
    )


def _add_token(command: argparse.ArgumentParser) -> None:
    default = ",".join(sorted(DEFAULT_PERMISSIONS))
    command.set_defaults(command=_token)
    command.add_argument("--sub", required=True, help="the peer_id and user_id of the client")
    command.add_argument(
        "--room",
        action="append",
        metavar="NAME",
        help="a room, or a pattern such as 'team-*' in quotes, where a backslash escapes * and ?; "
        "may be repeated (default: all rooms)",
    )
    command.add_argument("--ttl", default="1h", help="lifetime, such as 30s, 15m, 1h or 7d (default: 1h)")
    command.add_argument(
        "--can", default=default, help=f"any of {', '.join(Permission)}, separated by commas (default: {default})"
    )
    command.add_argument("--key", type=Path, metavar="FILE", help="private key in PEM format (default: the secret)")
    command.add_argument("--kid", help="the name of that key in the server's JWKS file")
    command.add_argument("--settings", type=Path, metavar="FILE", help="the settings file of the server")


def _add_mcp(command: argparse.ArgumentParser) -> None:
    command.set_defaults(command=_mcp)
    command.add_argument("url", nargs="?", default=SERVER, help=f"of a server with MCP_ACTORS_MCP (default: {SERVER})")
    command.add_argument("--token", help="an access token (default: MCP_ACTORS_TOKEN of the environment)")


def _mcp(options: argparse.Namespace) -> int:
    """Carry messages until the host ends them."""
    from mcp_actors.adapters.tornado.stdio_proxy import ProxyError, carry_stdio  # noqa: PLC0415 - only for hosts

    token = options.token or os.environ.get("MCP_ACTORS_TOKEN", "")
    try:
        run_loop(carry_stdio(options.url, token))
    except ProxyError as error:
        _complain(str(error))
        return FAILURE
    except KeyboardInterrupt:
        pass
    return SUCCESS


def _serve(options: argparse.Namespace) -> int:
    """Serve until a signal; return the exit status. Raises `SettingsError` and `StartError`."""
    overrides = {name: getattr(options, name) for name in ("host", "port", "processes", "echo")}
    sockets, manager = [adopt(each) for each in systemd.take_sockets()], systemd.ServiceManager.take()
    places = [Place.of(each) for each in sockets]

    def read() -> Settings:
        return _at(load(options.settings, overrides), places)

    settings = read()
    server = settings.server
    secret.check(settings, local=secret.is_for_this_machine(server))
    control = logs.set_up(level_of(settings), server.log_format, server.access_log_rate)
    reloading = Reloading(read, settings, control)
    for name in settings.obsolete:
        structlog.get_logger("mcp_actors").warning("setting no longer exists and has no effect", setting=name)
    allow_many_files()
    if server.processes > 1:
        return serve(
            settings,
            run_loop,
            announce=_announce,
            complain=_complain,
            sockets=sockets,
            manager=manager,
            reloading=reloading,
        )
    run_loop(Server(settings, sockets, manager, reloading=reloading).run(_announce))
    return SUCCESS


def _at(settings: Settings, places: Sequence[Place]) -> Settings:
    """Return the settings for sockets that listen at these places already, if there are any."""
    if not places:
        return settings
    return replace(settings, server=replace(settings.server, **most_open(places)._asdict()))


def _announce(greeting: str) -> None:
    print(greeting, flush=True)


def _complain(why: str) -> None:
    print(f"mcp-actors: {why}", file=sys.stderr)


def _secret(_options: argparse.Namespace) -> int:
    print(secret.make())
    return SUCCESS


def _explain_settings(_options: argparse.Namespace) -> int:
    print((files("mcp_actors") / "development.env").read_text(encoding="utf-8"), end="")
    return SUCCESS


def _token(options: argparse.Namespace) -> int:
    """Print a token. Raises `SettingsError`."""
    from mcp_actors.auth.tokens import KeyFileError, mint  # noqa: PLC0415 - slow to import; `serve` may not need it

    settings = load(options.settings)
    try:
        key = _signing_key(settings, options.key)
    except KeyFileError as error:
        raise SettingsError(f"--key is {str(options.key)!r}, and {error}.") from None
    print(mint(key, _claims(options, settings, int(time.time())), options.kid))
    return SUCCESS


def _signing_key(settings: Settings, file: Path | None) -> Key:
    from mcp_actors.auth.tokens import read_private_key, secret_key  # noqa: PLC0415 - the same

    if file is not None:
        return read_private_key(file)
    if settings.auth.key_file:
        raise SettingsError("The server checks tokens with MCP_ACTORS_AUTH_KEY_FILE; name its private key with --key.")
    if settings.auth.jwks_url:
        keys = "the keys at MCP_ACTORS_AUTH_JWKS_URL"
        raise SettingsError(f"The server checks tokens with {keys}; name a private key with --key.")
    if not settings.server.secret_key:
        problem = "MCP_ACTORS_SECRET_KEY is not set, but it signs tokens. Set it to the output of `mcp-actors secret`,"
        raise SettingsError(f"{problem} here and where the server runs.")
    return secret_key(settings.server.secret_key)


def _claims(options: argparse.Namespace, settings: Settings, now: int) -> dict[str, Any]:
    problem = id_problem(options.sub, settings.connections.max_id_length)
    if problem is not None:
        raise SettingsError(f"--sub {problem}.")
    claims = {
        "sub": options.sub,
        "jti": uuid.uuid4().hex,
        "iat": now,
        "exp": now + _seconds(options.ttl),
        "can": _permissions(options.can),
        "rooms": options.room,
        "aud": settings.auth.audience or None,
        "iss": settings.auth.issuer or None,
    }
    return {name: value for name, value in claims.items() if value is not None}


def _seconds(text: str) -> int:
    match = _DURATION.fullmatch(text)
    seconds = int(match[1]) * _UNITS[match[2]] if match else 0
    if not 0 < seconds <= MAX_TTL:
        raise SettingsError(f"--ttl is {text!r}, which is not valid: the maximum is 366d. Example: 1h")
    return seconds


def _permissions(text: str) -> list[str]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    unknown = [word for word in words if word not in set(Permission)]
    if unknown:
        raise SettingsError(f"--can has {unknown[0]!r}, which is not one of {', '.join(Permission)}.")
    return words
