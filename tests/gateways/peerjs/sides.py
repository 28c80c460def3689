"""One of two servers that are compared: what its clients hear, in the words of the table in docs/guides/peerjs.md."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from tornado.httpclient import AsyncHTTPClient
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from tests.support.client import Closed
from tests.support.peerjs import PATH, Stand, query

if TYPE_CHECKING:
    import asyncio

    from tornado.httpclient import HTTPResponse

    from tests.support.peerjs import PeerJsClient

CLOSED = "closed"
NOTHING = "nothing"
SERVED = "others are served"
ENDED = "the process ends"
MARKER = " null`"
"""The end of a message that carries nothing, which no case sends."""

PAGE = "https://app.example.com"
"""A site whose pages may use our server."""
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

INFO = (
    '{"name":"PeerJS Server","description":"A server side element to broker connections between PeerJS clients.",'
    '"website":"https://peerjs.com/"}'
)


class Side(Stand):
    """A server and the clients of one case.

    `suffix`: is appended to the ids of clients, so that no case meets those of the one before, and is not shown.
    `over`: is set when the case has ended at one of the two servers.
    """

    def __init__(self, base: str, suffix: str, over: asyncio.Event) -> None:
        super().__init__(base)
        self.suffix = suffix
        self.over = over

    def query(self, peer: str, token: str = "t", key: str = "peerjs") -> str:  # noqa: S107 - of the client
        """The path and query with which a client connects."""
        return query(peer + self.suffix, token, key)

    async def enter(self, peer: str) -> PeerJsClient:
        """Connect a client whose id nobody else has."""
        return await self.connected(peer + self.suffix)

    def frame(self, kind: str, dst: str, **fields: Any) -> str:
        """A message to another client."""
        return json.dumps({"type": kind, "dst": dst + self.suffix, "payload": {"n": 1}, **fields})

    async def told(self, path: str, **headers: str) -> str:
        """What a client is told that connects, until it is let in or not."""
        try:
            client = await self.open(path, **headers)
        except InvalidStatus as refused:
            return f"HTTP {refused.response.status_code}"
        first = await self.heard(client)
        return first if first in ("`OPEN`", CLOSED) else f"{first}, {await self.heard(client)}"

    async def heard(self, client: PeerJsClient) -> str:
        """The next message, or that the server has closed the connection, whatever the code."""
        try:
            return self._text(await client.hear())
        except Closed:
            return CLOSED

    async def heard_until_now(self, client: PeerJsClient, name: str, sender: PeerJsClient) -> str:
        """All that a client has been sent, under this name, before what `sender` sends now."""
        await sender.send(self.frame("CANDIDATE", name, payload=None))
        found: list[str] = []
        while (message := await self.heard(client)) != CLOSED:
            if message.endswith(MARKER):
                return ", ".join(found) or NOTHING
            found.append(message)
        return ", ".join([*found, CLOSED])

    async def others(self, other: PeerJsClient, name: str) -> str:
        """Whether a client that has done nothing is still served."""
        try:
            sender = await self.enter("sender")
        except (OSError, EOFError, InvalidHandshake, Closed):
            return ENDED
        return SERVED if await self.heard_until_now(other, name, sender) == NOTHING else "others are not served"

    async def is_open(self, client: PeerJsClient) -> str:
        """Whether a connection is open."""
        try:
            await (await client.socket.ping())
        except ConnectionClosed:
            return CLOSED
        return "open"

    async def response(self, path: str, origin: str = PAGE) -> str:
        """What the HTTP API responds to a page, and whether the browser lets the page read it."""
        response = await self._fetch(path, {"Origin": origin})
        if response.code != 200:
            return str(response.code)
        body = UUID.sub("a UUID", response.body.decode().replace(self.suffix, "")).replace(INFO, "what it is")
        kind = response.headers["Content-Type"].partition(";")[0]
        return f"{kind}, {body}, {'readable' if _lets_in(response, origin) else 'not readable'}"

    async def preflight(self, path: str) -> str:
        """Whether a page may send a header of its own, as the browser asks before."""
        asked = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "x-trace"}
        response = await self._fetch(path, {"Origin": PAGE, **asked}, "OPTIONS")
        named = response.headers.get("Access-Control-Allow-Headers", "").lower()
        return f"{response.code}, {'allowed' if _lets_in(response, PAGE) and named == 'x-trace' else 'not allowed'}"

    async def _fetch(self, path: str, headers: dict[str, str], method: str = "GET") -> HTTPResponse:
        url = self.base.replace("ws://", "http://") + PATH + path
        return await AsyncHTTPClient().fetch(url, method=method, headers=headers, raise_error=False)

    def _text(self, message: dict[str, Any]) -> str:
        """A message on one line: type, sender and receiver, and the payload, if there is one."""
        fields = json.loads(json.dumps(message, ensure_ascii=False).replace(self.suffix, ""))
        words = [fields.pop("type")]
        if "src" in fields:
            words.append(f"{fields.pop('src')}→{fields.pop('dst', '')}")
        reason = _reason(fields)
        if "payload" in fields:
            words.append(json.dumps(fields.pop("payload")))
        if fields:
            words.append(json.dumps(fields))
        return f"`{' '.join(words)}`{reason}".replace("|", "\\|")


def _reason(fields: dict[str, Any]) -> str:
    """Take the text of an error out of a message, as it may have code marks of its own."""
    match fields.get("payload"):
        case {"msg": str(text), **others} if not others:
            del fields["payload"]
            return f' "{text}"'
    return ""


def _lets_in(response: HTTPResponse, origin: str) -> bool:
    return response.headers.get("Access-Control-Allow-Origin") in ("*", origin)
