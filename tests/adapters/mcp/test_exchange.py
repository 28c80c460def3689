"""One request and its response, without sockets."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from mcp_actors.adapters.mcp.exchange import Exchange

START = {"type": "http.response.start", "status": 200, "headers": []}


class Client:
    """A client that has sent a body, and goes when it is told to."""

    def __init__(self) -> None:
        self.gone, self.stopped = asyncio.Event(), asyncio.Event()
        self.told: list[dict[str, Any]] = []
        self._unread = True
        self.exchange = Exchange(self._receive, self._send, self.stopped)

    async def _receive(self) -> Any:
        if self._unread:
            self._unread = False
            return {"type": "http.request", "body": b"body", "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        self.told.append(message)


async def test_an_application_is_given_the_body_and_answers() -> None:
    client = Client()

    async def application(_scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send({"type": "http.response.body", "body": (await receive())["body"]})

    await client.exchange.run(application, {})
    await client.exchange.end("stopping")
    assert [message.get("body") for message in client.told] == [None, b"body"]
    assert client.exchange.status == 200


async def test_an_application_is_cancelled_when_the_client_goes_or_the_server_stops() -> None:
    for gone in (True, False):
        client, began = Client(), asyncio.Event()

        async def application(_scope: Any, receive: Any, _send: Any, began: asyncio.Event = began) -> None:
            await receive()
            began.set()
            await receive()
            raise AssertionError

        running = asyncio.create_task(client.exchange.run(application, {}))
        await began.wait()
        (client.gone if gone else client.stopped).set()
        await running
        assert client.told == []


async def test_a_request_that_was_not_answered_is_refused_at_the_end() -> None:
    client = Client()
    await client.exchange.end("The server stops.")
    start, body = client.told
    assert start["status"] == 503
    assert json.loads(body["body"])["error"] == {"code": -32000, "message": "The server stops."}


async def test_a_response_that_was_cut_off_is_ended() -> None:
    client = Client()
    await client.exchange.send(START)
    await client.exchange.send({"type": "http.response.body", "body": b"a", "more_body": True})
    await client.exchange.end("The server stops.")
    assert client.told[-1] == {"type": "http.response.body", "body": b"", "more_body": False}
