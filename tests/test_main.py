"""`python -m mcp_actors` is the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp_actors import __version__
from mcp_actors.compiled import variant
from tests.support.server import Process

if TYPE_CHECKING:
    from pathlib import Path


def test_the_package_runs_as_a_module_and_says_its_version(tmp_path: Path) -> None:
    status, out, err = Process(tmp_path, "--version").finish()
    assert (status, out, err) == (0, f"mcp_actors {__version__} ({variant()})\n", "")
