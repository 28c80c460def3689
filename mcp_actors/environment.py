"""Reading settings from the environment and settings files.

Later sources win: the defaults, `.env` in the working directory, the file given with --settings, the environment, the
command line.
"""

from __future__ import annotations

import difflib
import io
import os
import re
import reprlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import msgspec
from dotenv import dotenv_values

from mcp_actors import redis_url
from mcp_actors.settings import DEFAULTS, EXAMPLES, FIELDS, GROUPS, PREFIX, Rule, Settings, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ALIASES = {
    "DJANGO_SECRET_KEY": "secret_key",
    "DJANGO_DEBUG": "debug",
    "DJANGO_ALLOWED_HOSTS": "allowed_hosts",
    "ALLOWED_HOSTS": "allowed_hosts",
    "CORS_ALLOWED_ORIGINS": "cors_allowed_origins",
    "REDIS_URL": "redis_url",
    "REDIS_HOST": "redis_host",
    "REDIS_PORT": "redis_port",
    "REDIS_PASSWORD": "redis_password",
    "PORT": "port",
}
"""Other names of settings; where both are set in one source, the `MCP_ACTORS_` name wins."""

BOOLEANS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}

REMOVED = {
    "frame_loop": (["fast"], "there is only one frame loop"),
    "compression": (
        ["false", "0", "no", "off", ""],
        "WebSocket messages are never compressed, and clients need not be",
    ),
}
"""Settings of earlier versions: the values that meant what the server does today, and why others cannot be had."""

SECRETS = {"secret_key", "redis_password", "turn_secret", "webhook_secret"}

UNSET_IF_EMPTY = {"host", "port", "redis_url", "redis_host", "redis_port", "redis_password"}
"""An empty value means that these are not set; containers are often given variables without a value."""

MAX_SHOWN = 200
"""Characters of a value that an error shows in full."""

_INJECTED = re.compile(r"MCP_ACTORS_(\w+_)?(SERVICE_(HOST|PORT)|PORT_\d)")
"""Variables that Kubernetes sets for services named mcp-actors or mcp-actors-redis; it sets ..._PORT=tcp://... too."""


def load(
    file: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    directory: Path | None = None,
) -> Settings:
    """Read `.env` of `directory` (default: the working one), `file`, `environ`, then `overrides`, named as in `FIELDS`.

    Raises `SettingsError`.
    """
    dotenv = (directory or Path()) / ".env"
    files = [*([dotenv] if dotenv.is_file() else []), *([file] if file is not None else [])]
    found: dict[str, tuple[str, Any]] = {}
    for source in (*map(_read_file, files), environ):
        for name, field in _recognized(source):
            if source[name].strip() or field not in UNSET_IF_EMPTY:
                found[field] = (name, source[name])
    found |= {field: (f"--{field}", value) for field, value in (overrides or {}).items() if value is not None}
    obsolete = tuple(_check_removed(field, *found.pop(field)) for field in REMOVED if field in found)
    typed = {field: _convert(field, *given) for field, given in found.items()}
    groups = {name: _group(kind, typed) for name, kind in GROUPS.items()}
    settings = Settings(**groups, obsolete=obsolete)
    for field, problem in _conflicts(settings):
        raise SettingsError(_explain(field, *found[field], problem))
    return settings


def _read_file(path: Path) -> dict[str, str]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SettingsError(f"Settings file {path} cannot be read: {reason}.") from None
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#") and "=" not in line:
            raise SettingsError(f"Line {number} of settings file {path} is {line!r}, not NAME=value.")
    return {name: value or "" for name, value in dotenv_values(stream=io.StringIO(text), interpolate=False).items()}


def _recognized(source: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The settings in a source as (name, field); a later one wins over an earlier one."""
    own = [(name, name.removeprefix(PREFIX).lower()) for name in source if name.startswith(PREFIX)]
    for name, field in [(alias, ALIASES[alias]) for alias in ALIASES if alias in source] + own:
        if _INJECTED.match(name) or (name.endswith("PORT") and source[name].strip().startswith("tcp://")):
            continue
        if field not in FIELDS and field not in REMOVED:
            close = difflib.get_close_matches(name, [PREFIX + known.upper() for known in FIELDS], n=1)
            raise SettingsError(f"{name} is not a setting." + (f" Did you mean {close[0]}?" if close else ""))
        yield name, field


def _check_removed(field: str, name: str, value: Any) -> str:
    harmless, why = REMOVED[field]
    if str(value).strip().lower() not in harmless:
        raise SettingsError(f"{name} is {_shown(field, value)}, but this setting was removed: {why}. Leave it out.")
    return name


def _convert(field: str, name: str, value: Any) -> Any:
    """Convert the value of one setting to its type, and check it."""
    kind = FIELDS[field].type
    try:
        parsed = _parse(value.strip(), kind) if isinstance(value, str) else value
        converted = msgspec.convert(parsed, kind, strict=False)
    except ValueError as error:
        raise SettingsError(_explain(field, name, value, str(error))) from None
    for rule in (each for each in getattr(kind, "__metadata__", ()) if isinstance(each, Rule)):
        for part in converted if isinstance(converted, tuple) else (converted,):
            if problem := rule.problem(part):
                raise SettingsError(_explain(field, name, part, problem))
    return converted


def _parse(text: str, kind: Any) -> Any:
    """Parse the types that msgspec does not read from text."""
    kind = kind.__origin__ if get_origin(kind) is Annotated else kind
    if kind is bool:
        if text and text.lower() not in BOOLEANS:
            raise ValueError("it is neither true nor false")
        return BOOLEANS.get(text.lower(), False)
    if get_origin(kind) is Literal:
        return text.lower()
    if kind == tuple[str, ...]:
        return [part.strip() for part in text.split(",") if part.strip()]
    if get_origin(kind) is tuple:
        try:
            return msgspec.json.decode(text or "[]")
        except (msgspec.DecodeError, RecursionError) as error:
            raise ValueError(f"it is not JSON ({error})") from None
    return text


def _group(kind: Any, typed: Mapping[str, Any]) -> Any:
    fields = msgspec.structs.fields(kind)
    return kind(**{info.name: typed[info.encode_name] for info in fields if info.encode_name in typed})


def _conflicts(settings: Settings) -> Iterator[tuple[str, str]]:
    """Settings that need another one, as (field, problem)."""
    if settings.http.tls_key_file and not settings.http.tls_cert_file:
        yield "tls_key_file", "a key needs its certificate; set MCP_ACTORS_TLS_CERT_FILE too"
    if settings.redis.key_file and not settings.redis.cert_file:
        yield "redis_key_file", "a key needs its certificate; set MCP_ACTORS_REDIS_CERT_FILE too"
    if settings.server.admin_port and settings.server.admin_port == settings.server.port:
        yield "admin_port", "it is the port of clients, too; choose another one, or 0 for none"
    if settings.turn.urls and not settings.turn.secret:
        yield "turn_urls", "TURN servers need credentials; set MCP_ACTORS_TURN_SECRET too, which makes them"
    if settings.turn.secret and not settings.turn.urls:
        yield "turn_secret", "it makes credentials for TURN servers; set MCP_ACTORS_TURN_URLS too, which names them"
    if settings.webhooks.url and not settings.webhooks.secret:
        yield "webhook_url", "receivers check who sends a webhook; set MCP_ACTORS_WEBHOOK_SECRET too"
    if settings.auth.jwks_url and settings.auth.key_file:
        yield (
            "auth_jwks_url",
            "tokens are verified with these keys or with MCP_ACTORS_AUTH_KEY_FILE; set only one of them",
        )
    if settings.server.processes > 1 and not settings.redis.broker_url:
        yield "processes", "processes share rooms through Redis; set REDIS_URL too, such as redis://localhost:6379/0"


def _explain(field: str, name: str, value: Any, problem: str) -> str:
    return f"{name} is {_shown(field, value)}, which is not valid: {problem}. Example: {_example(field)}"


def _shown(field: str, value: Any) -> str:
    """A value as an error may show it: no secrets, and not too long."""
    if field in SECRETS:
        return "***"
    if field == "redis_url" or (field == "redis_host" and set("@/") & set(str(value))):
        value = redis_url.mask(str(value))
    return reprlib.repr(value) if len(repr(value)) > MAX_SHOWN else repr(value)


def _example(field: str) -> Any:
    choices = get_args(FIELDS[field].type) if get_origin(FIELDS[field].type) is Literal else ()
    return " or ".join(choices) or EXAMPLES.get(field, DEFAULTS[field])
