"""Other checkouts of this repository, measured beside this one: a commit, or a directory that holds mcp_actors/.

`compiled` is a copy of this one whose modules on the path of a message are compiled.

A commit is extracted into a temporary directory with `git archive`, so nothing is left in the repository. Its code is
never imported here: its server runs as a process of its own, with the checkout on PYTHONPATH.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.contender import ROOT, ours
from bench.results import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.contender import Contender

PACKAGE = "mcp_actors"
COMPILED = "compiled"
BUILDER = "hatch_build.py"
SHOW_PATH = f"import {PACKAGE}; print({PACKAGE}.__path__[0])"


class CheckoutError(Exception):
    """A checkout cannot be used; `str(error)` says why."""


@dataclass(frozen=True, slots=True)
class Checkout:
    """A commit, or a directory that is used as it is."""

    label: str
    commit: str = ""
    directory: Path | None = None

    @property
    def name(self) -> str:
        """The contender's name, such as `mcp_actors@fb49061`."""
        return CHECKOUT + self.label


def find_checkout(text: str) -> Checkout | None:
    """Return the checkout that `compiled`, a path or a git revision names, or None."""
    if text == COMPILED:
        return Checkout(COMPILED)
    directory = Path(text).resolve()
    if (directory / PACKAGE / "__main__.py").is_file():
        return Checkout(directory.name, directory=directory)
    commit = _rev_parse("--verify", f"{text}^{{commit}}")
    return Checkout(_rev_parse("--short", commit), commit) if commit else None


@contextmanager
def checked_out(checkout: Checkout) -> Iterator[Contender]:
    """Provide a checkout as a contender while the context lasts. Raises `CheckoutError`."""
    with tempfile.TemporaryDirectory(prefix="bench-checkout-") as temporary:
        tree = checkout.directory or Path(temporary)
        if checkout.commit:
            _extract(checkout.commit, tree)
        elif checkout.directory is None:
            _compile(tree)
        _verify(tree)
        where = f"at {checkout.commit or checkout.directory}" if checkout.commit or checkout.directory else COMPILED
        yield ours(checkout.name, f"this server, {where}", tree)


def _compile(tree: Path) -> None:
    """Copy this checkout, and compile the copy."""
    extensions = shutil.ignore_patterns("*.so")
    for name in (PACKAGE, "settings"):
        shutil.copytree(ROOT / name, tree / name, ignore=extensions)
    for name in (BUILDER, "pyproject.toml"):
        shutil.copy2(ROOT / name, tree / name)
    done = _python(str(tree / BUILDER), tree=tree)
    if done.returncode:
        raise CheckoutError(f"this checkout cannot be compiled: {done.stderr.strip()[-300:]}")


def _extract(commit: str, directory: Path) -> None:
    command = ["git", "-C", str(ROOT), "archive", "--format=tar", commit]
    done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - our own command
    if done.returncode:
        raise CheckoutError(f"git archive {commit} failed: {done.stderr.decode(errors='replace').strip()}")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(directory, filter="data")
    # so that the memory of the first server does not include the compiler
    _python("-m", "compileall", "-q", str(directory / PACKAGE), tree=directory)


def _verify(tree: Path) -> None:
    """Check that Python, started as the server will be, imports the package of this tree."""
    done = _python("-c", SHOW_PATH, tree=tree)
    found = done.stdout.strip()
    if done.returncode:
        raise CheckoutError(f"{tree} cannot be imported: {done.stderr.strip()[-300:]}")
    if Path(found).resolve() != (tree / PACKAGE).resolve():
        raise CheckoutError(f"{PACKAGE} of {tree} is hidden by {found}")


def _python(*arguments: str, tree: Path) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory(prefix="bench-") as elsewhere:
        return subprocess.run(  # noqa: S603 - our own command
            [sys.executable, *arguments],
            cwd=elsewhere,
            env=os.environ | {"PYTHONPATH": str(tree)},
            capture_output=True,
            text=True,
            check=False,
        )


def _rev_parse(*arguments: str) -> str:
    """Return what `git rev-parse` prints about this repository, or an empty string if it fails."""
    command = ["git", "-C", str(ROOT), "rev-parse", "--quiet", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    except FileNotFoundError:
        return ""
    return "" if done.returncode else done.stdout.strip()
