"""Clients of the PeerJS protocol, and the servers that speak it."""

from __future__ import annotations

import json
import subprocess
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

import pytest

from bench.peers import npm
from tests.support.client import Client

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

    from tests.support.client import Frame

PATH = "/app/"


class PeerJsClient(Client):
    """A connection of a PeerJS client."""

    async def tell(self, kind: str, dst: str | None = None, **payload: Any) -> None:
        """Send a message to another client."""
        message: Frame = {"type": kind}
        if dst is not None:
            message |= {"dst": dst, "payload": payload}
        await self.send(json.dumps(message))


def query(peer: str = "", token: str = "", key: str = "peerjs") -> str:
    """The path and query with which a client connects."""
    return f"{PATH}peerjs?key={key}&id={peer}&token={token}&version=1.5.5"


class Stand:
    """A server of this protocol, and the clients of one test, which are closed at its end.

    `base`: such as ws://127.0.0.1:9000.
    """

    def __init__(self, base: str) -> None:
        self.base = base
        self._clients: list[PeerJsClient] = []

    async def open(self, path: str, **headers: str) -> PeerJsClient:
        """Open a connection to a path."""
        client = await PeerJsClient.open(self.base + path, None, **headers)
        self._clients.append(client)
        return client

    async def connected(self, peer: str, token: str = "t", **headers: str) -> PeerJsClient:  # noqa: S107 - of the client
        """Open a connection, and wait for OPEN."""
        client = await self.open(query(peer, token), **headers)
        assert await client.hear() == {"type": "OPEN"}
        return client

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for client in self._clients:
            await client.end()


def expect_npm() -> None:
    """Install the pinned packages if they are not in the cache; their absence fails the test."""
    reason = npm.missing()
    if reason is not None:
        pytest.fail(f"{reason}; the tests compare this server with the original")


@contextmanager
def original(options: Mapping[str, Any] = MappingProxyType({})) -> Iterator[str]:
    """Run the npm package `peer` with these options beside host, port and path, and yield its base URL."""
    expect_npm()
    command = ["node", str(npm.script("peerjs.mjs")), "0", PATH, json.dumps(dict(options))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"ws://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()
