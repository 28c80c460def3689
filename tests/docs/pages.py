"""The pages of the documentation, and what is in them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


class Block(NamedTuple):
    """A block of code. `skipped`: why it is not run, if it has a comment that says so."""

    page: str
    language: str
    text: str
    skipped: str


_BLOCK = re.compile(
    r"(?:<!-- not run: (?P<skipped>.+?) -->\s*)?^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)


def markdown_files() -> list[Path]:
    """All Markdown files of the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def blocks(file: Path) -> list[Block]:
    """The blocks of code of a file, in order."""
    page = file.relative_to(ROOT).as_posix()
    return [
        Block(page, found["language"], _dedented(found["text"], found["indent"]), found["skipped"] or "")
        for found in _BLOCK.finditer(file.read_text(encoding="utf-8"))
    ]


def commands(file: Path) -> list[str]:
    """The command lines of a file that are run; those that go on in the next line are joined."""
    text = "\n".join(block.text for block in blocks(file) if block.language == "console" and not block.skipped)
    return re.findall(r"^\$ (.+)$", text.replace("\\\n", " "), re.MULTILINE)


def _dedented(text: str, indent: str) -> str:
    return re.sub(rf"^{indent}", "", text, flags=re.MULTILINE)
