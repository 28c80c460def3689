"""Compiles the modules on the path of a message with mypyc: as a build hook of wheels, or in a checkout.

The hook is off by default, so that the source installs everywhere; HATCH_BUILD_HOOK_ENABLE_CUSTOM=true turns it on. It
builds in a temporary directory. `python hatch_build.py` leaves the extensions beside their sources, as an editable
install needs them, and `python hatch_build.py --clean` removes them.
"""

from __future__ import annotations

import os
import shutil
import sys
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent
GROUP = "mcp_actors"
"""The extension with the code of all modules is called <group>__mypyc; each module has one that leads to it."""

OPTIMIZATION = os.environ.get("MYPYC_OPT_LEVEL", "3")
"""The level of the C compiler, by the variable that mypy's own build reads."""

MYPY_OPTIONS = ("--config-file=", "--ignore-missing-imports")
"""The configuration is not read: types are checked by `make check`, and some rules need packages that a build lacks."""


def compile_modules(modules: list[str], target: Path) -> list[Path]:
    """Compile modules, given as paths from the root, into a directory; return the paths of the extensions in it."""
    from mypyc.build import mypycify  # noqa: PLC0415 - only if something is compiled
    from setuptools import Distribution  # noqa: PLC0415
    from setuptools.command.build_ext import build_ext  # noqa: PLC0415

    with TemporaryDirectory() as work:
        extensions = mypycify([*MYPY_OPTIONS, *modules], group_name=GROUP, target_dir=work, opt_level=OPTIMIZATION)
        command = build_ext(Distribution({"name": GROUP, "ext_modules": extensions}))
        command.build_lib, command.build_temp = str(target), work
        command.ensure_finalized()
        command.run()
    return sorted(path.relative_to(target) for path in target.rglob("*") if path.suffix in {".so", ".pyd"})


def configured_modules() -> list[str]:
    """Return the modules that pyproject.toml names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return list(project["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"]["modules"])


def built_here(root: Path) -> Iterator[Path]:
    """Yield the extensions in a checkout."""
    for module in configured_modules():
        yield from (root / module).parent.glob(f"{Path(module).stem}.*.so")
    yield from root.glob(f"{GROUP}__mypyc.*.so")


class CompileHook(BuildHookInterface[Any]):
    """Adds the extensions to a wheel."""

    _built: TemporaryDirectory[str] | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, unless the wheel is of an editable install, which imports from the checkout."""
        if version == "editable":
            return
        self._built = TemporaryDirectory()
        target = Path(self._built.name)
        found = compile_modules(list(self.config["modules"]), target)
        build_data["force_include"] |= {str(target / path): str(path) for path in found}
        build_data["pure_python"], build_data["infer_tag"] = False, True

    def finalize(self, _version: str, _build_data: dict[str, Any], _artifact_path: str) -> None:
        """Remove what was built, which is in the wheel now."""
        if self._built is not None:
            self._built.cleanup()


def main() -> None:
    """Compile this checkout, or undo that."""
    os.chdir(ROOT)  # mypyc names modules by their paths from here
    for path in built_here(ROOT):
        path.unlink()
    if "--clean" in sys.argv[1:]:
        return
    with TemporaryDirectory() as built:
        for path in compile_modules(configured_modules(), Path(built)):
            shutil.copy2(Path(built) / path, ROOT / path)


if __name__ == "__main__":
    main()
