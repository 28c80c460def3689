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


@pytest.mark.parametrize("url", ["ftp://localhost", "localhost:8000", "ws://"])
async def test_a_url_that_is_none_for_a_websocket_is_refused_for_good(url: str) -> None:
    with pytest.raises(SignalingError, match="unreachable") as caught:
        await dial(Address(url=url), None)
    assert not caught.value.retryable
