"""The secret of a deployment: whether it will do, and how to make one."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from mcp_actors.config import PREFIX, SettingsError
from mcp_actors.transports.access import is_loopback

if TYPE_CHECKING:
    from mcp_actors.config import Settings

MIN_BYTES = 32
"""As many as the HMAC of HS256 has: RFC 7518, section 3.2."""

MIN_VARIETY = 8
"""Different characters in a secret; of 32 random hexadecimal digits, 4 in a hundred million have fewer."""

WELL_KNOWN = (
    *("django-insecure", "change-me", "change_me", "changeme", "change-in-production", "change-this", "replace-me"),
    *("development-only", "your-secret", "your_secret", "your-256-bit-secret", "secret-at-least-256-bits"),
    *("supersecret", "super-secret", "0123456789abcdef", "abcdefghijklmnopqrstuvwxyz"),
)
"""Parts of secrets that stand in examples: of this project, of Django, of pages about tokens."""


def make() -> str:
    """A secret of 256 random bits."""
    return secrets.token_urlsafe(32)


def check(settings: Settings) -> None:
    """Refuse to serve with a secret that others may know. Raises `SettingsError`."""
    problem = _problem(settings)
    if problem is not None:
        text = f"{PREFIX}SECRET_KEY (or DJANGO_SECRET_KEY) {problem}. Set it to what `mcp-actors secret` prints"
        raise SettingsError(f"{text}, the same for all processes, and keep it to yourself.")


def _problem(settings: Settings) -> str | None:
    secret = settings.secret_key
    if not secret and settings.auth != "off" and not settings.auth_key_file:
        return f"is not set, and with {PREFIX}AUTH={settings.auth} it signs tokens"
    if settings.debug:
        return None
    if not secret:
        return _why_needed(settings)
    if len(secret.encode()) < MIN_BYTES:
        return f"is shorter than {MIN_BYTES} characters"
    if len(set(secret)) < MIN_VARIETY or any(word in secret.lower() for word in WELL_KNOWN):
        return "is one that others know: it comes from an example, or repeats itself"
    return None


def _why_needed(settings: Settings) -> str | None:
    """Why there must be one. Without, each process makes one for itself; on this machine alone that will do."""
    if settings.broker_url:
        return "is not set, and processes that share rooms share it"
    if not is_loopback(settings.host):
        return f"is not set, and other machines can connect to {settings.host or 'every address'}"
    if settings.auth != "off":
        return f"is not set, and {PREFIX}AUTH is {settings.auth}"
    return None
