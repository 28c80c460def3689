"""The command."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from mcp_actors.conformance.__main__ import main
from mcp_actors.conformance.registry import REQUIREMENTS
from tests.support.server import Process

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_it_prints_a_line_for_each_requirement(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Process(tmp_path, "--port", "0") as server:
        url = f"http://localhost:{server.wait_until_serving().port}"
        assert main([url, "--only", "JOIN", "--only", "TOKEN-1"]) == 0
        told = capsys.readouterr().out
        assert f"kept     JOIN-1    {REQUIREMENTS['JOIN-1'].text}\n" in told
        assert f"skipped  TOKEN-1   {REQUIREMENTS['TOKEN-1'].text} (needs tokens)\n" in told
        assert told.endswith("9 requirements: 8 kept, 1 skipped\n")
        assert main([url, "--only", "JOIN-1", "--json"]) == 0
        assert [one["outcome"] for one in json.loads(capsys.readouterr().out)] == ["kept"]


def test_a_broken_requirement_is_shown_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["http://127.0.0.1:1", "--only", "BEAT-2"]) == 1
    assert capsys.readouterr().out.startswith("BROKEN   BEAT-2 ")


def test_an_unknown_requirement_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["http://127.0.0.1:1", "--only", "NOTHING"]) == 2
    assert "No requirement is called NOTHING" in capsys.readouterr().err
