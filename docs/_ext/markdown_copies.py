"""A Markdown copy of each page beside its HTML, and llms.txt, which lists them (https://llmstxt.org)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from sphinx.application import Sphinx

AFTER_OTHERS = 900
"""The priority of the last reader, which sees a page as the other extensions have left it."""

FOLDERS = ("quickstart", "concepts", "guides", "reference", "explanation")

_DIRECTIVE = re.compile(r"^```\{toctree\}.*?^```\n*|^\([\w-]+\)=\n", re.MULTILINE | re.DOTALL)
_TITLE = re.compile(r"^# (.+)$", re.MULTILINE)
_LINK = re.compile(r"\[([^\]]+)\]\([^)]*\)")


class Page(NamedTuple):
    """A page: its title, the first sentence below it, and all of it as Markdown."""

    title: str
    lead: str
    text: str


def read(text: str) -> Page:
    """Take a page apart."""
    text = _DIRECTIVE.sub("", text).strip() + "\n"
    title, lead = "", ""
    if found := _TITLE.search(text):
        title = found[1].replace("`", "")
        first = text[found.end() :].strip().split("\n\n")[0].replace("\n", " ")
        lead = "" if first.startswith(("#", "|", "-", "!", "```", "<")) else _first_sentence(first)
    return Page(title, lead, text)


def _first_sentence(text: str) -> str:
    return _LINK.sub(r"\1", text).split(". ")[0].rstrip(".:")


def index(pages: dict[str, Page], introduction: str) -> str:
    """The text of llms.txt: a section for each folder of pages."""
    lines = ["# mcp_actors", "", f"> {introduction}", ""]
    for folder in FOLDERS:
        lines += [f"## {pages[f'{folder}/index'].title}", ""]
        for name, page in sorted(pages.items()):
            if name.startswith(f"{folder}/") and not name.endswith("/index"):
                lines.append(f"- [{page.title}]({name}.md)" + (f": {page.lead}" if page.lead else ""))
        lines.append("")
    return "\n".join(lines)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    pages: dict[str, Page] = {}
    app.connect("source-read", lambda _app, name, source: pages.update({name: read(source[0])}), AFTER_OTHERS)
    app.connect("build-finished", lambda _app, error: None if error else write(pages, Path(app.outdir)))
    return {"parallel_read_safe": False}


def write(pages: dict[str, Page], directory: Path) -> None:
    """Write the copies and llms.txt into the built site."""
    for name, page in pages.items():
        (directory / f"{name}.md").write_text(page.text, encoding="utf-8")
    (directory / "llms.txt").write_text(index(pages, pages["index"].lead + "."), encoding="utf-8")
