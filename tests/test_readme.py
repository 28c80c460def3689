"""README.md names files that exist, and its command lines work."""

from __future__ import annotations

import asyncio
import re
import shlex
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bench.engine import Engine
from mcp_actors.auth.secret import make
from tests.support.server import END_DEADLINE, Process

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_link_has_a_target() -> None:
    anchors = {heading.lower().replace(" ", "-") for heading in re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)}
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        path, _, anchor = target.partition("#")
        assert "://" in target or (ROOT / path).exists(), target
        assert path or anchor in anchors, target


def test_every_file_of_the_architecture_exists() -> None:
    architecture = TEXT.split("\n## Architecture\n", 1)[1].split("\n## ", 1)[0]
    paths = re.findall(r"`(\w[\w/]*(?:/|\.py|\.js|\.env))`", architecture)
    assert paths
    for path in paths:
        assert (ROOT / "mcp_actors" / path).exists() or (ROOT / path).exists(), path


def test_settings_files_on_command_lines_exist() -> None:
    for path in re.findall(r"--settings (\S+\.env)", TEXT):
        assert (ROOT / path).is_file()


def commands() -> list[str]:
    """The command lines of the server in README, each with the variables that it is given."""
    lines = re.findall(r"^\$ (.*\.venv/bin/mcp-actors .*)$", TEXT, re.MULTILINE)
    return [re.sub(r"^export \w+=\$\((.*)\)$", r"\1", line).removesuffix(" &") for line in lines]


def test_readme_has_command_lines_of_all_kinds() -> None:
    assert {
        kind for kind in ("serve", "secret", "token") if any(f"mcp-actors {kind}" in one for one in commands())
    } == {
        "serve",
        "secret",
        "token",
    }


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with Engine() as engine:
        yield engine.url


@pytest.mark.parametrize("line", sorted(set(commands())))
async def test_every_command_line_works(line: str, redis_url: str, tmp_path: Path) -> None:
    before, _, after = line.partition(".venv/bin/mcp-actors ")
    given = dict(word.split("=", 1) for word in shlex.split(before))
    environ = {"MCP_ACTORS_SECRET_KEY": make()} | given
    if "REDIS_URL" in environ:
        environ["REDIS_URL"] = redis_url
    arguments = [str(ROOT / one) if one.startswith("settings/") else one for one in shlex.split(after)]
    if arguments[0] != "serve":
        status, out, err = await asyncio.to_thread(Process(tmp_path, *arguments, **environ).finish)
        assert (status, err) == (0, "")
        assert out.strip()
        return
    with Process(tmp_path, *arguments, "--port", "0", **environ) as process:
        await asyncio.to_thread(process.wait_until_serving)
        page = re.search(r"https?://\S+/", "".join(process.greeting))
        assert page is not None
        with await asyncio.to_thread(urllib.request.urlopen, page[0], timeout=END_DEADLINE) as answer:
            assert b"<html" in answer.read()
        assert await asyncio.to_thread(process.stop) == 0
