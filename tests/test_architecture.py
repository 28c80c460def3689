"""The layout of the code: layers import downwards, without circles; modules and classes stay small; tests mirror it."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "mcp_actors"
SOURCES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
UNTESTED = {
    "protocol/events.py",  # data shapes, used by every test of rooms and brokers
    "room/effects.py",  # the same
    "room/rules.py",  # the same
    "actors/mail.py",  # the same
    "broker/figures.py",  # the same
    "broker/redis/settings.py",  # the same
    "broker/event_log.py",  # the same, and a port, tested by the suite of its implementations
    "connection/environment.py",  # the same
    "sessions/ports.py",  # the same
    "broker/administration.py",  # a contract, tested by the suite of its implementations
    "client/members.py",  # the same
    "client/aiortc/pair_events.py",  # data shapes
    "connection/transport.py",  # a port, tested by the suite of its adapters
}
DRAWERS = {"utils", "helpers", "common", "manager", "service", "misc"}
MAX_METHODS, MAX_LINES = 25, 400


def _text(source: Path) -> str:
    return (PACKAGE / source).read_text(encoding="utf-8")


def test_imports_follow_the_contracts() -> None:
    rules = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports; raise SystemExit(lint_imports())"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert rules.returncode == 0, rules.stdout


def test_no_module_imports_itself_through_others() -> None:
    """Imports for type checking count, too."""
    graph = grimp.build_graph("mcp_actors", cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(f"import circle: {' <- '.join(error.args[1])}", pytrace=False)


@pytest.mark.parametrize("source", [path for path in SOURCES if path.name != "__init__.py"], ids=str)
def test_every_module_has_its_tests(source: Path) -> None:
    name = "test_main.py" if source.name == "__main__.py" else f"test_{source.name}"
    tests = ROOT / "tests" / source.parent / name
    assert tests.is_file() or source.as_posix() in UNTESTED, f"{tests} is missing"


@pytest.mark.parametrize("source", SOURCES, ids=str)
def test_modules_and_classes_are_small(source: Path) -> None:
    text = _text(source)
    assert text.count("\n") <= MAX_LINES or f"longer than {MAX_LINES} lines" in (
        ast.get_docstring(ast.parse(text)) or ""
    )
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef):
            methods = [one for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
            assert len(methods) <= MAX_METHODS, f"{node.name} has {len(methods)} methods"


def test_module_names_say_what_they_hold() -> None:
    assert not {path.stem for path in SOURCES} & DRAWERS


@pytest.mark.parametrize("source", SOURCES, ids=str)
def test_the_package_imports_neither_tests_nor_bench(source: Path) -> None:
    for node in ast.walk(ast.parse(_text(source))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not {name.partition(".")[0] for name in names} & {"tests", "bench"}
