"""docs/explanation/architecture.md names files that exist."""

from __future__ import annotations

import re

from tests.docs.pages import DOCS, ROOT

TEXT = (DOCS / "explanation" / "architecture.md").read_text(encoding="utf-8")


def test_every_file_of_the_architecture_exists() -> None:
    paths = re.findall(r"`(\w[\w/]*(?:/|\.py|\.js|\.env|\.lua))`", TEXT)
    assert len(paths) > 50
    for path in paths:
        assert (ROOT / "mcp_actors" / path).exists() or (ROOT / path).exists(), path
