"""A server on a free port: in the test's own loop, or as a process of its own."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Self

from mcp_actors.app import App
from mcp_actors.config import load
from tests.support.client import Client

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

FOREIGN = ("MCP_ACTORS_", "DJANGO_", "REDIS_", "CORS_", "ALLOWED_", "PORT")


class Server:
    """An `App` in the test's own loop; settings are given by field name."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        self._clients: list[Client] = []
        self.app = App(load(overrides={"host": "127.0.0.1", "port": 0, **settings}, environ={}, directory=directory))
        certificate = settings.get("tls_cert_file")
        self.trusting = ssl.create_default_context(cafile=certificate) if certificate else None
        """What a client of a server with TLS connects with."""

    async def start(self) -> None:
        await self.app.start()

    async def stop(self) -> None:
        for client in self._clients:
            await client.end()
        await self.app.stop()

    def url(self, path: str, scheme: str = "") -> str:
        """Of a WebSocket, if nothing else is said."""
        return f"{scheme or ('ws' if self.trusting is None else 'wss')}://127.0.0.1:{self.app.port}{path}"

    async def client(self, path: str, **headers: str) -> Client:
        """A connection, closed after the test."""
        client = await Client.open(self.url(path), self.trusting, **headers)
        self._clients.append(client)
        return client

    async def peer(self, **headers: str) -> Client:
        """A connection to /ws/signaling/."""
        return await self.client("/ws/signaling/", **headers)

    async def user(self, **headers: str) -> Client:
        """A connection to /ws/mcp/."""
        return await self.client("/ws/mcp/", **headers)

    async def pair(self) -> tuple[Client, Client]:
        """Peers `a` and `b`, joined in this order, in room `r`, with nothing left to hear."""
        a, b = await self.peer(), await self.peer()
        await a.join("r", "a")
        await b.join("r", "b")
        await a.expect("peer-joined", peer_id="b")
        return a, b


class Process:
    """`mcp-actors` as a user starts it: in an empty directory, with no settings but those given."""

    def __init__(self, directory: Path, *arguments: str, **environ: str) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mcp_actors", *arguments],
            cwd=directory,
            env=inherited | environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.port = 0
        self.greeting: list[str] = []

    def wait_until_serving(self) -> Self:
        """Read the greeting, which names the port."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.greeting.append(line)
            if "signaling" in line:
                self.port = int(line.split("localhost:")[-1].split("127.0.0.1:")[-1].split("/")[0])
            if "messages" in line:
                return self
        raise AssertionError(f"the server did not start: {self.finish()}")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit status."""
        self.process.send_signal(number)
        self.finish()
        return self.process.returncode

    def finish(self) -> tuple[int, str, str]:
        """Wait for the end: exit status, standard output, standard error."""
        out, err = self.process.communicate(timeout=10)
        return self.process.returncode, out, err

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        self.process.wait(timeout=10)
