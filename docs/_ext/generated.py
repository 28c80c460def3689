"""Fills in the parts of pages that are generated from the code: lines `<!-- generated: NAME -->`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import cli_page
import settings_page

if TYPE_CHECKING:
    from sphinx.application import Sphinx

PARTS = {"settings": settings_page.markdown, "cli": cli_page.markdown}
MARK = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.connect("source-read", lambda _app, _page, source: source.__setitem__(0, fill(source[0])))
    return {"parallel_read_safe": True}


def fill(text: str) -> str:
    """Put the generated parts into a page."""
    return MARK.sub(lambda mark: PARTS[mark[1]](), text)
