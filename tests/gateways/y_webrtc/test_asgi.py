"""The gateway in an ASGI server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.support.asgi_process import AsgiProcess
from tests.support.y_webrtc import Pages

if TYPE_CHECKING:
    from pathlib import Path


async def test_clients_are_served_in_an_asgi_server_and_errors_close_them(tmp_path: Path) -> None:
    settings = {"MCP_ACTORS_GATEWAYS": "peerjs,y-webrtc", "MCP_ACTORS_MAX_BAD_MESSAGES": "1"}
    with AsgiProcess(tmp_path, "uvicorn", **settings) as process:
        await asyncio.to_thread(process.wait_until_serving)
        async with Pages() as pages:
            url = f"ws://127.0.0.1:{process.port}"
            ada, bob, eve = [await pages.open(url, name) for name in ("ada", "bob", "eve")]
            for page in (ada, bob, eve):
                await page.subscribe("notes")
                await page.ping()
            await bob.announce("notes")
            assert (await ada.data())["from"] == (await eve.data())["from"] == "bob"
            await ada.signal("notes", "bob", "offer")
            assert (await bob.data())["signal"] == "offer"
            await eve.ping()
            await eve.send("{")
            await eve.expect_close(4500)
        assert await asyncio.to_thread(process.stop) in (0, -15)
