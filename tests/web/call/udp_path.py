"""A path for media between pages that tests can break: each page sees the others at ports of the path."""

from __future__ import annotations

import json
import re
import selectors
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from playwright.sync_api import Page, WebSocketRoute

Address = tuple[str, int]

CANDIDATE = re.compile(r"candidate:\S+ 1 (?P<transport>\S+) \d+ (?P<host>\S+) (?P<port>\d+) typ host")
LINE = re.compile(r"a=(candidate:.*)\r\n")
LAST_STUN = 3
"""The highest first byte of a STUN message (RFC 7983): ICE is made of these."""


class UdpPath:
    """Leads UDP between pages whose signaling goes through `over`, on the loopback.

    `cut` lets nothing through; `only_ice` lets only ICE through on the ports there are, but everything on later ones.
    """

    def __init__(self) -> None:
        self._ports: dict[Address, socket.socket] = {}
        self._addresses: dict[socket.socket, Address] = {}
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._silent: set[Address] = set()
        self._muted: set[str] = set()
        self._only_ice: set[socket.socket] = set()
        self._cut = False
        self.edit: Callable[[str, str], str] = lambda _sender, sdp: sdp
        """Edits the descriptions of each sender on their way."""
        self._owners: dict[Address, str] = {}
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._stopped = False

    def over(self, page: Page) -> None:
        """Put the path between a page and the others; a hook for `open_page`."""

        def connect(route: WebSocketRoute) -> None:
            server = route.connect_to_server()
            server.on_message(lambda frame: self._deliver(route, frame))

        page.route_web_socket("**/ws/signaling/**", connect)

    def cut(self) -> None:
        """Let nothing through."""
        self._cut = True

    def mend(self) -> None:
        """Let everything through."""
        self._cut = False
        self._silent.clear()
        self._muted.clear()
        self._only_ice.clear()

    def mute(self, peer_id: str) -> None:
        """Let nothing through that this peer sends."""
        self._muted.add(peer_id)

    def silence(self, peer_id: str) -> None:
        """Let nothing through that this peer sends from the ports that it has now."""
        self._silent |= {address for address, owner in self._owners.items() if owner == peer_id}

    def only_ice(self) -> None:
        """Let only ICE through on the ports there are."""
        self._only_ice |= set(self._addresses)

    def rewritten(self, frame: str | bytes) -> str:
        """A message of the server, with the candidates in it at ports of the path."""
        message = json.loads(frame)
        if "sender" in message:
            self._rewrite(message["sender"], message["payload"])
        return json.dumps(message)

    def _deliver(self, route: WebSocketRoute, frame: str | bytes) -> None:
        if not self._stopped:
            route.send(self.rewritten(frame))

    def _rewrite(self, sender: str, payload: dict[str, Any]) -> None:
        for field in ("offer", "answer"):
            if field in payload:
                description = payload[field]
                sdp = LINE.sub(lambda line: self._line(sender, line[1]), description["sdp"])
                description["sdp"] = self.edit(sender, sdp)
        if isinstance(payload.get("candidate"), dict):
            text = payload["candidate"]["candidate"]
            payload["candidate"]["candidate"] = self._replaced(sender, text) if text else text

    def _line(self, sender: str, candidate: str) -> str:
        replaced = self._replaced(sender, candidate)
        return f"a={replaced}\r\n" if replaced else ""

    def _replaced(self, sender: str, candidate: str) -> str:
        """The candidate at a port of the path, or nothing if it is not one of UDP on the loopback."""
        found = CANDIDATE.match(candidate)
        if found is None or found["transport"].lower() != "udp" or found["host"] != "127.0.0.1":
            return ""
        port = self._port(sender, (found["host"], int(found["port"])))
        return candidate.replace(f" {found['host']} {found['port']} ", f" 127.0.0.1 {port} ")

    def _port(self, owner: str, address: Address) -> int:
        if address not in self._ports:
            opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            opened.bind(("127.0.0.1", 0))
            opened.setblocking(False)
            self._owners[address] = owner
            self._addresses[opened] = address
            self._ports[address] = opened
            self._selector.register(opened, selectors.EVENT_READ)
            self._wake.send(b"x")
        port: int = self._ports[address].getsockname()[1]
        return port

    def _run(self) -> None:
        while not self._stopped:
            for key, _ in self._selector.select():
                if key.fileobj is self._woken:
                    self._woken.recv(64)
                else:
                    with suppress(OSError):
                        self._forward(key.fileobj)

    def _forward(self, port: Any) -> None:
        data, source = port.recvfrom(65536)
        back = self._ports.get(source)
        ice = data[:1] <= bytes([LAST_STUN])
        silent = source in self._silent or self._owners.get(source) in self._muted
        lost = self._cut or silent or (not ice and (port in self._only_ice or back in self._only_ice))
        if back is not None and not lost:
            back.sendto(data, self._addresses[port])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._stopped = True
        self._wake.send(b"x")
        self._thread.join()
        for opened in [*self._addresses, self._wake, self._woken]:
            opened.close()
        self._selector.close()
