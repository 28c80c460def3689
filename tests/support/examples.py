"""The examples that are folders: each is started by the command lines of its README, in a copy of the folder."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path
from tempfile import TemporaryFile
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from bench.ports import free_ports
from tests.support.server import END_DEADLINE, FOREIGN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
START_DEADLINE = 60.0
COMMAND_DEADLINE = 180.0
SERVER, PAGE = "localhost:8000", "localhost:8080"
"""The addresses in the READMEs; tests take free ports in their place."""


class Started(NamedTuple):
    """An example that runs. `server`: the address of its signaling server; `page`: that of its page.

    `environ`: the variables of its commands. `printed`: what each line printed that has ended.
    """

    folder: Path
    server: str
    page: str
    environ: dict[str, str]
    printed: list[str]

    def url(self, server: str = "", **options: str) -> str:
        """The URL of the page."""
        found = "&".join(f"{name}={value}" for name, value in options.items())
        return f"{self.page}/?server={server or self.server}&{found}"

    def run(self, line: str) -> str:
        """Run one more command to its end, and return what it printed."""
        return subprocess.run(
            ["bash", "-ec", line],
            cwd=self.folder,
            env=self.environ,
            check=True,
            timeout=COMMAND_DEADLINE,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout.strip()

    @contextmanager
    def running(self, line: str, port: int | None = None) -> Iterator[None]:
        """Run a command until the end of the context, and wait until it listens on a port. It may not fail."""
        with TemporaryFile("w+") as output:
            process = subprocess.Popen(
                ["bash", "-ec", line],
                cwd=self.folder,
                env=self.environ,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            try:
                if port is not None:
                    _wait_until_listening(process, port)
                yield
            finally:
                _stop(process)
                output.seek(0)
                told = output.read()
            assert "Traceback" not in told, told


def command_lines(name: str) -> list[str]:
    """The command lines in the README of an example."""
    return re.findall(r"^\$ (.+)$", (EXAMPLES / name / "README.md").read_text(encoding="utf-8"), re.MULTILINE)


@contextmanager
def started(name: str, directory: Path, environ: Mapping[str, str] = MappingProxyType({})) -> Iterator[Started]:
    """Run the lines of the README, one after the other; those that end with & run until the end of the context."""
    folder = directory / name
    shutil.copytree(EXAMPLES / name, folder, ignore=shutil.ignore_patterns("node_modules"))
    ports = dict(zip((SERVER, PAGE), count(free_ports(2)), strict=False))
    server, page = (f"http://127.0.0.1:{port}" for port in ports.values())
    example = Started(folder, server, page, {**_environment(ports[SERVER]), **environ}, [])
    with ExitStack() as running:
        for line in command_lines(name):
            command = _with_ports(line.removesuffix(" &"), ports)
            if line.startswith("export "):
                variable, _, value = command.removeprefix("export ").partition("=")
                example.environ[variable] = example.run(f"echo {value}")
            elif line.endswith(" &"):
                running.enter_context(example.running(command, _listens(line, ports)))
            else:
                example.printed.append(example.run(command))
        yield example


def _with_ports(command: str, ports: dict[str, int]) -> str:
    for address, port in ports.items():
        command = command.replace(address, f"127.0.0.1:{port}")
        command = command.replace(f" {address.partition(':')[2]} ", f" {port} ")
    return command


def _listens(line: str, ports: dict[str, int]) -> int | None:
    """The port on which a command listens."""
    if "mcp-actors serve" in line:
        return ports[SERVER]
    return ports[PAGE] if "8080" in line else None


def _environment(port: int) -> dict[str, str]:
    """The programs of this environment come first, and the server listens on this port."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**inherited, "PATH": path, "MCP_ACTORS_PORT": str(port)}


def _wait_until_listening(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_DEADLINE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert process.poll() is None, process.args
            assert time.monotonic() < deadline, process.args
            time.sleep(0.02)
        else:
            return


def _stop(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(END_DEADLINE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
