"""The examples that are folders: each is started by the command lines of its README, in a copy of the folder."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, NamedTuple

from tests.support.server import END_DEADLINE, FOREIGN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
START_DEADLINE = 60.0
COMMAND_DEADLINE = 180.0


class Listener(NamedTuple):
    """A program that listens. `address`: its address in the READMEs; `says`: what it prints then, with the port."""

    program: str
    address: str
    says: re.Pattern[str]


SERVER = Listener("mcp-actors serve", "localhost:8000", re.compile(r":(\d+)/ws/signaling/[\s\S]*/ws/mcp/"))
PAGE = Listener("http.server", "localhost:8080", re.compile(r" port (\d+) "))


class Example:
    """An example whose lines are run, one after the other.

    Tests listen at free ports, which take the place of those in the lines. `environ`: the variables of the commands.
    `printed`: what each line printed that has ended.
    """

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self.folder = folder
        self.environ = {**_environment(), **environ}
        self.printed: list[str] = []
        self._addresses: dict[Listener, str] = {}

    @property
    def addresses(self) -> set[str]:
        """Hosts and ports at which it listens."""
        return {*self._addresses.values()}

    @property
    def server(self) -> str:
        """The URL of its signaling server."""
        return f"http://{self._addresses[SERVER]}"

    @property
    def page(self) -> str:
        """The URL of its page."""
        return f"http://{self._addresses[PAGE]}"

    def url(self, server: str = "", **options: str) -> str:
        """The URL of the page, with options."""
        found = "&".join(f"{name}={value}" for name, value in options.items())
        return f"{self.page}/?server={server or self.server}&{found}"

    def take(self, line: str, running: ExitStack) -> None:
        """Run a line of the README; if it ends with &, until `running` is closed."""
        for listener, address in self._addresses.items():
            line = line.replace(listener.address, address)
        if line.startswith("export "):
            name, _, value = line.removeprefix("export ").partition("=")
            self.environ[name] = self.run(f"echo {value}")
        elif line.endswith(" &"):
            running.enter_context(self.running(line.removesuffix(" &")))
        else:
            self.printed.append(self.run(line))

    def run(self, line: str) -> str:
        """Run a command to its end, and return what it printed."""
        command = ["bash", "-ec", line]
        done = subprocess.run(
            command,
            check=False,
            cwd=self.folder,
            env=self.environ,
            timeout=COMMAND_DEADLINE,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done
        return done.stdout.strip()

    @contextmanager
    def running(self, line: str) -> Iterator[None]:
        """Run a command until the end of the context, once it listens, if it does; it may not end before."""
        listener = next((one for one in (SERVER, PAGE) if one.program in line), None)
        command = ["bash", "-ec", line.replace(" 8080 ", " 0 ")]
        with TemporaryFile("w+") as output:
            process = subprocess.Popen(
                command, cwd=self.folder, env=self.environ, stdout=output, stderr=output, start_new_session=True
            )
            try:
                if listener is not None:
                    self._addresses[listener] = f"127.0.0.1:{_port(process, listener, output)}"
                yield
                assert process.poll() is None, f"{line} ended: {_told(output)}"
            finally:
                _stop(process)
            assert "Traceback" not in _told(output), _told(output)


def command_lines(name: str) -> list[str]:
    """The command lines in the README of an example."""
    return re.findall(r"^\$ (.+)$", (EXAMPLES / name / "README.md").read_text(encoding="utf-8"), re.MULTILINE)


@contextmanager
def started(name: str, directory: Path, environ: Mapping[str, str] = MappingProxyType({})) -> Iterator[Example]:
    """Run the lines of the README; those that end with & run until the end of the context."""
    folder = directory / name
    shutil.copytree(EXAMPLES / name, folder, ignore=shutil.ignore_patterns("node_modules"))
    example = Example(folder, environ)
    with ExitStack() as running:
        for line in command_lines(name):
            example.take(line, running)
        yield example


def _environment() -> dict[str, str]:
    """The programs of this environment come first, and the server listens on a free port."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ours = {"PATH": path, "MCP_ACTORS_HOST": "127.0.0.1", "MCP_ACTORS_PORT": "0", "PYTHONUNBUFFERED": "1"}
    return inherited | ours


def _port(process: subprocess.Popen[bytes], listener: Listener, output: IO[str]) -> int:
    """Wait until a program says that it listens, and return the port."""
    deadline = time.monotonic() + START_DEADLINE
    while (found := listener.says.search(_told(output))) is None:
        assert process.poll() is None, _told(output)
        assert time.monotonic() < deadline, _told(output)
        time.sleep(0.02)
    return int(found[1])


def _told(output: IO[str]) -> str:
    """Read what was written, without moving the place where the process writes on."""
    return os.pread(output.fileno(), 2**20, 0).decode(errors="replace")


def _stop(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(END_DEADLINE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
