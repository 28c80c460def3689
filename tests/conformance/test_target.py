"""The addresses of a server."""

from __future__ import annotations

import jwt
import pytest

from mcp_actors.conformance.target import Target, endpoint
from tests.support.tokens import SECRET


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://localhost:8000", "ws://localhost:8000/ws/mcp/"),
        ("https://example.com/signal/", "wss://example.com/signal/ws/mcp/"),
        ("ws://[::1]:8000", "ws://[::1]:8000/ws/mcp/"),
    ],
)
def test_endpoints_are_below_the_url(url: str, expected: str) -> None:
    assert endpoint(url, "/ws/mcp/") == expected


def test_what_checks_may_need_follows_from_what_is_given() -> None:
    assert Target("http://a").has == set()
    assert Target("http://a", "http://b", SECRET).has == {"tokens", "another process"}


def test_tokens_are_for_one_room() -> None:
    claims = jwt.decode(Target("", secret=SECRET).token("ada", "r", "moderate"), SECRET, algorithms=["HS256"])
    assert {name: claims[name] for name in ("sub", "rooms", "can")} == {
        "sub": "ada",
        "rooms": ["r"],
        "can": ["moderate"],
    }
