"""The pages of the quickstart, worked through line by line; tests/web has the page of the browser."""

from __future__ import annotations

import re
import socket
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING
from uuid import uuid4

from bench.ports import free_ports
from tests.docs.pages import DOCS, blocks, commands
from tests.support import coturn
from tests.support.examples import Example

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DEADLINE = 60.0
INSTALLING = ("python3 -m venv", ". .venv", "pip install")
LOOPBACK = 'import aioice.ice\naioice.ice.get_host_addresses = lambda *_, **__: ["127.0.0.1"]\n'
"""Lets aiortc use the loopback, which it leaves out."""


def lines_of(page: str) -> list[str]:
    """The command lines of a page, without those that install: the tests run in an environment that has everything."""
    return [line for line in commands(DOCS / "quickstart" / page) if not line.startswith(INSTALLING)]


def text_of(file: Path) -> str:
    return file.read_text(encoding="utf-8") if file.exists() else ""


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def test_two_python_programs_talk_to_each_other(tmp_path: Path) -> None:
    [program] = [block.text for block in blocks(DOCS / "quickstart" / "python.md") if block.language == "python"]
    example = Example(tmp_path, {})
    with ExitStack() as running:
        example.take("mcp-actors serve &", running)
        (tmp_path / "chat.py").write_text(LOOPBACK + program.replace("http://localhost:8000", example.server))
        for name, line in zip(("ada", "grace"), lines_of("python.md"), strict=True):
            example.take(f"{line.removesuffix(' &')} >{name}.log 2>&1 &", running)
        for name, other in (("ada", "grace"), ("grace", "ada")):
            said = f"{other} says: Hello from {other}!"
            wait_until(lambda log=tmp_path / f"{name}.log", said=said: said in text_of(log), said)  # type: ignore[misc]


class Cluster:
    """The page about a cluster, with free ports, and with a name of its settings that no other process has."""

    def __init__(self, directory: Path) -> None:
        self.example = Example(directory, {"MCP_ACTORS_HOST": "127.0.0.1"})
        self.log = directory / "room.log"
        self._unique = f"cluster-{uuid4().hex}.env"
        self._redis, self._turn = free_ports(), free_ports()
        [settings] = [block.text for block in blocks(DOCS / "quickstart" / "cluster.md") if block.language == "ini"]
        (directory / self._unique).write_text(self._here(settings))

    def _here(self, text: str) -> str:
        text = text.replace("6400", str(self._redis)).replace("3478", str(self._turn))
        return text.replace("cluster.env", self._unique)

    def take(self, line: str, running: ExitStack) -> None:
        """Run a line of the page, when what it needs is there."""
        if line.startswith("mcp-actors serve"):
            wait_until(lambda: listens(self._redis) and listens(self._turn), "Redis and coturn")
        if line.startswith("pkill"):
            wait_until(lambda: "watcher" in text_of(self.log), "the watcher")
        if " watch " in line:
            line = line.replace(" watch ", f" watch --url {self.example.server} ")
        self.example.take(self._here(line), running)

    def check(self, running: ExitStack) -> None:
        """Say whether signaling, a session and TURN work."""
        [line] = [line for line in lines_of("cluster.md") if " probe " in line]
        self.take(line, running)


def assert_well(report: str) -> None:
    assert re.search(r"^ *ok +turn:\S+ relays", report, re.MULTILINE), report
    assert re.search(r"^(\d+) checks: \d+ ok, 1 skipped$", report, re.MULTILINE), report  # TLS


def test_a_cluster_goes_on_when_a_process_is_killed(tmp_path: Path) -> None:
    coturn.find("turnserver")
    cluster = Cluster(tmp_path)
    with ExitStack() as running:
        for line in lines_of("cluster.md"):
            cluster.take(line, running)
        assert_well(next(printed for printed in cluster.example.printed if "signaling" in printed))
        cluster.check(running)
        assert_well(cluster.example.printed[-1])
