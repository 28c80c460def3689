"""Checks of the server below a prefix of an application's paths."""

from __future__ import annotations

from typing import Any

from tornado.httpclient import AsyncHTTPClient


async def fetch(url: str) -> tuple[int, bytes]:
    """The status and the body of a page, without following redirections."""
    response = await AsyncHTTPClient().fetch(url, raise_error=False, follow_redirects=False)
    return response.code, response.body


async def assert_serves(serving: Any) -> None:
    """The page with its files, health and both endpoints are served below the prefix."""
    for path in ("/", "/app.js", "/readyz"):
        assert (await fetch(serving.url(path, "http")))[0] == 200
    assert (await fetch(serving.url("/nothing", "http"))) == (404, b"404: Not Found\n")
    a, b, user = await serving.peer(), await serving.peer(), await serving.user()
    await a.join("r", "a")
    await b.join("r", "b")
    await a.expect("peer-joined", peer_id="b")
    await a.say("signal", "r", {"target_peer_id": "b", "data": 1})
    await b.expect("signal", data=1)
    await user.enter("r", "u")
