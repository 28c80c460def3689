"""An adapter is a process that reads commands and writes events, one JSON object a line."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from mcp_actors.conformance.clients.adapter import ProcessAdapter

ECHO = "import sys\nfor line in sys.stdin: print(line, end='', flush=True)"


async def test_commands_are_written_to_a_process_and_its_events_are_heard() -> None:
    heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    adapter = ProcessAdapter([sys.executable, "-c", ECHO], heard.put_nowait)
    for number in (1, 2):
        await adapter.tell({"event": number})
    assert [await heard.get(), await heard.get()] == [{"event": 1}, {"event": 2}]
    await adapter.end()


async def test_the_process_ends_although_it_does_not_notice_the_end_of_its_input() -> None:
    heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    script = "import time\nprint('{}', flush=True)\ntime.sleep(600)"
    adapter = ProcessAdapter([sys.executable, "-c", script], heard.put_nowait, end_seconds=0.1)
    await adapter.tell({})
    await heard.get()
    await adapter.end()


async def test_a_process_that_was_never_used_need_not_end() -> None:
    await ProcessAdapter(["/no/such/program"], print).end()
