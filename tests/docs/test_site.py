"""The site builds without a warning, and has what readers and programs look for."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from mcp_actors.conformance.registry import ordered
from mcp_actors.protocol.schema import schema
from mcp_actors.settings import DEFAULTS, PREFIX
from tests.docs.pages import DOCS, ROOT

if TYPE_CHECKING:
    from pathlib import Path

DEADLINE = 300


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "--quiet",
        "--fail-on-warning",
        "--keep-going",
        str(DOCS),
        str(directory),
    ]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 0, done.stderr
    return directory


def test_every_page_is_there_as_html_and_as_markdown(site: Path) -> None:
    names = [file.relative_to(DOCS).with_suffix("") for file in DOCS.rglob("*.md")]
    assert len(names) > 40
    for name in names:
        assert (site / f"{name}.html").is_file(), name
        assert (site / f"{name}.md").read_text("utf-8").startswith("# "), name


def test_the_copies_link_to_each_other(site: Path) -> None:
    for file in site.rglob("*.md"):
        text = re.sub(r"```.*?```|`[^`\n]*`", "", file.read_text("utf-8"), flags=re.DOTALL)
        for path in re.findall(r"\]\(([^)#\s:]+\.md)[#)]", text):
            assert (file.parent / path).resolve().is_file(), f"{file}: {path}"


def test_programs_find_all_pages(site: Path) -> None:
    listed = re.findall(r"^- \[[^\]]+\]\(([^)]+)\)", (site / "llms.txt").read_text("utf-8"), re.MULTILINE)
    for path in listed:
        assert (site / path).is_file()
    found = {file.relative_to(DOCS).as_posix() for file in DOCS.glob("*/*.md") if file.stem != "index"}
    assert set(listed) == found


def test_every_setting_has_an_entry_with_its_default(site: Path) -> None:
    text = (site / "reference" / "settings.md").read_text("utf-8")
    for field in DEFAULTS:
        entry = text.split(f"\n### `{PREFIX}{field.upper()}`\n", 1)[1].split("\n##", 1)[0]
        assert "default " in entry, field
        assert "Explained with" in entry or len(entry.split()) > 8, field


def test_the_schema_can_be_downloaded(site: Path) -> None:
    assert json.loads((site / "reference" / "schema.json").read_text("utf-8")) == schema()
    assert 'href="schema.json"' in (site / "reference" / "schema.html").read_text("utf-8")


def test_every_requirement_is_listed(site: Path) -> None:
    text = (site / "reference" / "conformance.md").read_text("utf-8")
    assert all(f"| `{one.id}` | {one.text} |" in text for one in ordered())


def test_every_command_has_its_help(site: Path) -> None:
    text = (site / "reference" / "cli.md").read_text("utf-8")
    for name in ("serve", "token", "secret", "settings", "probe", "watch", "mcp"):
        assert f"usage: mcp-actors {name}" in text


def test_the_python_api_has_its_main_names(site: Path) -> None:
    page = (site / "reference" / "python-api.html").read_text("utf-8")
    for name in ("signaling_server.SignalingServer", "auth.grants.Grant", "observing.MemberJoined", "rooms.Rooms"):
        assert f'id="mcp_actors.{name}"' in page, name
