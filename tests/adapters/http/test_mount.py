"""Paths below a prefix, whether it is stripped or not."""

from __future__ import annotations

import pytest

from mcp_actors.adapters.http.mount import below, to_folder


@pytest.mark.parametrize(
    ("prefix", "path", "rest"),
    [
        ("", "/app.js", "/app.js"),
        ("/signal", "/signal/app.js", "/app.js"),
        ("/signal", "/app.js", "/app.js"),
        ("/signal", "/signal/", "/"),
        ("/signal", "/signal", ""),
        ("/signal", "/signaling/", "/signaling/"),
        ("/a/b", "/a/b/ws/mcp/", "/ws/mcp/"),
    ],
)
def test_a_path_is_served_with_and_without_the_prefix(prefix: str, path: str, rest: str) -> None:
    assert below(prefix, path) == rest


@pytest.mark.parametrize(
    ("prefix", "query", "location"),
    [("/signal", "", "signal/"), ("/a/b c", "room=x&n=1", "b%20c/?room=x&n=1"), ("/signal/", "", "signal/")],
)
def test_the_prefix_itself_leads_to_its_folder(prefix: str, query: str, location: str) -> None:
    response = to_folder(prefix, query)
    assert (response.status, response.headers["Location"]) == (308, location)
