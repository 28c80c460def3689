"""An application in an ASGI server that is a process of its own, as a user starts it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Self

from bench.ports import free_ports
from tests.support.client import Client
from tests.support.server import END_DEADLINE, FOREIGN

if TYPE_CHECKING:
    from types import TracebackType

START_DEADLINE = 30.0

COMMANDS = {
    "uvicorn": ["uvicorn", "{application}", "--port", "{port}"],
    "hypercorn": ["hypercorn", "{application}", "--bind", "127.0.0.1:{port}"],
    "granian": ["granian", "--interface", "asgi", "{application}", "--port", "{port}"],
}


class AsgiProcess:
    """`application` in one of `COMMANDS`, in an empty directory, with only the given settings."""

    def __init__(
        self, directory: Path, server: str = "uvicorn", *arguments: str, application: str = "", **environ: str
    ) -> None:
        self.port = free_ports()
        named = {"application": application or "mcp_actors.asgi:application", "port": self.port}
        command = [word.format_map(named) for word in COMMANDS[server]]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        self._output = (directory / f"output {self.port}").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", *command, *arguments],
            cwd=directory,
            env={**inherited, **environ},
            stdout=self._output,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def wait_until_serving(self, path: str = "/readyz") -> Self:
        """Ask for a page until it is there."""
        end = monotonic() + START_DEADLINE
        while monotonic() < end and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=END_DEADLINE):
                    return self
            except urllib.error.HTTPError:
                return self
            except OSError:
                sleep(0.02)
        raise AssertionError(f"the server did not start: {self.said()}")

    def said(self) -> str:
        """What it has written so far."""
        self._output.flush()
        return Path(self._output.name).read_text(encoding="utf-8")

    def wait(self) -> int:
        """Wait for its end; the exit status."""
        return self.process.wait(END_DEADLINE)

    def stop(self) -> int:
        """Ask it to stop, and wait for its end; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    async def client(self, path: str = "/ws/signaling/", **headers: str) -> Client:
        """Open a connection."""
        return await Client.open(f"ws://127.0.0.1:{self.port}{path}", None, **headers)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.stop()
        self._output.close()
