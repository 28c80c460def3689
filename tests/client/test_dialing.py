"""The URLs of endpoints."""

from __future__ import annotations

import pytest

from mcp_actors.client import SignalingError
from mcp_actors.client.dialing import Address, dial, endpoint_url


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("ws://localhost:8000", "ws://localhost:8000/ws/x/"),
        ("http://localhost:8000/", "ws://localhost:8000/ws/x/"),
        ("https://example.org?a=b", "wss://example.org/ws/x/?a=b"),
        ("wss://example.org/signal/ws/x/", "wss://example.org/signal/ws/x/"),
        ("wss://example.org/ws/other", "wss://example.org/ws/other"),
        ("https://example.org/signal/", "wss://example.org/signal/ws/x/"),
    ],
)
def test_the_address_of_the_server_is_enough(url: str, endpoint: str) -> None:
    assert endpoint_url(url, "/ws/x/") == endpoint


@pytest.mark.parametrize(
    ("url", "room", "found"),
    [
        ("ws://localhost/ws/x/", "lobby", "ws://localhost/ws/x/?room=lobby"),
        ("ws://localhost/ws/x/?a=b", "a é&!~*'()._-", "ws://localhost/ws/x/?a=b&room=a+%C3%A9%26%21%7E*%27%28%29._-"),
        ("ws://localhost/ws/x/?room=mine&a=b", "lobby", "ws://localhost/ws/x/?a=b&room=lobby"),
        ("ws://localhost/ws/x/", None, "ws://localhost/ws/x/"),
    ],
)
def test_the_address_names_the_room_as_the_javascript_client_encodes_it(url: str, room: str | None, found: str) -> None:
    assert Address(url=url).for_room(room).url == found


@pytest.mark.parametrize("url", ["ftp://localhost", "localhost:8000", "ws://"])
async def test_a_url_that_is_none_for_a_websocket_is_refused_for_good(url: str) -> None:
    with pytest.raises(SignalingError, match="unreachable") as caught:
        await dial(Address(url=url), None)
    assert not caught.value.retryable
