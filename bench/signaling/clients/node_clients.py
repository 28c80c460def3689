"""Peers on Socket.IO's own client, in a process of Node."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from bench.guard import Guard
from bench.peers import npm
from bench.signaling.clients.clients import ENTER_TIMEOUT, LEAVE_TIMEOUT, Clients

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Sequence

    from bench.signaling.account import Account

SCRIPT = "socketio_members.mjs"


class NodeClients(Clients):
    """Speaks to bench/peers/socketio_members.mjs by lines of JSON."""

    def __init__(self, urls: Sequence[str], account: Account) -> None:
        super().__init__(urls, account)
        self._absent = set(range(len(urls)))
        self._entered = asyncio.Event()
        self._process: Process | None = None
        self._guard: Guard | None = None
        self._reading: asyncio.Task[None] | None = None

    async def enter(self) -> None:
        """See `Clients`."""
        command = ["node", str(npm.script(SCRIPT)), *(url.replace("ws:", "http:", 1) for url in self._urls)]
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
        self._guard = Guard(self._process.pid)
        self._reading = asyncio.create_task(self._read())
        async with asyncio.timeout(ENTER_TIMEOUT):
            await self._entered.wait()

    async def leave(self) -> None:
        """See `Clients`."""
        if self._process is None or self._process.stdin is None or self._guard is None:
            return
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), LEAVE_TIMEOUT)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        self._guard.release()
        if self._reading is not None:
            await self._reading

    def _write(self, peer: int, sent_at: int) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(b"[%d,%d]\n" % (peer, sent_at))

    async def _read(self) -> None:
        if self._process is None or self._process.stdout is None:
            return
        async for line in self._process.stdout:
            match json.loads(line):
                case ["joined", peer]:
                    self._absent.discard(peer)
                    if not self._absent:
                        self._entered.set()
                case ["arrived", sender, sent_at]:
                    self._account.arrive(sender, sent_at)
