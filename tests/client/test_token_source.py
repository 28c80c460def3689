"""Tokens, and functions that return them."""

from __future__ import annotations

import pytest

from mcp_actors.client import SignalingError
from mcp_actors.client.token_source import TokenSource


async def renewed() -> str:
    return "from asyncio"


async def failing() -> str:
    raise OSError("no network")


async def test_a_token_comes_from_a_string_or_a_function() -> None:
    assert await TokenSource(None).get() is None
    assert await TokenSource("given").get() == "given"
    assert await TokenSource(lambda: "from a function").get() == "from a function"
    assert await TokenSource(renewed).get() == "from asyncio"


def test_only_a_function_brings_another_token() -> None:
    assert [TokenSource(token).renewable for token in (None, "given", renewed)] == [False, False, True]


async def test_a_function_that_fails_may_be_called_again() -> None:
    with pytest.raises(SignalingError, match="no network") as caught:
        await TokenSource(failing).get()
    assert caught.value.retryable
