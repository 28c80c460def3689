"""Keys of an identity provider: rotation, and a provider that is away at the start or later."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from tornado.httpclient import AsyncHTTPClient

from mcp_actors.auth.fetched_keys import FetchedKeys
from mcp_actors.protocol.errors import Unauthorized
from tests.auth.test_tokens import ED25519, PRIVATE, jwk, verifier
from tests.support.client import Closed
from tests.support.identity_provider import IdentityProvider, served
from tests.support.loop import DEADLINE, until
from tests.support.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tornado.ioloop import IOLoop

    from tests.conftest import ExpectedLogs

URL = "https://login.example.com/keys"
OLD, NEW = jwk("RS256", kid="old"), jwk("ES256", kid="new")
LOGGER = "mcp_actors.auth.fetched_keys"


def signed(algorithm: str, key_id: str) -> str:
    claims = {"sub": "alice", "exp": time.time() + 60}
    return jwt.encode(claims, PRIVATE[algorithm], algorithm=algorithm, headers={"kid": key_id})


class Provider:
    """A `FetchKeys` whose answer a test chooses: the text of a key set, or an error."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.text: str | OSError = ""
        self.serve(*keys)
        self.requests = 0

    def serve(self, *keys: dict[str, Any]) -> None:
        self.text = json.dumps({"keys": keys})

    async def __call__(self) -> bytes:
        self.requests += 1
        if isinstance(self.text, OSError):
            raise self.text
        return self.text.encode()


def accepts(keys: FetchedKeys, token: str) -> bool:
    try:
        return verifier(keys).verify(token).sub == "alice"
    except Unauthorized:
        return False


async def test_a_rotated_key_replaces_the_old_one() -> None:
    provider = Provider(OLD)
    keys = FetchedKeys(URL, provider, refresh=60)
    await keys.update()
    assert accepts(keys, signed("RS256", "old"))
    assert not accepts(keys, signed("ES256", "new"))
    provider.serve(OLD, NEW)
    await keys.update()
    assert accepts(keys, signed("RS256", "old"))
    assert accepts(keys, signed("ES256", "new"))
    provider.serve(NEW)
    await keys.update()
    assert not accepts(keys, signed("RS256", "old"))


async def test_no_token_is_accepted_before_the_first_keys(expected_logs: ExpectedLogs) -> None:
    provider = Provider(OLD)
    good, provider.text = provider.text, OSError("away")
    keys = FetchedKeys(URL, provider, refresh=60)
    assert not accepts(keys, signed("RS256", "old"))
    expected_logs(LOGGER, "signing keys cannot be fetched, refusing tokens")
    await keys.update()
    provider.text = good
    await keys.update()
    assert accepts(keys, signed("RS256", "old"))


@pytest.mark.parametrize(
    "broken",
    [
        OSError("away"),
        "<html>Maintenance</html>",
        '{"keys": []}',
        json.dumps({"keys": [jwk("RS256", kid="old") | {"d": "AQAB"}]}),
        json.dumps({"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "old"}]}),
        json.dumps({"keys": [jwk("EdDSA", ED25519, kid="old")] * 65}),
    ],
    ids=["away", "html", "empty", "private", "secret", "too-many"],
)
async def test_an_unusable_answer_is_logged_once_and_the_previous_keys_stay(
    broken: str | OSError, expected_logs: ExpectedLogs
) -> None:
    provider = Provider(OLD)
    keys = FetchedKeys(URL, provider, refresh=60)
    await keys.update()
    provider.text = broken
    expected_logs(LOGGER, "signing keys cannot be fetched, keeping the previous keys")
    for _ in range(3):
        await keys.update()
    assert len(expected_logs.records) == 1
    assert accepts(keys, signed("RS256", "old"))


async def test_a_key_that_cannot_be_used_is_logged_once(expected_logs: ExpectedLogs) -> None:
    provider = Provider(OLD, jwk("ES256", kid="encryption", use="enc"))
    keys = FetchedKeys(URL, provider, refresh=60)
    expected_logs("mcp_actors.auth.tokens", "key ignored")
    for _ in range(3):
        await keys.update()
    assert len(expected_logs.records) == 1


async def test_a_token_with_an_unknown_key_makes_the_keys_be_fetched_again() -> None:
    provider = Provider(OLD)
    keys = FetchedKeys(URL, provider, refresh=86_400, min_pause=0.01)
    await keys.update()
    renewal = asyncio.create_task(keys.run())
    provider.serve(NEW)
    assert not accepts(keys, signed("ES256", "new"))
    await until(lambda: accepts(keys, signed("ES256", "new")), "the new key")
    renewal.cancel()
    await asyncio.wait([renewal])


async def test_tokens_with_unknown_keys_cannot_make_a_server_flood_its_provider() -> None:
    provider = Provider(OLD)
    keys = FetchedKeys(URL, provider, refresh=86_400)
    await keys.update()
    renewal = asyncio.create_task(keys.run())
    for _ in range(100):
        assert not accepts(keys, signed("EdDSA", "made up"))
        await asyncio.sleep(0)
    assert provider.requests == 1
    renewal.cancel()
    await asyncio.wait([renewal])


@pytest.fixture
def provider(io_loop: IOLoop) -> Iterator[IdentityProvider]:
    yield from served(io_loop, OLD)


async def open_server(provider: IdentityProvider, directory: Path) -> Server:
    server = Server(directory, auth="required", auth_jwks_url=provider.url, auth_jwks_refresh=1)
    await server.start()
    return server


async def enters(server: Server, token: str) -> bool:
    peer = await server.peer(Authorization=f"Bearer {token}")
    try:
        return bool((await peer.hear())["type"] == "authenticated")
    except Closed:
        return False


async def becomes_able_to_enter(server: Server, token: str) -> None:
    async with asyncio.timeout(DEADLINE):
        while not await enters(server, token):
            await asyncio.sleep(0.1)


async def readiness(server: Server) -> tuple[int, bytes]:
    client = AsyncHTTPClient(force_instance=True)
    response = await client.fetch(server.url("/readyz", "http"), raise_error=False)
    client.close()
    return response.code, response.body


async def test_a_server_follows_the_keys_of_its_provider(provider: IdentityProvider, tmp_path: Path) -> None:
    server = await open_server(provider, tmp_path)
    old, new = signed("RS256", "old"), signed("ES256", "new")
    assert await enters(server, old)
    provider.keys = [NEW]
    await becomes_able_to_enter(server, new)
    assert not await enters(server, old)
    await server.stop()


async def test_a_server_starts_without_its_provider_and_is_ready_when_it_has_keys(
    provider: IdentityProvider, tmp_path: Path, expected_logs: ExpectedLogs
) -> None:
    await provider.stop()
    expected_logs(LOGGER, "signing keys cannot be fetched, refusing tokens")
    server = await open_server(provider, tmp_path)
    status, body = await readiness(server)
    assert (status, b"signing keys unavailable" in body) == (503, True)
    assert not await enters(server, signed("RS256", "old"))
    provider.restart()
    await becomes_able_to_enter(server, signed("RS256", "old"))
    assert (await readiness(server))[0] == 200
    await server.stop()


async def test_clients_enter_while_the_provider_is_away(
    provider: IdentityProvider, tmp_path: Path, expected_logs: ExpectedLogs
) -> None:
    server = await open_server(provider, tmp_path)
    await provider.stop()
    expected_logs(LOGGER, "signing keys cannot be fetched, keeping the previous keys")
    await until(lambda: expected_logs.records, "an attempt that failed")
    assert await enters(server, signed("RS256", "old"))
    assert (await readiness(server))[0] == 200
    await server.stop()
