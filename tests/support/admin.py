"""A client of the admin API."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from tornado.httpclient import AsyncHTTPClient

if TYPE_CHECKING:
    from collections.abc import Mapping


class Serving(Protocol):
    """A server, as it is used here."""

    def url(self, path: str, scheme: str = "") -> str:
        """A URL of the server."""


class Answer(NamedTuple):
    """An answer; `content` is that of its JSON."""

    status: int
    content: Any
    headers: Mapping[str, str]


async def ask(
    server: Serving, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """Ask for a path below /api/v1. A body is sent as JSON; bytes are sent as they are, without a type."""
    named = dict(headers or {})
    sent: bytes | None = b"" if method in ("POST", "PUT") else None
    if isinstance(body, bytes):
        sent = body
    elif body is not None:
        named.setdefault("Content-Type", "application/json")
        sent = json.dumps(body).encode()
    response = await AsyncHTTPClient().fetch(
        server.url(f"/api/v1{path}", "http"),
        method=method,
        headers=named,
        body=sent,
        raise_error=False,
        allow_nonstandard_methods=True,
    )
    return Answer(response.code, json.loads(response.body or b"null"), response.headers)


async def post(server: Serving, path: str, body: Any = None) -> Any:
    """Ask for a change that succeeds; return its answer."""
    answer = await ask(server, "POST", path, body)
    assert answer.status == 200, answer
    return answer.content


async def get(server: Serving, path: str) -> Any:
    """Ask for something that is there."""
    answer = await ask(server, "GET", path)
    assert answer.status == 200, answer
    return answer.content
