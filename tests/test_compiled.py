"""The compiled variant: the modules on the path of a message keep their promises when mypyc has compiled them, too."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from mcp_actors.compiled import is_compiled, variant

ROOT = Path(__file__).parent.parent
COPIED = (
    *("hatch_build.py", "pyproject.toml", "README.md", "CHANGELOG.md"),
    *("mcp_actors", "bench", "settings", "tests", "docs"),
)
SUITES = ("actors", "connection", "room", "sessions", "ws")
"""Folders of tests of what is compiled."""

DEADLINE = 600.0
SHOW = "from mcp_actors.compiled import variant; print(variant())"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this checkout, compiled without optimization, which takes a third of the time."""
    copy = tmp_path_factory.mktemp("compiled")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.so", "node_modules"))
        else:
            shutil.copy2(source, copy / name)
    run(copy, "hatch_build.py", MYPYC_OPT_LEVEL="0")
    return copy


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


def test_every_module_is_compiled_and_all_is_undone(tree: Path) -> None:
    project = tomllib.loads((tree / "pyproject.toml").read_text())
    modules = project["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"]["modules"]
    names = [name.removesuffix(".py").replace("/", ".") for name in modules]
    show = "import importlib, sys; print(*(importlib.import_module(name).__file__ for name in sys.argv[1:]))"
    files = run(tree, "-c", show, *names).split()
    assert len(files) == len(names)
    assert all(file.endswith((".so", ".pyd")) for file in files)
    assert run(tree, "-c", SHOW) == "compiled\n"


def test_what_is_compiled_keeps_its_promises(tree: Path) -> None:
    suites = [f"tests/{name}" for name in SUITES]
    said = run(tree, "-m", "pytest", "-q", "-p", "no:cacheprovider", *suites)
    assert " passed" in said
    assert run(tree, "-c", SHOW) == "compiled\n"
    run(tree, "hatch_build.py", "--clean")
    assert run(tree, "-c", SHOW) == "pure Python\n"
