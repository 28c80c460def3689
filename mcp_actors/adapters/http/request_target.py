"""The target of a request: RFC 9112, section 3.2."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote, unquote

MAX_PATH = 256
"""Characters of a path that is normalized; nothing is served at a longer one, and it would take milliseconds."""

_ABSOLUTE = re.compile(r"(?:https?|wss?)://(?P<host>[^\s/?#@\\]+)(?P<path>/.*)?", re.IGNORECASE)
_SLASHES = re.compile("/{2,}")


class RequestTarget(NamedTuple):
    """The path of a request, and the host that it names, which counts instead of the header `Host`; None for none.

    `encoded`: the path before its percent-encoding was undone, where a slash is always one between two parts.
    """

    path: str
    host: str | None = None
    encoded: str = ""


def request_target(path: str) -> RequestTarget | None:
    """Read a target without its query, in origin-form or absolute-form; None if it is neither.

    Repeated slashes count as one: clients join a base URL and a path with them. Percent-encoding is undone.
    """
    if path.startswith("/") or path == "*":
        return RequestTarget(_normal(path), None, path)
    found = _ABSOLUTE.fullmatch(path)
    if found is None:
        return None
    path = found["path"] or "/"
    return RequestTarget(_normal(path), found["host"], path)


def decoded_target(path: str, encoded: str = "") -> RequestTarget | None:
    """Read a target whose percent-encoding is undone already; otherwise as `request_target`.

    `encoded`: the path as it was sent, if that is known; otherwise a slash that was encoded counts as any other.
    """
    if not path.startswith("/"):
        return request_target(path)
    normal = path if len(path) > MAX_PATH else _SLASHES.sub("/", path)
    return RequestTarget(normal, None, encoded or quote(path))


def _normal(path: str) -> str:
    return path if len(path) > MAX_PATH else unquote(_SLASHES.sub("/", path))
