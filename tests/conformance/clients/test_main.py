"""The command judges both clients of this repository, and others, by their adapters."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcp_actors.conformance.clients.__main__ import report
from mcp_actors.conformance.clients.registry import REQUIREMENTS
from mcp_actors.conformance.clients.runner import judge
from tests.conformance.clients.adapter import PythonAdapter
from tests.support import js_client

if TYPE_CHECKING:
    from tests.conftest import ExpectedLogs

HERE = Path(__file__).parent
DEADLINE = 100.0


async def judged(*arguments: str) -> tuple[int | None, str]:
    """The exit status of the command, and what it prints."""
    command = [sys.executable, "-m", "mcp_actors.conformance", "client", *arguments]
    process = await asyncio.create_subprocess_exec(*command, stdout=-1, stderr=-2, cwd=HERE.parents[2])
    async with asyncio.timeout(DEADLINE):
        printed, _ = await process.communicate()
    return process.returncode, printed.decode()


def broken(printed: str) -> dict[str, Any]:
    return {one["id"]: (one["why"], one["transcript"]) for one in json.loads(printed) if not one["kept"]}


async def test_the_javascript_client_keeps_all_requirements() -> None:
    js_client.require_tools()
    status, printed = await judged("--json", "--", str(js_client.node()), str(HERE / "adapter.mjs"))
    assert broken(printed) == {}
    assert (status, len(json.loads(printed))) == (0, len(REQUIREMENTS))


async def test_the_python_client_keeps_all_requirements(expected_logs: ExpectedLogs) -> None:
    """In this process, which takes less time."""
    expected_logs.allow("mcp_actors.client")
    verdicts = await judge(PythonAdapter, REQUIREMENTS.values())
    assert [(one.id, one.why, one.transcript) for one in verdicts if not one.kept] == []


async def test_the_adapter_of_the_python_client_is_a_program_too() -> None:
    status, printed = await judged(
        "--only", "TOKENS-3", "--only", "CLOSE-3", "--", sys.executable, str(HERE / "adapter.py")
    )
    assert (status, printed.rstrip().endswith("2 requirements: 2 kept")) == (0, True), printed


async def test_a_client_that_does_nothing_is_broken_and_the_report_says_what_was_expected() -> None:
    status, printed = await judged("--only", "TOKENS-1", "--patience", "0.2", "--", "cat")
    assert status == 1
    assert "BROKEN   TOKENS-1" in printed
    assert "a new connection was expected" in printed
    assert 'command {"command": "connect"' in printed


async def test_the_adapter_of_the_page_keeps_what_needs_no_session(tmp_path: Path) -> None:
    js_client.require_tools()
    page = (HERE.parents[2] / "docs" / "reference" / "client-conformance.md").read_text(encoding="utf-8")
    adapter = tmp_path / "adapter.mjs"
    adapter.write_text(page.partition("```js\n")[2].partition("```")[0], encoding="utf-8")
    command = ("--json", "--", str(js_client.node()), str(adapter))
    only = ("--only", "FORWARD", "--only", "CLOSE-1", "--only", "CLOSE-3")
    _, printed = await judged(*only, *command)
    assert broken(printed) == {}
    _, printed = await judged("--only", "RETURN-7", "--patience", "1", *command)
    assert set(broken(printed)) == {"RETURN-7"}


async def test_an_unknown_requirement_is_refused() -> None:
    assert await judged("--only", "TEA", "--", "cat") == (2, "No requirement is called TEA.\n")


def test_a_report_counts_what_is_kept() -> None:
    assert report([]).endswith("0 requirements: 0 kept")
