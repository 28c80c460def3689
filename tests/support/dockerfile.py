"""deploy/Dockerfile, read and followed without a container engine: its build stage runs in a directory."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import venv
from pathlib import Path
from typing import NamedTuple

import pip

ROOT = Path(__file__).parent.parent.parent
FILE = ROOT / "deploy" / "Dockerfile"
DEADLINE = 240


class Instruction(NamedTuple):
    """A line of a Dockerfile, such as `RUN` and its command."""

    name: str
    value: str


def stages() -> list[list[Instruction]]:
    """The instructions of each stage, of which `FROM` is the first."""
    text = re.sub(r"^\s*#.*\n", "", FILE.read_text(encoding="utf-8"), flags=re.MULTILINE).replace("\\\n", "")
    found: list[list[Instruction]] = []
    for name, value in re.findall(r"^([A-Z]+) +(.+)$", text, re.MULTILINE):
        if name == "FROM":
            found.append([])
        if found:
            found[-1].append(Instruction(name, value))
    return found


def value(stage: list[Instruction], name: str) -> str:
    """The value of an instruction that a stage has once."""
    (found,) = [one.value for one in stage if one.name == name]
    return found


def command(stage: list[Instruction], name: str) -> list[str]:
    """A command in exec form, of `CMD`, `ENTRYPOINT` or `HEALTHCHECK`."""
    text = value(stage, name)
    words: list[str] = json.loads(text[text.index("[") :])
    return words


class BuildStage:
    """Follows the first stage in `directory`, which stands for the root of the file system.

    `context`: what `COPY` copies from. A Python with pip of its own stands for that of the base image.
    """

    def __init__(self, directory: Path, context: Path = ROOT) -> None:
        self._directory = directory
        self._context = context
        self._source = directory / "src"
        self._python = directory / "usr"

    @property
    def environment(self) -> Path:
        """The virtual environment that is copied into the image."""
        return self._directory / "opt/mcp-actors"

    @property
    def wheels(self) -> Path:
        """Where the wheels are."""
        return self._directory / "wheels"

    def run(self) -> None:
        """Follow the instructions. Raises `subprocess.CalledProcessError`."""
        self._make_python()
        self._source.mkdir()
        for name, text in stages()[0]:
            if name == "COPY":
                self._copy(text)
            elif name == "RUN":
                self.shell(text)

    def shell(self, text: str, directory: Path | None = None, **more: str) -> str:
        """Run a command as `RUN` does, there or in another directory, with `more` variables; what it says."""
        moved = re.sub(r"(?<=\s)/(wheels|opt)\b", rf"{self._directory}/\1", text)
        path = f"{self._python}/bin:{os.environ['PATH']}"
        environ = {name: kept for name, kept in os.environ.items() if name != "PYTHONPATH"} | more | {"PATH": path}
        done = subprocess.run(
            ["/bin/sh", "-c", moved],
            cwd=directory or self._source,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def _make_python(self) -> None:
        """Make a Python with the pip of this one, which takes a second; `ensurepip` would take five."""
        venv.create(self._python, symlinks=True)
        (site_packages,) = self._python.glob("lib/python*/site-packages")
        shutil.copytree(Path(pip.__file__).parent, site_packages / "pip")
        script = self._python / "bin" / "pip"
        script.write_text('#!/bin/sh\nexec "$(dirname "$0")/python" -m pip "$@"\n')
        script.chmod(0o755)

    def _copy(self, text: str) -> None:
        if text == ". .":
            for path in self._allowed():
                self._copy_one(path, self._source / path)
        else:
            path = Path(text.split(maxsplit=1)[0])
            self._copy_one(path, self._source / path.name)

    def _copy_one(self, path: Path, target: Path) -> None:
        found = self._context / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if found.is_dir():
            shutil.copytree(found, target, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(found, target)

    def _allowed(self) -> list[Path]:
        """What Dockerfile.dockerignore does not keep out."""
        lines = FILE.with_name("Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
        assert "*" in lines
        return [Path(line[1:]) for line in lines if line.startswith("!")]
