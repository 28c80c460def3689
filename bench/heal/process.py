"""The signaling server and coturn, in a network of the bench; both can be stopped and started again."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from bench.contender import FOREIGN, ROOT
from bench.guard import Guard
from mcp_actors.auth.secret import make

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from bench.heal.namespace import Namespace

START_TIMEOUT, STOP_TIMEOUT = 30.0, 10.0
POLL = 0.02
MOST_SHOWN = 2000
"""Characters of the output of a process that does not start."""

SERVER_PORT, TURN_PORT = 8000, 3478
CONFIGURATION = Path("settings", "coturn.conf")


class ProcessError(Exception):
    """A process does not start; `str(error)` says why."""


class Process:
    """A command in a network, which listens on a TCP port there; it is stopped on leaving the context."""

    def __init__(self, namespace: Namespace, port: int, log: Path) -> None:
        self._namespace = namespace
        self._port = port
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: Guard | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End it."""
        if self._process is None or self._guard is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._guard.release()
        self._process = self._guard = None

    def _run(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start it, and wait until it listens. Raises ProcessError."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own commands
                self._namespace.command(*command),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
            )
        self._guard = Guard(self._process.pid)
        deadline = time.monotonic() + START_TIMEOUT
        while not self._namespace.call(self._listens):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise ProcessError(f"{command[0]} does not listen: {self._log.read_text()[-MOST_SHOWN:].strip()}")
            time.sleep(POLL)

    def _listens(self) -> bool:
        with suppress(OSError), socket.create_connection((self._namespace.host, self._port), timeout=1):
            return True
        return False


class SignalingServer(Process):
    """This server. `settings`: environment variables."""

    def __init__(self, namespace: Namespace, log: Path, settings: Mapping[str, str]) -> None:
        super().__init__(namespace, SERVER_PORT, log)
        self._settings = settings
        self.url = f"http://{namespace.host}:{SERVER_PORT}"

    def start(self) -> None:
        """Start it, and wait until it listens. Raises ProcessError."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        own = {
            "MCP_ACTORS_HOST": self._namespace.host,
            "MCP_ACTORS_PORT": str(SERVER_PORT),
            "MCP_ACTORS_SECRET_KEY": make(),
            "PYTHONPATH": str(ROOT),
        }
        self._run([sys.executable, "-m", "mcp_actors", "serve"], inherited | own | dict(self._settings))


class Coturn(Process):
    """A coturn with settings/coturn.conf, and a secret and files of its own."""

    def __init__(self, namespace: Namespace, directory: Path) -> None:
        super().__init__(namespace, TURN_PORT, directory / "coturn.log")
        self._directory = directory
        self.secret = secrets.token_urlsafe()
        self.url = f"turn:{namespace.host}:{TURN_PORT}?transport=udp"

    def start(self, *, valid: bool = True) -> None:
        """Start it, and wait until it listens; if not `valid`, with another secret. Raises ProcessError."""
        file = self._directory / "coturn.conf"
        file.write_text(self._configuration(self.secret if valid else secrets.token_urlsafe()))
        self._run(["turnserver", "-c", str(file)], dict(os.environ))

    def _configuration(self, secret: str) -> str:
        text = (ROOT / CONFIGURATION).read_text()
        for name, value in {"static-auth-secret": secret, "userdb": str(self._directory / "turndb")}.items():
            text = re.sub(rf"^{name}=.*$", f"{name}={value}", text, flags=re.MULTILINE)
        host = self._namespace.host
        own = [
            f"listening-ip={host}",
            f"relay-ip={host}",
            f"pidfile={self._directory / 'coturn.pid'}",
            "log-file=stdout",
        ]
        return "\n".join([text, *own, "simple-log", ""])


def missing() -> str | None:
    """Return what is missing to run coturn; None if nothing."""
    return None if shutil.which("turnserver") else "coturn is missing: apt-get install coturn"
