"""Runs what must not share a process with the harness, and reads the outcome it prints."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bench.plan import Outcome

if TYPE_CHECKING:
    from bench.plan import Plan

ROOT = Path(__file__).parent.parent
GRACE = 120.0
"""Seconds a process may take beyond what its plan says, to connect and to end."""


class LoadError(Exception):
    """The server or the load did not do its part; `str(error)` says what."""


def run_load(plan: Plan) -> Outcome:
    """Carry out a plan in the load process. Raises `LoadError`."""
    return run_module("bench.load", patience=plan.warm_up + plan.seconds + GRACE, told=msgspec.json.encode(plan))


def run_module(module: str, *arguments: str, patience: float = GRACE, told: bytes = b"") -> Outcome:
    """Run `python -m module`, which prints an outcome. Raises `LoadError`."""
    try:
        done = subprocess.run(  # noqa: S603 - our own modules
            [sys.executable, "-m", module, *arguments],
            input=told,
            capture_output=True,
            cwd=ROOT,
            timeout=patience,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise LoadError(f"{module} did not end within {patience:.0f} s") from None
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise LoadError(lines[-1] if lines else f"{module} failed without a word")
    return msgspec.json.decode(done.stdout, type=Outcome)


def more_files() -> None:
    """Let this process, and those it starts, open as many files as the system allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
