"""The driver of the npm package, in a process of Node."""

from __future__ import annotations

import asyncio
import itertools
import json
from pathlib import Path
from typing import Any

from tests.client.behaviours.driver import DEADLINE, Events, Refused

SCRIPT = Path(__file__).parents[2] / "support" / "js_client" / "driver.mjs"
MAX_LINE = 2**24


class JavaScriptDriver:
    """See `Driver`: clients in a process of Node."""

    def __init__(self, node: str) -> None:
        self.events = Events()
        self._node = node
        self._ids = itertools.count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    async def call(self, command: str, **arguments: Any) -> Any:
        """See `Driver`."""
        process = self._process or await self._start()
        assert process.stdin is not None
        number = next(self._ids)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        process.stdin.write(json.dumps({"id": number, "command": command, **arguments}).encode() + b"\n")
        async with asyncio.timeout(2 * DEADLINE):
            return await answer

    async def close(self) -> None:
        """End the process, which closes all clients."""
        if self._process and self._reading:
            self._process.kill()
            await self._process.wait()
            await self._reading

    async def _start(self) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            self._node, str(SCRIPT), stdin=pipe, stdout=pipe, limit=MAX_LINE
        )
        self._reading = asyncio.create_task(self._read(self._process))
        return self._process

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            message = json.loads(line)
            if "event" in message:
                self.events.put(message["client"], message["room"], message["event"], message.get("detail"))
            else:
                self._settle(self._waiting.pop(message["id"]), message)
        for answer in self._waiting.values():
            answer.cancel()

    @staticmethod
    def _settle(answer: asyncio.Future[Any], message: dict[str, Any]) -> None:
        if answer.done():  # the test has given it up
            return
        if error := message.get("error"):
            refused = Refused(
                error["code"], error["message"], retryable=error["retryable"], details=error.get("details")
            )
            answer.set_exception(refused)
        else:
            answer.set_result(message["result"])
