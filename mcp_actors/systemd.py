"""systemd, as the manager of this process: the sockets that it hands over, and what it is told.

That is what sd_listen_fds(3) and sd_notify(3) do, which need no library.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from mcp_actors.app import StartError

if TYPE_CHECKING:
    from collections.abc import MutableMapping

FIRST_DESCRIPTOR = 3
"""The descriptor of the first socket that is handed over; the others follow."""

SIGNS_PER_TIMEOUT = 2
"""Signs of life in the time after which a process without any is killed."""


def take_sockets(environ: MutableMapping[str, str] = os.environ) -> list[socket.socket]:
    """Return the listening sockets with which this process was started, and remove them from the environment.

    Raises `StartError` for a socket on which nobody can listen.
    """
    pid, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isdecimal():
        return []
    return [_listening(FIRST_DESCRIPTOR + index) for index in range(int(count))]


def _listening(descriptor: int) -> socket.socket:
    os.set_inheritable(descriptor, False)
    with suppress(OSError):
        found = socket.socket(fileno=descriptor)
        if found.type == socket.SOCK_STREAM and found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            found.setblocking(False)
            return found
    raise StartError("systemd handed over a socket that does not listen: its unit needs ListenStream= and Accept=no.")


class ServiceManager:
    """The service manager, if it wants to be told of the state of this process; otherwise nobody is told.

    `address`: of its socket; empty for none. `interval`: seconds between two signs of life; 0 if it expects none.
    """

    def __init__(self, address: str = "", interval: float = 0.0) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.interval = interval if address else 0.0

    @classmethod
    def take(cls, environ: MutableMapping[str, str] = os.environ) -> Self:
        """Return the one that started this process, and remove it from the environment."""
        address, timeout = environ.pop("NOTIFY_SOCKET", ""), environ.pop("WATCHDOG_USEC", "")
        watched = environ.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid()) and timeout.isdecimal()
        return cls(address, int(timeout) / 1_000_000 / SIGNS_PER_TIMEOUT if watched else 0.0)

    def ready(self) -> None:
        """Say that the process serves, or that it has reloaded."""
        self._tell("READY=1")

    def reloading(self) -> None:
        """Say that it reloads; `ready` follows."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Say that it stops."""
        self._tell("STOPPING=1")

    def alive(self) -> None:
        """Give a sign of life."""
        self._tell("WATCHDOG=1")

    async def keep_alive(self) -> None:
        """Give signs of life as long as the event loop turns."""
        while True:
            self.alive()
            await asyncio.sleep(self.interval)

    def _tell(self, state: str) -> None:
        if self._address:
            with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifying:
                notifying.setblocking(False)  # the event loop must not wait for it
                notifying.sendto(state.encode(), self._address)
