"""A server on a free port: in the test's own loop, or as a process of its own."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Any, Self

from mcp_actors import server
from mcp_actors.environment import load
from tests.support.client import Client

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

END_DEADLINE = 60.0
"""Seconds after which a process that ought to end is killed: enough for a busy machine."""

FOREIGN = ("MCP_ACTORS_", "DJANGO_", "REDIS_", "CORS_", "ALLOWED_", "PORT")


class Server:
    """A server in the test's own loop; settings are given by their names in lower case, without the prefix."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        overrides = {"host": "127.0.0.1", "port": 0, **settings}
        self._server = server.Server(load(overrides=overrides, environ={}, directory=directory))
        self._clients: list[Client] = []
        self.app = self._server.app
        self.http_server = self._server.http_server
        self.certificate = settings.get("tls_cert_file")
        self.trusting = ssl.create_default_context(cafile=self.certificate) if self.certificate else None
        """Trusts the certificate of a server with TLS."""

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def admin_port(self) -> int:
        """The port for operators, if the settings name one."""
        return self._server.admin_port

    async def start(self) -> None:
        await self._server.start()

    async def stop(self) -> None:
        """Close the clients, then stop."""
        for client in self._clients:
            await client.end()
        await self.shut_down()

    async def shut_down(self) -> None:
        """Stop with the clients connected, as a signal does."""
        await self._server.stop()

    def url(self, path: str, scheme: str = "") -> str:
        """A URL of this server, for a WebSocket by default."""
        return f"{scheme or ('ws' if self.trusting is None else 'wss')}://127.0.0.1:{self.port}{path}"

    async def client(self, path: str, **headers: str) -> Client:
        """Open a connection that is closed after the test."""
        client = await Client.open(self.url(path), self.trusting, **headers)
        self._clients.append(client)
        return client

    async def peer(self, **headers: str) -> Client:
        """Open a connection to /ws/signaling/."""
        return await self.client("/ws/signaling/", **headers)

    async def user(self, **headers: str) -> Client:
        """Open a connection to /ws/mcp/."""
        return await self.client("/ws/mcp/", **headers)

    async def pair(self) -> tuple[Client, Client]:
        """Join peers `a` and then `b` to room `r`; no message is left to receive."""
        a, b = await self.peer(), await self.peer()
        await a.join("r", "a")
        await b.join("r", "b")
        await a.expect("peer-joined", peer_id="b")
        return a, b


class Process:
    """`mcp-actors` as a user starts it: in an empty directory, with only the given settings."""

    before: Sequence[str] = ()
    """A command that starts it."""

    descriptors: Sequence[int] = ()
    """Files that it inherits."""

    def __init__(self, directory: Path, *arguments: str, **environ: str) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        self.process = subprocess.Popen(
            [*self.before, sys.executable, "-m", "mcp_actors", *arguments],
            cwd=directory,
            env=inherited | environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=self.descriptors,
        )
        self.port = 0
        self.greeting: list[str] = []

    def wait_until_serving(self) -> Self:
        """Wait for the greeting, which names the port."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.greeting.append(line)
            if "/ws/signaling/" in line:
                self.port = int(line.split("/ws/")[0].rpartition(":")[2])
            if "messages" in line or "--unix-socket" in line:
                return self
        raise AssertionError(f"the server did not start: {self.finish()}")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit status."""
        self.process.send_signal(number)
        self.finish()
        return self.process.returncode

    def finish(self) -> tuple[int, str, str]:
        """Wait for the end: exit status, standard output, standard error."""
        try:
            out, err = self.process.communicate(timeout=END_DEADLINE)
        except subprocess.TimeoutExpired:
            with self:  # nothing of it is left to the tests after this one
                raise
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
        self.process.wait(timeout=END_DEADLINE)


def workers(process: subprocess.Popen[str]) -> list[int]:
    """The children of a process."""
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(pid) for pid in path.read_text().split()]


def hear(process: subprocess.Popen[str], event: str) -> dict[str, Any]:
    """The next log line with this event; the process is killed if it does not come in time."""
    assert process.stderr is not None
    timer = Timer(END_DEADLINE, process.kill)
    timer.start()
    try:
        for line in process.stderr:
            if line.startswith("{") and (found := json.loads(line))["event"] == event:
                return dict(found)
    finally:
        timer.cancel()
    raise AssertionError(f"{event} was not logged")
