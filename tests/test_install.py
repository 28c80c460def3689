"""The wheel, outside the repository: built and installed as deploy/Dockerfile does, in a fresh environment."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import shutil
import signal
import subprocess
import tarfile
import tomllib
import urllib.request
import zipfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from mcp_actors.auth.secret import make
from mcp_actors.environment import load
from tests.support.client import Client
from tests.support.confinement import confined
from tests.support.dockerfile import ROOT, BuildStage, command, stages, value
from tests.support.server import END_DEADLINE, FOREIGN, Process
from tests.test_deploy import ELSEWHERE, lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.engine import Engine

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PINNED = ROOT / "deploy" / "requirements.txt"


class Installed(Process):
    """`mcp-actors` of the wheel, in an empty directory, with nothing of this repository in its way."""

    def __init__(self, program: Sequence[str], directory: Path, *arguments: str, **environ: str) -> None:
        inherited = {name: text for name, text in os.environ.items() if not name.startswith((*FOREIGN, "PYTHON"))}
        self.process = subprocess.Popen(
            [*program, *arguments],
            cwd=directory,
            env=inherited | environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.port, self.greeting = 0, []


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> BuildStage:
    """The build stage of the Dockerfile, followed once in a directory of its own, whatever number of processes test."""
    own = tmp_path_factory.getbasetemp()
    directory = (own if worker_id == "master" else own.parent) / "image"
    with (directory.parent / "image.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stage = BuildStage(directory)
        if not directory.exists():
            directory.mkdir()
            stage.run()
    return stage


@pytest.fixture
def program(build: BuildStage) -> str:
    return str(build.environment / "bin" / "mcp-actors")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Ends what a test starts, last first."""
    with ExitStack() as stack:
        yield stack


def read(port: int, name: str) -> bytes:
    with urllib.request.urlopen(f"http://localhost:{port}/{name}", timeout=END_DEADLINE) as page:
        return bytes(page.read())


def said(program: str, directory: Path, *arguments: str) -> str:
    status, out, err = Installed([program], directory, *arguments).finish()
    assert (status, err) == (0, "")
    return out


def test_it_says_its_version_explains_its_settings_and_names_its_protocol(program: str, tmp_path: Path) -> None:
    assert said(program, tmp_path, "--version") == f"mcp_actors {PROJECT['version']} (pure Python)\n"
    assert said(program, tmp_path, "settings") == (ROOT / "settings" / "development.env").read_text()
    (protocol,) = [word for word in said(program, tmp_path, "--help").split() if word.endswith("PROTOCOL.md")]
    assert Path(protocol).read_text() == (ROOT / "mcp_actors" / "protocol" / "PROTOCOL.md").read_text()


async def test_it_serves_the_demo_page_and_its_modules_and_peers_join(
    program: str, tmp_path: Path, stack: ExitStack
) -> None:
    server = stack.enter_context(Installed([program], tmp_path, "serve", "--port", "0")).wait_until_serving()
    for name in ("", "demo/app.js", "demo/call.css", "client/index.js"):
        assert await asyncio.to_thread(read, server.port, name)
    peer = await Client.open(f"ws://localhost:{server.port}/ws/signaling/")
    await peer.join("r", "a")
    await peer.end()
    assert await asyncio.to_thread(server.stop) == 0


async def test_nodes_share_rooms_through_redis(
    program: str, tmp_path: Path, stack: ExitStack, engine: Engine, prefix: str
) -> None:
    redis = {"REDIS_URL": engine.url, "MCP_ACTORS_REDIS_PREFIX": prefix, "MCP_ACTORS_SECRET_KEY": make()}
    nodes = [Installed([program], tmp_path, "--port", "0", **redis) for _ in range(2)]
    peers = []
    for index, node in enumerate(nodes):
        stack.enter_context(node).wait_until_serving()
        peers.append(await Client.open(f"ws://localhost:{node.port}/ws/signaling/"))
        assert len((await peers[-1].join("r", str(index)))["peers"]) == index + 1
    for peer in peers:
        await peer.end()
    for node in nodes:
        assert await asyncio.to_thread(node.stop) == 0


async def test_the_command_of_the_image_runs_without_a_disk_to_write_to_privileges_and_writable_code(
    build: BuildStage, tmp_path: Path, stack: ExitStack
) -> None:
    stage = stages()[1]
    user, _ = (int(number) for number in value(stage, "USER").split(":"))
    entry = [*command(stage, "ENTRYPOINT"), *command(stage, "CMD")]
    environ = dict(item.split("=", 1) for item in value(stage, "ENV").split())
    environ |= {"PATH": f"{build.environment}/bin:{os.environ['PATH']}", "MCP_ACTORS_SECRET_KEY": make()}
    assert environ["MCP_ACTORS_HOST"] == "0.0.0.0"  # noqa: S104 - listens elsewhere in this test
    here = environ | {"MCP_ACTORS_HOST": "127.0.0.1", "MCP_ACTORS_PORT": "0"}
    python = str(build.environment / "bin" / "python")
    restricted = [
        *("unshare", "--mount", "sh", "-c", 'mount -o remount,bind,ro / && exec "$@"', "sh"),
        *("unshare", "--user", f"--map-user={user}", f"--map-group={user}"),
        *("setpriv", "--bounding-set=-all", "--inh-caps=-all"),
        *confined(),
        str(build.environment / "bin" / entry[0]),
    ]
    server = stack.enter_context(Installed(restricted, tmp_path, *entry[1:], **here)).wait_until_serving()
    about = Path(f"/proc/{server.process.pid}")
    assert f"{user} " in (about / "uid_map").read_text()
    assert {"CapEff:\t0000000000000000", "NoNewPrivs:\t1"} <= set((about / "status").read_text().splitlines())
    assert re.search(r"^\d+ \d+ \S+ / / ro,", (about / "mountinfo").read_text(), re.MULTILINE)
    checked = here | {"MCP_ACTORS_PORT": str(server.port)}
    check = [python, *command(stage, "HEALTHCHECK")[1:]]
    assert await asyncio.to_thread(Installed(check, tmp_path, **checked).finish) == (0, "", "")
    peer = await Client.open(f"ws://127.0.0.1:{server.port}/ws/signaling/")
    await peer.join("r", "a")
    server.process.send_signal(signal.SIGTERM)
    await peer.expect_close(1001)
    await peer.end()
    assert (await asyncio.to_thread(server.finish))[0] == 0
    status, _, err = await asyncio.to_thread(Installed(check, tmp_path, **checked).finish)
    assert status
    assert "refused" in err


def files_of(wheel: Path) -> dict[str, int]:
    """The files of a wheel, with their checksums."""
    with zipfile.ZipFile(wheel) as archive:
        return {info.filename: info.CRC for info in archive.infolist()}


def test_the_source_distribution_holds_what_builds_the_same_wheel(build: BuildStage, tmp_path: Path) -> None:
    (wheel,) = build.wheels.glob("mcp_actors-*.whl")
    build.shell(f"python -m hatchling build --target sdist --directory {tmp_path}", ROOT)
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"settings/production.env", "settings/nginx.conf", "deploy/Dockerfile", "CHANGELOG.md", "LICENSE"} <= names
    assert not [name for name in names if name.startswith(("tests/", "bench/"))]
    build.shell(f"pip wheel --no-index --no-build-isolation --no-deps --wheel-dir {tmp_path} {sdist}")
    (again,) = tmp_path.glob("*.whl")
    assert files_of(again) == files_of(wheel)


def test_every_dependency_is_pinned_to_a_version_that_the_project_accepts() -> None:
    lines = PINNED.read_text(encoding="utf-8").replace("\\\n", "").splitlines()
    requirements = [Requirement(line.partition(" --hash")[0]) for line in lines if line[:1] != "#"]
    pinned = {canonicalize_name(one.name): one for one in requirements}
    for dependency in map(Requirement, [*PROJECT["dependencies"], "hatchling"]):
        (exact,) = pinned[canonicalize_name(dependency.name)].specifier
        assert exact.operator == "=="
        assert dependency.specifier.contains(Version(exact.version)), dependency
    assert all("--hash=sha256:" in line for line in lines if line[:1] != "#")


def test_the_lines_of_the_guide_install_the_service(build: BuildStage, tmp_path: Path) -> None:
    for name in ("opt", "etc/systemd/system"):
        (tmp_path / name).mkdir(parents=True)
    source = tmp_path / "clone"
    kept_out = shutil.ignore_patterns(".git", ".venv", ".*_cache", "__pycache__", "node_modules", "tests", "bench")
    shutil.copytree(ROOT, source, ignore=kept_out, symlinks=True)
    here = [line for line in lines() if not line.startswith(ELSEWHERE)]
    assert len(here) == 7
    for line in here:
        moved = re.sub(r"(?<![\w/])/(opt|etc)/", rf"{tmp_path}/\1/", line)
        build.shell(moved, source, PIP_NO_INDEX="1", PIP_FIND_LINKS=str(build.wheels), PIP_NO_COMPILE="1")
    settings = tmp_path / "etc/mcp-actors/mcp-actors.env"
    assert settings.stat().st_mode & 0o777 == 0o600
    assert load(settings, environ={}, directory=tmp_path).server.secret_key
    units = {path.name for path in (tmp_path / "etc/systemd/system").iterdir()}
    assert units == {path.name for path in (ROOT / "deploy/systemd").iterdir()}
    version = subprocess.run(
        [tmp_path / "opt/mcp-actors/bin/mcp-actors", "--version"], capture_output=True, text=True, check=True
    )
    assert version.stdout == f"mcp_actors {PROJECT['version']} (pure Python)\n"
