"""The code on all pages: it runs, decodes, parses, and names only settings that exist."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from base64 import b64encode
from typing import TYPE_CHECKING

import pytest
import yaml

from mcp_actors.cli import parser
from mcp_actors.environment import ALIASES
from mcp_actors.settings import DEFAULTS, PREFIX
from tests.docs.pages import ROOT, blocks, commands, markdown_files

if TYPE_CHECKING:
    from pathlib import Path

PAGES = {file.relative_to(ROOT).as_posix(): file for file in markdown_files()}
BLOCKS = [block for file in PAGES.values() for block in blocks(file)]
NAMES = {PREFIX + field.upper() for field in DEFAULTS} | set(ALIASES)
DEADLINE = 60
WEBHOOK_SECRET = "whsec_" + b64encode(b"s" * 32).decode()

# Programs that run until they are stopped; tests of their own run them.
RUNS_ON = ("asyncio.run(", "serve_forever(")
GIVEN = "names = ['team-1']\n"
"""Names that the code of a page takes for granted."""

DJANGO = "import django.conf\ndjango.conf.settings.configure(SECRET_KEY='of this test', ROOT_URLCONF=__name__)\n"


def of(language: str) -> list[str]:
    """The pages that have such blocks."""
    return sorted({block.page for block in BLOCKS if block.language == language and not block.skipped})


@pytest.mark.parametrize("page", of("python"))
def test_the_python_of_a_page_runs_from_top_to_bottom(page: str, tmp_path: Path) -> None:
    found = [block.text for block in blocks(PAGES[page]) if block.language == "python" and not block.skipped]
    for text in found:
        compile(text, page, "exec", dont_inherit=True)
    program = GIVEN + "\n".join(text for text in found if not any(call in text for call in RUNS_ON))
    if "django" in program:
        program = DJANGO + program
    environ = {"MCP_ACTORS_SECRET_KEY": "s" * 32, "WEBHOOK_SECRET": WEBHOOK_SECRET, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=False,
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", of("json"))
def test_the_json_of_a_page_decodes(page: str) -> None:
    for block in blocks(PAGES[page]):
        if block.language == "json":
            for text in block.text.splitlines() if block.text.startswith('{"event"') else [block.text]:
                json.loads(text)


@pytest.mark.parametrize("page", of("yaml"))
def test_the_yaml_of_a_page_parses(page: str) -> None:
    for block in blocks(PAGES[page]):
        if block.language == "yaml":
            assert yaml.safe_load(block.text)


@pytest.mark.parametrize("page", sorted(PAGES))
def test_a_page_names_only_settings_that_exist(page: str) -> None:
    text = PAGES[page].read_text("utf-8")
    if page == "CHANGELOG.md":
        return  # it also names those that were removed
    for block in blocks(PAGES[page]):
        if block.language == "ini":
            assert {line.partition("=")[0] for line in block.text.splitlines() if "=" in line} <= NAMES
    named = set(re.findall(rf"\b{PREFIX}[A-Z][A-Z_]*[A-Z]\b", text))
    assert {name for name in named if name not in NAMES and f"{name}_" not in text} == OTHERS & named


OTHERS = {f"{PREFIX}TOKEN"}
"""Variables that are no settings: the token of the commands for clients."""


_LINE = re.compile(r"(?:^|\$\(|--spec \. |--from \. |=\S+ |/bin/)mcp-actors( [^|>)&;]*)")


def server_lines() -> list[str]:
    """The command lines of `mcp-actors` on all pages, without variables, redirections and what is substituted."""
    found = set()
    for file in PAGES.values():
        for line in commands(file):
            found |= {words.strip() for words in _LINE.findall(line)}
    return sorted(found)


@pytest.mark.parametrize("line", server_lines())
def test_a_command_line_is_understood(line: str) -> None:
    words = shlex.split(re.sub(r"\$\([^)]*\)?|\"\$\(.*", "text", line))
    if words[:1] == ["--version"] or not words:
        return
    assert parser().parse_args(["serve", *words] if words[0].startswith("-") else words).command


def test_a_block_that_is_not_run_says_why() -> None:
    assert all(len(block.skipped.split()) > 2 for block in BLOCKS if block.skipped)
