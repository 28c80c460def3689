"""The small commands beside `serve`: `token` mints an access token, `secret` makes a secret."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcp_actors import secret
from mcp_actors.config import SettingsError, load
from mcp_actors.protocol.grants import DEFAULT_PERMISSIONS, Permission
from mcp_actors.protocol.identifiers import id_problem

if TYPE_CHECKING:
    import argparse

    from mcp_actors.config import Settings
    from mcp_actors.tokens import Key

_DURATION = re.compile(r"([1-9][0-9]{0,8})([smhd]?)")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
LONGEST = 366 * 86_400
"""Seconds a token may be good for: nothing takes one back before."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands to the command line."""
    commands.add_parser("secret", help="print a new secret, for MCP_ACTORS_SECRET_KEY").set_defaults(command=_secret)
    token = commands.add_parser("token", help="print an access token, for a server with MCP_ACTORS_AUTH")
    token.set_defaults(command=_token)
    token.add_argument("--sub", required=True, help="who: the peer_id and user_id of whoever has the token")
    token.add_argument(
        "--room",
        action="append",
        metavar="NAME",
        help="a room, or rooms, such as 'team-*', in quotes; may be repeated (default: all rooms)",
    )
    token.add_argument("--ttl", default="1h", help="how long it is good, such as 30s, 15m, 1h or 7d (default: 1h)")
    words = ",".join(sorted(DEFAULT_PERMISSIONS))
    token.add_argument(
        "--can", default=words, help=f"of {', '.join(Permission)}, separated by commas (default: {words})"
    )
    token.add_argument(
        "--key", type=Path, metavar="FILE", help="the private key as PEM, if it is not the secret that signs"
    )
    token.add_argument("--kid", help="the name of that key in the server's JWKS file")
    token.add_argument("--settings", type=Path, metavar="FILE", help="the settings file of the server")


def _secret(_options: argparse.Namespace) -> None:
    print(secret.make())


def _token(options: argparse.Namespace) -> None:
    """Print a token. Raises `SettingsError`."""
    from mcp_actors.tokens import KeyFileError, mint  # noqa: PLC0415 - slow; `serve` has no need of it

    settings = load(options.settings)
    try:
        key = _key(settings, options.key)
    except KeyFileError as error:
        raise SettingsError(f"--key is {str(options.key)!r}, and {error}.") from None
    print(mint(key, _claims(options, settings, int(time.time())), options.kid))


def _key(settings: Settings, file: Path | None) -> Key:
    from mcp_actors.tokens import read_private_key, secret_key  # noqa: PLC0415 - the same

    if file is not None:
        return read_private_key(file)
    if settings.auth_key_file:
        raise SettingsError("The server checks tokens with MCP_ACTORS_AUTH_KEY_FILE; name its private key with --key.")
    if not settings.secret_key:
        text = "MCP_ACTORS_SECRET_KEY is not set, and signs tokens. Set it to what `mcp-actors secret` prints,"
        raise SettingsError(f"{text} here and where the server runs.")
    return secret_key(settings.secret_key)


def _claims(options: argparse.Namespace, settings: Settings, now: int) -> dict[str, Any]:
    problem = id_problem(options.sub, settings.max_id_length)
    if problem is not None:
        raise SettingsError(f"--sub {problem}.")
    claims: dict[str, Any] = {"sub": options.sub, "iat": now, "exp": now + _seconds(options.ttl)}
    claims["can"] = _permissions(options.can)
    if options.room is not None:
        claims["rooms"] = options.room
    if settings.auth_audience:
        claims["aud"] = settings.auth_audience
    if settings.auth_issuer:
        claims["iss"] = settings.auth_issuer
    return claims


def _seconds(text: str) -> int:
    match = _DURATION.fullmatch(text)
    seconds = int(match[1]) * _UNITS[match[2]] if match else 0
    if not 0 < seconds <= LONGEST:
        raise SettingsError(f"--ttl is {text!r}, which is wrong: it is at most 366d. An example: 1h")
    return seconds


def _permissions(text: str) -> list[str]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    unknown = [word for word in words if word not in set(Permission)]
    if unknown:
        raise SettingsError(f"--can has {unknown[0]!r}, which is none of {', '.join(Permission)}.")
    return words
