"""Mounting the site below a prefix of an application's paths."""

from __future__ import annotations

from urllib.parse import quote

from mcp_actors.adapters.http.exchange import Response


def below(prefix: str, path: str) -> str:
    """Return a path without the prefix, if it has it; empty for the prefix itself, which is no folder."""
    if not prefix or not path.startswith(prefix):
        return path  # whoever mounts it has stripped the prefix
    rest = path[len(prefix) :]
    if rest and not rest.startswith("/") and not prefix.endswith("/"):
        return path  # another name that begins like it
    return rest


def to_folder(prefix: str, query: str) -> Response:
    """Return the redirection from a prefix to its folder: the page names its files relative to that.

    The location is relative, too, so that proxies may add prefixes of their own.
    """
    name = quote(prefix.rstrip("/").rpartition("/")[2])
    return Response(308, {"Location": f"{name}/{'?' if query else ''}{query}", "Cache-Control": "no-store"})
