"""The secret of a deployment: whether it is good enough, and how to make one."""

from __future__ import annotations

import hmac
import secrets
from typing import TYPE_CHECKING

from mcp_actors.loopback import is_loopback
from mcp_actors.settings import SettingsError

if TYPE_CHECKING:
    from mcp_actors.settings import ServerSettings, Settings

MIN_BYTES = 32
"""The output size of HS256's hash: RFC 7518, section 3.2."""

MIN_TURN_BYTES = 20
"""The output size of HMAC-SHA1, which makes the credentials of TURN servers: RFC 2104, section 3."""

MIN_VARIETY = 8
"""Different characters in a secret; of 32 random hexadecimal digits, 4 in a hundred million have fewer."""

WELL_KNOWN = (
    *("django-insecure", "change-me", "change_me", "changeme", "change-in-production", "change-this", "replace-me"),
    *("development-only", "your-secret", "your_secret", "your-256-bit-secret", "secret-at-least-256-bits"),
    *("supersecret", "super-secret", "0123456789abcdef", "abcdefghijklmnopqrstuvwxyz"),
)
"""Parts of secrets in published examples: of this project, of Django, of pages about tokens."""


def make() -> str:
    """Return a secret of 256 random bits."""
    return secrets.token_urlsafe(32)


def derive(secret: bytes, purpose: str) -> bytes:
    """Return the key for one purpose of the server's own, so that what one key signs is worth nothing elsewhere.

    The secret itself signs access tokens, which applications make, too.
    """
    return hmac.digest(secret, f"mcp_actors key for {purpose}".encode(), "sha256")


def is_for_this_machine(server: ServerSettings) -> bool:
    """Whether only this machine can connect, to the port of clients and to that of operators."""
    return is_loopback(server.host) and (not server.admin_port or is_loopback(server.admin_host))


def check(settings: Settings, *, local: bool) -> None:
    """Refuse a secret that others may know. `local`: only this machine can connect. Raises `SettingsError`."""
    problem = _problem(settings, local=local)
    if problem is not None:
        text = f"MCP_ACTORS_SECRET_KEY (or DJANGO_SECRET_KEY) {problem}. Set it to the output of `mcp-actors secret`"
        raise SettingsError(f"{text}, the same for all processes, and keep it private.")
    for secret in () if settings.server.debug else settings.turn.secret:
        problem = _weakness(secret, MIN_TURN_BYTES)
        if problem is not None:
            text = f"MCP_ACTORS_TURN_SECRET {problem}, and everybody who gets credentials could find it out. Set it"
            raise SettingsError(f"{text}, and `static-auth-secret` of coturn, to the output of `mcp-actors secret`.")


def _problem(settings: Settings, *, local: bool) -> str | None:
    secret, auth = settings.server.secret_key, settings.auth
    if not secret and auth.mode != "off" and not (auth.key_file or auth.jwks_url):
        return f"is not set, but MCP_ACTORS_AUTH={auth.mode} signs tokens with it"
    if settings.server.debug:
        return None
    if not secret:  # then each process makes one for itself
        if settings.redis.broker_url:
            return "is not set, but processes that share rooms must share it"
        if not local:
            host = settings.server.admin_host if is_loopback(settings.server.host) else settings.server.host
            return f"is not set, but other machines can connect to {host}"
        return f"is not set, but MCP_ACTORS_AUTH is {auth.mode}" if auth.mode != "off" else None
    return _weakness(secret, MIN_BYTES)


def _weakness(secret: str, min_bytes: int) -> str | None:
    if len(secret.encode()) < min_bytes:
        return f"is shorter than {min_bytes} characters"
    if len(set(secret)) < MIN_VARIETY or any(word in secret.lower() for word in WELL_KNOWN):
        return "is known to others: it comes from an example, or it repeats itself"
    return None
