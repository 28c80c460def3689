"""Fills in the parts of pages that are generated from the code: lines `<!-- generated: NAME -->`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import cli_page
import conformance_page
import msgspec
import settings_page

from mcp_actors.protocol.schema import schema

if TYPE_CHECKING:
    from sphinx.application import Sphinx

PARTS = {"settings": settings_page.markdown, "cli": cli_page.markdown, "conformance": conformance_page.markdown}
MARK = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.connect("build-finished", lambda app, error: None if error else write_schema(Path(app.outdir)))
    app.connect("source-read", lambda _app, _page, source: source.__setitem__(0, fill(source[0])))
    return {"parallel_read_safe": True}


def write_schema(directory: Path) -> None:
    """Write the JSON Schema of the protocol into the built site."""
    (directory / "reference" / "schema.json").write_bytes(msgspec.json.format(msgspec.json.encode(schema())))


def fill(text: str) -> str:
    """Put the generated parts into a page."""
    return MARK.sub(lambda mark: PARTS[mark[1]](), text)
