"""Packages of npm, pinned by a package.json and installed into a cache outside the repository."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from functools import cached_property
from pathlib import Path

INSTALL_TIMEOUT = 180.0


class NpmPackages:
    """The packages of a folder, whose scripts are copied beside them, as ES modules are resolved relative to it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def place(self) -> Path:
        """The directory for this set of pinned versions."""
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        pinned = hashlib.sha256((self._folder / "package.json").read_bytes()).hexdigest()[:12]
        return base / "mcp_actors-bench" / pinned

    def module(self, name: str) -> Path:
        """Return the path of a file of a package, such as peerjs/dist/peerjs.min.js."""
        return self.place / "node_modules" / name

    @cached_property
    def missing(self) -> str | None:
        """Install what is missing, one process at a time. Return why that is impossible, or None."""
        npm = shutil.which("npm")
        if npm is None or shutil.which("node") is None:
            return "node and npm are not installed"
        self.place.mkdir(parents=True, exist_ok=True)
        with (self.place / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return self._install(npm)

    def _install(self, npm: str) -> str | None:
        for path in (*self._folder.glob("*.mjs"), self._folder / "package.json"):
            shutil.copy(path, self.place)
        if (self.place / "installed").exists():
            return None
        command = [npm, "install", "--omit=dev", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
        try:
            subprocess.run(  # noqa: S603 - our own command
                command, cwd=self.place, check=True, capture_output=True, timeout=INSTALL_TIMEOUT
            )
        except subprocess.CalledProcessError as error:
            return f"npm install failed: {error.stderr.decode(errors='replace').strip()[-300:]}"
        except subprocess.TimeoutExpired:
            return f"npm install took more than {INSTALL_TIMEOUT:.0f} s"
        (self.place / "installed").touch()
        return None
