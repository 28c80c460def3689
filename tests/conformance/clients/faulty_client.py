"""A small client that keeps all requirements but the one it is told to break: checks must find it."""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from mcp_actors.conformance.clients import checks  # noqa: F401 - they register themselves
from mcp_actors.conformance.clients.registry import REQUIREMENTS
from mcp_actors.conformance.clients.runner import judge

if TYPE_CHECKING:
    from types import ModuleType

    from mcp_actors.conformance.clients.adapter import Hear

KNOWN_ERRORS = {"unavailable", "unauthorized", "forbidden"}
PATIENCE = 2.5
"""Seconds for which checks wait in vain for what a faulty client does not do."""


class FaultyClient:
    """An adapter. `fault`: the id of the requirement that it breaks, or nothing."""

    def __init__(self, fault: str, hear: Hear) -> None:
        self._fault, self._hear = fault, hear
        self._socket: ClientConnection | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._joins: dict[str, dict[str, Any]] = {}
        self._open: dict[str, dict[str, Any]] = {}
        self._seen: set[tuple[str, str]] = set()
        self._resume, self._received, self._at = "", 0, dict[str, str]()
        self._interval, self._tokens, self._final = 10.0, list[str](), False
        self._ids = random.randrange(10**9)  # noqa: S311 - not a secret

    async def tell(self, command: dict[str, Any]) -> None:
        await getattr(self, "_" + command.pop("command"))(**command)

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._socket:
            await self._socket.close()

    def breaks(self, name: str) -> bool:
        return self._fault == name

    async def _connect(self, url: str, tokens: list[str]) -> None:
        self._url, self._tokens = url, tokens
        self._spawn(self._stay_connected())

    async def _join(self, room: str, peer_id: str) -> None:
        self._joins[room] = {"peer_id": peer_id}
        if self._socket:
            await self._send_join(room)

    async def _send(self, room: str, to: str, data: Any) -> None:
        if not self._socket:
            return
        await self._request("signal", room, {"target_peer_id": to, "data": data})

    async def _close(self) -> None:
        self._final = True
        if self._socket:
            await self._socket.close(4000 if self.breaks("CLOSE-3") else 1000)

    def _spawn(self, task: Any) -> None:
        self._tasks.add(asyncio.create_task(task))

    async def _request(self, kind: str, room: str, payload: dict[str, Any]) -> None:
        self._ids += 1
        request: dict[str, Any] = {"type": kind, "room": room, "payload": payload, "id": f"{self._ids}"}
        if self.breaks("ASK-1"):
            request["version"] = 1
        self._open[request["id"]] = request
        await self._write(request)

    async def _write(self, request: dict[str, Any]) -> None:
        with suppress(ConnectionClosed):
            if self._socket:
                await self._socket.send(json.dumps(request))

    async def _send_join(self, room: str) -> None:
        payload = dict(self._joins[room])
        if self._resume and not self.breaks("RETURN-1"):
            payload |= {"resume": self._resume, "received": self._received - self.breaks("RETURN-2")}
            if self._at and not self.breaks("RETURN-3"):
                payload["at"] = self._at
        await self._request("join", room, payload)

    async def _stay_connected(self) -> None:
        attempt = 0
        while not self._final:
            await asyncio.sleep(0.5 * 2 ** (attempt - 1) if attempt and not self.breaks("BACKOFF-1") else 0)
            attempt += 1
            with suppress(OSError, InvalidHandshake):
                attempt = await self._use(await self._dial(), attempt)

    async def _dial(self) -> ClientConnection:
        offered = [] if self.breaks("TOKENS-1") else [f"mcp-actors.token.{token}" for token in self._tokens[:1]]
        subprotocols: Any = ["mcp-actors", *offered] if offered else None
        options: dict[str, Any] = {"ping_interval": None, "proxy": None, "close_timeout": 1}
        socket = await connect(self._url, subprotocols=subprotocols, **options)
        if self.breaks("HEART-3"):
            socket.protocol.recv_frame = partial(_without_pongs, socket.protocol.recv_frame)  # type: ignore[method-assign]
        return socket

    async def _use(self, socket: ClientConnection, attempt: int) -> int:
        self._socket = socket
        for room in self._joins:
            await self._send_join(room)
        try:
            await self._read(socket)
        except ConnectionClosed as closed:
            if self._socket is socket:
                self._socket = None
                self._lost(closed.rcvd.code if closed.rcvd else 1006)
        return 1 if self._received else attempt

    def _lost(self, code: int) -> None:
        lasting = code >= 4500 and not self.breaks("CLOSE-1") and not (code == 4502 and self.breaks("TOKENS-2"))
        passing = self.breaks("CLOSE-2") and code < 4500 and code != 1006
        if lasting or passing or (self.breaks("RETURN-7") and not self._resume):
            self._final = True
            if not self.breaks("CLOSE-4"):
                self._hear({"event": "closed", "code": code})

    async def _read(self, socket: ClientConnection) -> None:
        silent = 0
        while True:
            try:
                async with asyncio.timeout(self._interval):
                    message = json.loads(await socket.recv())
            except TimeoutError:
                silent += 1
                if silent > 1 and not self.breaks("HEART-2"):
                    socket.transport.abort()
                if not self.breaks("HEART-1"):
                    await self._write({"type": "ping"})
            else:
                silent = 0
                await self._take(message, socket)

    async def _take(self, message: dict[str, Any], socket: ClientConnection) -> None:
        if self.breaks("FORWARD-4") and list(message)[-1] == "delivery":
            return
        if self.breaks("FORWARD-2") and "novelty" in message:
            return
        self._number(message)
        kind = message["type"].replace("-", "_")
        if handle := getattr(self, f"_on_{kind}", None):
            await handle(message, socket)
        elif self.breaks("FORWARD-1"):
            self._hear({"event": "message", "room": message.get("room"), "data": None})

    def _number(self, message: dict[str, Any]) -> None:
        new = message["type"] == "joined" and not message["payload"]["resumed"]
        if "delivery" in message and not (new and self.breaks("RETURN-8") and self._received):
            skipped = self.breaks("RETURN-9") and message["delivery"] > self._received + 10
            self._received += 1 if skipped else message["delivery"] - self._received
        if "at" in message:
            self._at[message["room"]] = message["at"]

    async def _on_joined(self, message: dict[str, Any], _socket: ClientConnection) -> None:
        payload = message["payload"]
        self._open.pop(message.get("id", ""), None)
        if not (self._resume and (self.breaks("RETURN-4") or (self.breaks("RETURN-8") and not payload["resumed"]))):
            self._resume = payload["resume"]
        self._interval = payload["ping_interval"]
        self._hear({"event": "joined", "room": message["room"]})
        self._open = {name: one for name, one in self._open.items() if one["type"] == "signal"}
        for request in self._open.values() if payload["resumed"] else ():
            await self._write(request if self.breaks("REPEAT-1") else request | {"again": True})

    async def _on_ack(self, message: dict[str, Any], _socket: ClientConnection) -> None:
        if not self.breaks("REPEAT-2"):
            self._open.pop(message["id"], None)

    async def _on_signal(self, message: dict[str, Any], _socket: ClientConnection) -> None:
        name = message["sender"], message.get("id", "")
        if message.get("again") and name in self._seen and not self.breaks("REPEAT-3"):
            return
        self._seen.add(name)
        heard = {"event": "message", "room": message["room"], "data": message["payload"]["data"]}
        for _ in range(1 + self.breaks("RETURN-5")):
            self._hear(heard)

    async def _on_error(self, message: dict[str, Any], socket: ClientConnection) -> None:
        code = message["payload"]["code"]
        request = self._open.pop(message.get("id", ""), None)
        if code == "unavailable" and request and not self.breaks("RETURN-6"):
            await self._send_join(request["room"])
            return
        self._hear({"event": "error", "code": code})
        if code not in KNOWN_ERRORS and self.breaks("FORWARD-3"):
            self._final = True
            await socket.close()

    async def _on_reconnect(self, message: dict[str, Any], socket: ClientConnection) -> None:
        if self.breaks("DRAIN-2"):
            await socket.close()
        if self.breaks("DRAIN-3"):
            self._resume = ""
        self._spawn(self._move(message["payload"]["after_ms"] / 1000 * (not self.breaks("DRAIN-1"))))

    async def _move(self, after: float) -> None:
        await asyncio.sleep(after)
        with suppress(OSError, InvalidHandshake):
            await self._use(await self._dial(), 1)

    async def _on_token_expiring(self, _message: dict[str, Any], _socket: ClientConnection) -> None:
        token = self._tokens[0 if self.breaks("TOKENS-3") else -1]
        await self._write({"type": "authenticate", "payload": {"token": token}})


def _without_pongs(receive: Any, frame: Any) -> None:
    if frame.opcode != frame.opcode.PING:
        receive(frame)


async def unfound(module: ModuleType) -> dict[str, str]:
    """The requirements of a module that a client breaks unnoticed, or that a client without faults does not keep."""
    found = [one for one in REQUIREMENTS.values() if one.check.__module__ == module.__name__]

    async def look(name: str) -> str:
        [verdict] = await judge(partial(FaultyClient, name), [REQUIREMENTS[name]], PATIENCE)
        return "" if not verdict.kept else "broken unnoticed"

    right, broken = await asyncio.gather(
        judge(partial(FaultyClient, ""), found), asyncio.gather(*(look(one.id) for one in found))
    )
    problems = {one.id: one.why for one in right if not one.kept}
    return problems | {one.id: text for one, text in zip(found, broken, strict=True) if text}
