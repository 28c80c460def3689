"""Every link of every Markdown file of the repository leads to a file, and its anchor to a heading there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.docs.pages import ROOT, markdown_files

if TYPE_CHECKING:
    from pathlib import Path

GENERATED = {"docs/index.md": {"llms.txt"}, "docs/reference/schema.md": {"schema.json"}}
"""Links to what only the site has."""

FILES = {file.relative_to(ROOT).as_posix(): file for file in markdown_files()}
_CODE = re.compile(r"^ *```.*?^ *```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def prose(file: Path) -> str:
    """The text of a file without its code."""
    return _CODE.sub(
        lambda code: re.sub(r"[\[\]]", "", code[0]) if "\n" not in code[0] else "", file.read_text("utf-8")
    )


def anchors(file: Path) -> set[str]:
    """The anchors that GitHub and the site give to the headings of a file."""
    text = re.sub(r"^ *```.*?^ *```$", "", file.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    found: dict[str, int] = {}
    for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).strip().replace(" ", "-")
        found[slug] = found.get(slug, -1) + 1
    return {slug if not count else f"{slug}-{count}" for slug, most in found.items() for count in range(most + 1)}


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_link_has_a_target(name: str) -> None:
    for target in _LINK.findall(prose(FILES[name])):
        path, _, anchor = target.partition("#")
        if "://" in target or target.startswith("mailto:") or path in GENERATED.get(name, ()):
            continue
        file = (FILES[name].parent / path).resolve() if path else FILES[name]
        assert file.exists(), target
        assert file.is_relative_to(ROOT), target
        if anchor and file.suffix == ".md" and "<!-- generated:" not in file.read_text("utf-8"):
            assert anchor in anchors(file), target


def test_an_anchor_that_does_not_exist_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One `two`\n\n## Same\n\n## Same\n\n```\n# code\n```\n")
    assert anchors(page) == {"one-two", "same", "same-1"}
