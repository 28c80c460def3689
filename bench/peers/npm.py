"""The npm packages of the relays on Node, and of clients in browsers."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

from bench.npm_packages import INSTALL_TIMEOUT, NpmPackages

PACKAGES = NpmPackages(Path(__file__).parent)


def script(name: str) -> Path:
    """Return the path of a script beside its packages."""
    return PACKAGES.place / name


def module(name: str) -> Path:
    """Return the path of a file of a package, such as peerjs/dist/peerjs.min.js."""
    return PACKAGES.module(name)


@cache
def bundle(script: str) -> str:
    """Return a script for pages that runs an ES module with what it imports from the packages."""
    command = [str(module(".bin/esbuild")), "--bundle", "--format=iife", "--external:crypto", "--log-level=error"]
    built = subprocess.run(  # noqa: S603 - our own command
        command, cwd=PACKAGES.place, input=script, check=True, capture_output=True, text=True, timeout=INSTALL_TIMEOUT
    )
    return built.stdout


def missing() -> str | None:
    """Install what is missing. Return why that is impossible, or None."""
    return PACKAGES.missing
