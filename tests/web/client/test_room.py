"""A room in Node, where several messages may arrive at once."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from websockets.asyncio.server import serve

from tests.support import js_client
from tests.support.js_client import CLIENT
from tests.web.scripted import joined, signalled

if TYPE_CHECKING:
    from pathlib import Path

    from websockets.asyncio.server import ServerConnection

LISTEN = """
const {Connection} = await import(process.argv[2]);
const connection = new Connection(process.argv[3]);
const room = await connection.join("r", {peerId: "me"});
const heard = [];
room.addEventListener("signal", ({detail}) => {
  heard.push(detail.data);
  if (detail.data !== "last") return;
  console.log(JSON.stringify(heard));
  connection.close();
});
"""


async def answer(socket: ServerConnection) -> None:
    """Answer a join, and send what follows it in the same packet."""
    async for text in socket:
        request = json.loads(text)
        if request["type"] == "ping":
            await socket.send(json.dumps({"type": "pong", "id": request["id"]}))
            continue
        welcome = joined(1, "token", resumed=False) | {"id": request["id"]}
        last = signalled(4) | {"payload": {"data": "last"}}
        async with socket.send_context():
            for message in (welcome, signalled(2), signalled(3), last):
                socket.protocol.send_text(json.dumps({"room": "r", **message}).encode())


async def test_what_arrives_together_with_the_reply_to_a_join_is_heard(tmp_path: Path) -> None:
    js_client.require_tools()
    (tmp_path / "listen.mjs").write_text(LISTEN)
    async with serve(answer, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        process = await asyncio.create_subprocess_exec(
            *(str(js_client.node()), str(tmp_path / "listen.mjs"), str(CLIENT / "index.js"), url),
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await asyncio.wait_for(process.communicate(), js_client.DEADLINE)
    assert json.loads(out) == [2, 3, "last"]
