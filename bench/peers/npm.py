"""Installs the packages of the relays on Node into a cache outside the repository."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
INSTALL_TIMEOUT = 180.0


def script(name: str) -> Path:
    """Return the path of a script beside its packages, as ES modules are resolved relative to it."""
    return _cache() / name


def module(name: str) -> Path:
    """Return the path of a file of a package, such as peerjs/dist/peerjs.min.js."""
    return _cache() / "node_modules" / name


@cache
def bundle(script: str) -> str:
    """Return a script for pages that runs an ES module with what it imports from the packages."""
    command = [str(module(".bin/esbuild")), "--bundle", "--format=iife", "--log-level=error"]
    built = subprocess.run(  # noqa: S603 - our own command
        command, cwd=_cache(), input=script, check=True, capture_output=True, text=True, timeout=INSTALL_TIMEOUT
    )
    return built.stdout


@cache
def missing() -> str | None:
    """Install what is missing. Return why that is impossible, or None."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        return "node and npm are not installed"
    place = _cache()
    place.mkdir(parents=True, exist_ok=True)
    for path in (*HERE.glob("*.mjs"), HERE / "package.json"):
        shutil.copy(path, place)
    if (place / "installed").exists():
        return None
    command = [npm, "install", "--omit=dev", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
    try:
        subprocess.run(  # noqa: S603 - our own command
            command, cwd=place, check=True, capture_output=True, timeout=INSTALL_TIMEOUT
        )
    except subprocess.CalledProcessError as error:
        return f"npm install failed: {error.stderr.decode(errors='replace').strip()[-300:]}"
    except subprocess.TimeoutExpired:
        return f"npm install took more than {INSTALL_TIMEOUT:.0f} s"
    (place / "installed").touch()
    return None


def _cache() -> Path:
    """Return the directory for this set of pinned versions."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    pinned = hashlib.sha256((HERE / "package.json").read_bytes()).hexdigest()[:12]
    return base / "mcp_actors-bench" / pinned
