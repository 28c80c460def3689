"""docs/explanation/security.md explains every limit, and names only settings and files that exist."""

from __future__ import annotations

import re
from pathlib import Path

from mcp_actors.settings import DEFAULTS, PREFIX

FILE = Path(__file__).parent.parent / "docs" / "explanation" / "security.md"
TEXT = FILE.read_text(encoding="utf-8")
NAMES = {field.upper() for field in DEFAULTS}


def test_every_limit_is_explained() -> None:
    table = TEXT.split("## What each limit defends", 1)[1].split("\n## ", 1)[0]
    rows = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("| `")]
    named = {name for settings, _ in rows for name in re.findall(r"`([A-Z_]+)`", settings)}
    assert named <= NAMES
    assert {name for name in NAMES if name.startswith("MAX_")} <= named
    assert all(threat.strip() for _, threat in rows)


def test_every_setting_exists() -> None:
    for name in re.findall(rf"`{PREFIX}([A-Z_]+)", TEXT):
        assert name in NAMES
