"""Has another ASGI application answer a request whose body was read already."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp_actors.adapters.asgi.interface import encoded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcp_actors.adapters.asgi.interface import Message, Receive, Scope, Send
    from mcp_actors.adapters.http.exchange import Streamed


async def run_streamed(
    streamed: Streamed, scope: Scope, receive: Receive, send: Send, common_headers: Mapping[str, str]
) -> None:
    """Call the application. `common_headers`: those of all responses, which its own replace."""
    unread: list[bytes] = [streamed.body]

    async def receive_next() -> Message:
        if unread:
            return {"type": "http.request", "body": unread.pop(), "more_body": False}
        while (message := await receive())["type"] == "http.request":
            pass  # a body that has no meaning was not read
        return message

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = list(message.get("headers", ()))
            names = {name.lower() for name, _ in own}
            added = encoded({**common_headers, **streamed.headers})
            message = {**message, "headers": [*own, *(pair for pair in added if pair[0] not in names)]}
        await send(message)

    await streamed.application(scope, receive_next, send_with_headers)
