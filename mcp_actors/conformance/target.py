"""The server that is judged, and how checks reach it."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import jwt
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from mcp_actors.conformance.client import Client, Failed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

PEERS, USERS = "/ws/signaling/", "/ws/mcp/"
TOKEN_SECONDS = 600
CONNECT_TIMEOUT, CLOSE_TIMEOUT = 10.0, 1.0


@dataclass
class Target:
    """A server. `url`: where it is; `other`: another process of its cluster; `secret`: what signs its access tokens.

    `make_client` makes a client of an open connection.
    """

    url: str
    other: str = ""
    secret: str = ""
    make_client: Callable[[Any], Client] = Client
    clients: list[Client] = field(default_factory=list)

    @property
    def has(self) -> set[str]:
        """The needs of checks that this server meets."""
        return {name for name, given in (("tokens", self.secret), ("another process", self.other)) if given}

    async def peer(self, token: str = "", *, other: bool = False) -> Client:
        """A connection to the endpoint of peers."""
        return await self._open(PEERS, token, other=other)

    async def user(self, name: str = "", token: str = "", *, other: bool = False) -> Client:
        """A connection to the endpoint of users; with a name, it is connected as that user."""
        client = await self._open(USERS, token, other=other)
        if name:
            await client.say("connect", None, {"user_id": name})
            await client.expect("connected", user_id=name)
        return client

    def token(self, sub: str, room: str, *can: str) -> str:
        """An access token for one room."""
        claims = {"sub": sub, "rooms": [room], "exp": int(time.time()) + TOKEN_SECONDS}
        return jwt.encode(claims | ({"can": can} if can else {}), self.secret, algorithm="HS256")

    async def _open(self, path: str, token: str, *, other: bool) -> Client:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        url = endpoint(self.other if other else self.url, path)
        try:
            socket = await connect(
                url,
                additional_headers=headers,
                open_timeout=CONNECT_TIMEOUT,
                close_timeout=CLOSE_TIMEOUT,
                max_size=None,
                max_queue=None,  # what a check does not read must not delay what it waits for
                compression=None,
                proxy=None,
            )
        except (OSError, TimeoutError, InvalidStatus) as error:
            raise Failed(f"a WebSocket at {url} was expected: {error}") from None
        self.clients.append(self.make_client(socket))
        return self.clients[-1]

    @asynccontextmanager
    async def for_one_check(self) -> AsyncIterator[Target]:
        """The same server, with clients of its own, which are closed at the end."""
        one = Target(self.url, self.other, self.secret, self.make_client)
        try:
            yield one
        finally:
            for client in one.clients:
                await client.close()


def endpoint(url: str, path: str) -> str:
    """The address of an endpoint below a URL: http: and https: become ws: and wss:."""
    parts = urlsplit(url)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    return urlunsplit((scheme, parts.netloc, parts.path.rstrip("/") + path, "", ""))
