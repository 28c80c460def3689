"""The house keeps its shape: layers import downwards, tests mirror the source."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(path.relative_to(ROOT / "mcp_actors") for path in (ROOT / "mcp_actors").rglob("*.py"))
UNTESTED = {
    "protocol/events.py",  # shapes alone; every test of rooms and brokers is made of them
    "room/effects.py",  # the same
    "actors/mail.py",  # the same
}
DRAWERS = {"utils", "helpers", "common", "manager", "service", "misc"}


def test_imports_follow_the_rules() -> None:
    rules = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports; raise SystemExit(lint_imports())"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert rules.returncode == 0, rules.stdout


@pytest.mark.parametrize("source", [path for path in SOURCES if path.name != "__init__.py"], ids=str)
def test_every_module_has_its_tests(source: Path) -> None:
    name = "test_main.py" if source.name == "__main__.py" else f"test_{source.name}"
    tests = ROOT / "tests" / source.parent / name
    assert tests.is_file() or source.as_posix() in UNTESTED, f"{tests} is missing"


def test_no_module_is_a_drawer() -> None:
    assert not {path.stem for path in SOURCES} & DRAWERS


def test_the_package_does_not_import_its_tests_or_benches() -> None:
    for path in SOURCES:
        text = (ROOT / "mcp_actors" / path).read_text(encoding="utf-8")
        assert "import tests" not in text
        assert "from tests" not in text
        assert "import bench" not in text
        assert "from bench" not in text
