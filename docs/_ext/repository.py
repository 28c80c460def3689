"""Pages that live elsewhere in the repository, and links from pages to files that are not pages."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

PAGES = {
    "reference/protocol": ROOT / "mcp_actors" / "protocol" / "PROTOCOL.md",
    "reference/changelog": ROOT / "CHANGELOG.md",
    "contributing": ROOT / "CONTRIBUTING.md",
}
"""Pages whose text is that of a file outside docs/, which readers of the repository look for there."""

GENERATED = ("llms.txt", "schema.json")
"""Files that the build makes."""

_LINK = re.compile(r"(?<!!)\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<path>[^)#\s:]*)(?P<anchor>#[^)\s]*)?\)")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.connect("source-read", _read)
    return {"parallel_read_safe": True}


def _read(_app: Sphinx, page: str, source: list[str]) -> None:
    file = PAGES.get(page, DOCS / f"{page}.md")
    text = file.read_text(encoding="utf-8") if page in PAGES else source[0]
    source[0] = localize(text, file, page)


def localize(text: str, file: Path, page: str) -> str:
    """Rewrite the relative links of a file so that they work from a page of the site.

    Links to pages lead to pages. The site has no directories and no sources: links to them become their paths.
    """

    def replace(link: re.Match[str]) -> str:
        label, path, anchor = link["text"], link["path"], link["anchor"] or ""
        if not path:
            return link[0]
        if path in GENERATED:
            return f'<a href="{path}">{label}</a>'
        target = Path(os.path.normpath(file.parent / path))
        name = _page_of(target)
        if name is not None:
            return f"[{label}]({os.path.relpath(DOCS / f'{name}.md', (DOCS / page).parent)}{anchor})"
        inside = target.relative_to(ROOT).as_posix() + ("/" if target.is_dir() else "")
        return label if inside in label else f"{label} (`{inside}`)"

    return _LINK.sub(replace, text)


def _page_of(target: Path) -> str | None:
    """The page that shows this file, if one does."""
    for page, file in PAGES.items():
        if target == file:
            return page
    if target == ROOT / "README.md":
        return "index"
    return target.relative_to(DOCS).with_suffix("").as_posix() if _is_page(target) else None


def _is_page(target: Path) -> bool:
    return target.suffix == ".md" and target.is_relative_to(DOCS)
