"""Fetching a key set over HTTP."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from tornado.testing import bind_unused_port

from mcp_actors.adapters.tornado.key_fetcher import MAX_BYTES, KeyFetcher, key_fetcher
from mcp_actors.settings import AuthSettings
from tests.support.identity_provider import IdentityProvider, served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tornado.ioloop import IOLoop

KEY = {"kid": "one"}


@pytest.fixture
def provider(io_loop: IOLoop) -> Iterator[IdentityProvider]:
    yield from served(io_loop, KEY)


async def test_a_key_set_is_fetched(provider: IdentityProvider) -> None:
    assert json.loads(await KeyFetcher(provider.url)()) == {"keys": [KEY]}


async def test_another_status_is_an_error_that_names_it(provider: IdentityProvider) -> None:
    provider.status = 503
    with pytest.raises(OSError, match="status 503, not 200"):
        await KeyFetcher(provider.url)()


async def test_redirects_are_not_followed(provider: IdentityProvider) -> None:
    provider.status, provider.headers = 302, {"Location": provider.url}
    with pytest.raises(OSError, match="status 302"):
        await KeyFetcher(provider.url)()
    assert provider.requests == 1


async def test_a_key_set_that_is_too_long_is_an_error(provider: IdentityProvider) -> None:
    provider.body = b" " * MAX_BYTES
    assert len(await KeyFetcher(provider.url)()) == MAX_BYTES
    provider.body += b" "
    with pytest.raises(OSError, match=r"."):
        await KeyFetcher(provider.url)()


async def test_a_provider_that_is_away_is_an_error(provider: IdentityProvider) -> None:
    await provider.stop()
    with pytest.raises(OSError, match=r"."):
        await KeyFetcher(provider.url)()
    provider.restart()


async def test_a_provider_that_does_not_answer_is_an_error() -> None:
    silent, port = bind_unused_port()
    with closing(silent), pytest.raises(OSError, match="Timeout"):
        await KeyFetcher(f"http://127.0.0.1:{port}/", timeout=0.2)()


def test_without_a_url_nothing_is_fetched() -> None:
    assert key_fetcher(AuthSettings()) is None
    assert key_fetcher(AuthSettings(jwks_url="https://login.example.com/keys")) is not None
