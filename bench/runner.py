"""Runs modules in processes of their own and reads the outcome that they print."""

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
"""Seconds that a process may take to connect and to end, beyond the length of its plan."""


class LoadError(Exception):
    """A measurement failed; `str(error)` says why."""


def run_load(plan: Plan) -> Outcome:
    """Carry out a plan in the load process. Raises `LoadError`."""
    return run_module("bench.load", max_wait=plan.warm_up + plan.seconds + GRACE, told=msgspec.json.encode(plan))


def run_module(module: str, *arguments: str, max_wait: float = GRACE, told: bytes = b"") -> Outcome:
    """Run `python -m module` and return the outcome it prints. Raises `LoadError`."""
    try:
        done = subprocess.run(  # noqa: S603 - our own modules
            [sys.executable, "-m", module, *arguments],
            input=told,
            capture_output=True,
            cwd=ROOT,
            timeout=max_wait,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise LoadError(f"{module} did not end within {max_wait:.0f} s") from None
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise LoadError(lines[-1] if lines else f"{module} failed without a message")
    return msgspec.json.decode(done.stdout, type=Outcome)


def more_files() -> None:
    """Raise the limit of open files for this process and its children to the maximum."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
