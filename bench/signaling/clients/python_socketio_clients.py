"""Peers on python-socketio's own client, with its defaults but for the transport."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from bench.signaling.clients.clients import ENTER_TIMEOUT, LEAVE_TIMEOUT, Clients, name_of, other, room_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.signaling.account import Account

KIND = "ice-candidate"


class PythonSocketIoClients(Clients):
    """Each peer joins again when its client has reconnected, and until then knows that it cannot send."""

    def __init__(self, urls: Sequence[str], account: Account) -> None:
        super().__init__(urls, account)
        self._joined = [asyncio.Event() for _ in urls]
        self._clients: list[Any] = []
        self._emitting: set[asyncio.Task[None]] = set()

    async def enter(self) -> None:
        """See `Clients`."""
        from socketio import AsyncClient  # noqa: PLC0415 - absent where the contender is not measured

        async with asyncio.timeout(ENTER_TIMEOUT):
            for peer, url in enumerate(self._urls):
                client = AsyncClient()
                client.on("connect", partial(self._join, peer))
                client.on("disconnect", partial(self._disconnected, peer))
                client.on("joined", partial(self._enter, peer))
                client.on(KIND, partial(self._arrive, peer))
                self._clients.append(client)
                await client.connect(url.replace("ws:", "http:", 1), transports=["websocket"])
            for joined in self._joined:
                await joined.wait()

    async def leave(self) -> None:
        """See `Clients`."""
        for client in self._clients:
            async with asyncio.timeout(LEAVE_TIMEOUT):
                await client.shutdown()
        await asyncio.gather(*self._emitting)

    def _write(self, peer: int, sent_at: int) -> None:
        if not self._joined[peer].is_set():
            self._account.tell(peer, sent_at)
            return
        task = asyncio.create_task(self._emit(peer, sent_at))
        self._emitting.add(task)
        task.add_done_callback(self._emitting.discard)

    async def _emit(self, peer: int, sent_at: int) -> None:
        from socketio.exceptions import SocketIOError  # noqa: PLC0415 - as above

        payload = {"target_peer_id": name_of(other(peer)), "from": peer, "at": sent_at}
        try:
            await self._clients[peer].emit(KIND, {"room": room_of(peer), "payload": payload})
        except SocketIOError:
            self._account.tell(peer, sent_at)

    async def _join(self, peer: int) -> None:
        await self._clients[peer].emit("join", {"room": room_of(peer), "peer_id": name_of(peer)})

    async def _enter(self, peer: int, _data: dict[str, Any]) -> None:
        self._joined[peer].set()

    async def _disconnected(self, peer: int, *_reason: str) -> None:
        self._joined[peer].clear()

    async def _arrive(self, peer: int, data: dict[str, Any]) -> None:
        if data["payload"]["from"] == other(peer):
            self._account.arrive(other(peer), data["payload"]["at"])
