"""A coturn on the loopback, with settings/coturn.conf."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from bench.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

FILE = Path(__file__).parents[2] / "settings" / "coturn.conf"
REALM = "turn.example.com"
DEADLINE = 30.0
NEW_ALLOCATION = re.compile(r"(session \d+): new, .*username=<(.*?)>")
ENDED_ALLOCATION = re.compile(r"(session \d+): delete: ")


def find(name: str) -> str:
    """The path of a program of coturn; the test is skipped if it is not installed, except in CI."""
    found = shutil.which(name)
    if found is None:
        why = "coturn is not installed: apt-get install coturn, or your system's way to it"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    return found


def allocated(log: str, *, existing: bool = False) -> list[str]:
    """The user names of all allocations in a log, or of those that exist still."""
    ended = set(ENDED_ALLOCATION.findall(log)) if existing else set()
    return [user for session, user in NEW_ALLOCATION.findall(log) if session not in ended]


class Coturn:
    """coturn with the example file and a secret, a port and files of the test, on the loopback.

    `lines`: values of other lines of the file, by name.
    """

    def __init__(self, directory: Path, secret: str, **lines: str) -> None:
        self._directory = directory
        self.secret = secret
        self._lines = lines
        self.port = free_ports()
        self.url = f"turn:127.0.0.1:{self.port}?transport=udp"
        self._database = directory / "turndb"
        self._log = directory / "coturn.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start, and wait until it listens."""
        file = self._directory / "coturn.conf"
        file.write_text(self._configuration())
        self._log.unlink(missing_ok=True)
        self._process = subprocess.Popen(
            [find("turnserver"), "-c", file], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.wait_for(lambda log: "SQLite DB connection success" in log, "its start")
        return self

    def stop(self) -> None:
        """End it at once, with all allocations."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=DEADLINE)
            self._process = None

    def _configuration(self) -> str:
        text = FILE.read_text()
        own = {"listening-port": str(self.port), "static-auth-secret": self.secret, "userdb": str(self._database)}
        for name, value in (own | self._lines).items():
            text, count = re.subn(rf"^{name}=.*$", f"{name}={value}", text, flags=re.MULTILINE)
            assert count == 1, f"{name} is in the file once"
        loopback = ["listening-ip=127.0.0.1", "relay-ip=127.0.0.1", "allow-loopback-peers"]
        files = [f"log-file={self._log}", "simple-log", "verbose", f"pidfile={self._directory / 'coturn.pid'}"]
        return "\n".join([text, *loopback, *files, ""])

    def administrate(self, *arguments: str) -> None:
        """Change the database while coturn runs."""
        subprocess.run(
            [find("turnadmin"), *arguments, f"--realm={REALM}", f"--userdb={self._database}"],
            check=True,
            capture_output=True,
            timeout=DEADLINE,
        )

    def log(self) -> str:
        """All that it has logged."""
        return self._log.read_text() if self._log.exists() else ""

    def wait_for(self, condition: Callable[[str], object], what: str) -> None:
        """Wait until the log fulfils a condition."""
        deadline = time.monotonic() + DEADLINE
        while not condition(self.log()):
            assert time.monotonic() < deadline, f"waited in vain for {what} in the log of coturn: {self.log()}"
            time.sleep(0.02)

    def wait_for_users(self, *users: str) -> None:
        """Wait until each of these, without the time in front, has made an allocation."""
        wanted = set(users)
        self.wait_for(lambda log: wanted <= {name.partition(":")[2] for name in allocated(log)}, f"users {users}")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.stop()
