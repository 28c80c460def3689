"""The compiled variant: the modules on the path of a message keep their promises when mypyc has compiled them, too."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from mcp_actors.compiled import is_compiled, variant

ROOT = Path(__file__).parent.parent
COPIED = (
    *("hatch_build.py", "pyproject.toml", "README.md", "CHANGELOG.md"),
    *("mcp_actors", "bench", "settings", "tests", "docs"),
)
SUITES = (
    *("actors", "room", "ws", "connection/test_connection.py", "connection/test_outbox.py"),
    *("connection/test_connection_limits.py", "sessions/test_replay_buffer.py", "sessions/test_session.py"),
)
"""Tests of what is compiled."""

DEADLINE = 600.0
SHOW_FILES = "import importlib, sys; print(*(importlib.import_module(name).__file__ for name in sys.argv[1:]))"
SHOW = "from mcp_actors.compiled import variant; print(variant())"


def run(tree: Path, *arguments: str, **environ: str) -> str:
    """Run Python in the copy, and return what it printed."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=tree,
        env=os.environ | {"PYTHONPATH": str(tree)} | environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-8000:]
    return done.stdout


def test_this_checkout_is_not_compiled() -> None:
    """Else the tests would not test the sources: `make pure` undoes `make compile`."""
    assert not is_compiled()
    assert variant() == "pure Python"


def test_what_is_compiled_keeps_its_promises_until_that_is_undone(tmp_path: Path) -> None:
    """One test, so that one process compiles: without optimization, which takes a third of the time."""
    copy_checkout(tmp_path)
    run(tmp_path, "hatch_build.py", MYPYC_OPT_LEVEL="0")
    files = run(tmp_path, "-c", SHOW_FILES, *modules(tmp_path)).split()
    assert len(files) == len(modules(tmp_path))
    assert all(file.endswith((".so", ".pyd")) for file in files)
    assert run(tmp_path, "-c", SHOW) == "compiled\n"
    said = run(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(f"tests/{name}" for name in SUITES))
    assert " passed" in said
    run(tmp_path, "hatch_build.py", "--clean")
    assert run(tmp_path, "-c", SHOW) == "pure Python\n"


def copy_checkout(tree: Path) -> None:
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=shutil.ignore_patterns("__pycache__", "*.so", "node_modules"))
        else:
            shutil.copy2(source, tree / name)


def modules(tree: Path) -> list[str]:
    """The names of the modules that are to be compiled."""
    project = tomllib.loads((tree / "pyproject.toml").read_text(encoding="utf-8"))
    paths = project["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"]["modules"]
    return [path.removesuffix(".py").replace("/", ".") for path in paths]
