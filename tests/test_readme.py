"""README.md is short, and its first commands and its client work."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def test_it_fits_on_a_screen_and_a_half() -> None:
    assert len(re.findall(r"\S+", re.sub(r"\]\([^)]*\)", "]", TEXT))) < 900


def test_it_leads_to_every_part_of_the_documentation() -> None:
    for part in (ROOT / "docs").glob("*/index.md"):
        assert f"]({part.relative_to(ROOT)})" in TEXT


def test_the_client_is_ten_lines() -> None:
    [client] = re.findall(r"```js\n(.*?)```", TEXT, re.DOTALL)
    assert len([line for line in client.splitlines() if line.strip()]) <= 10
