"""An agent built on the official SDK, in a process of its own: it enters a room, and answers until somebody says bye.

python -m tests.web.agent http://localhost:8000/mcp ROOM NAME
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from mcp import Client

from tests.support.mcp_transports import over_http


async def main(url: str, room: str, name: str) -> None:
    """Talk, and print what was received, one JSON value on a line."""
    async with Client(over_http(url)) as client:

        async def call(tool: str, **arguments: Any) -> Any:
            result = await client.call_tool(tool, arguments)
            assert not result.is_error, result.content
            return result.structured_content

        joined = await call("join_room", room=room, name=name)
        membership, last = joined["membership"], joined["last_seq"]
        said = ""
        while said != "bye":
            received = await call("receive_messages", membership=membership, after=last, wait_seconds=25)
            last = received["last_seq"]
            for message in received["messages"]:
                said = message["content"]["text"]
                print(json.dumps(message), flush=True)  # noqa: T201 - the test reads it
                await call("send_message", membership=membership, content=f"You said: {said}")
        await call("leave_room", membership=membership)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
