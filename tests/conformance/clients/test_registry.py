"""Requirements are found by their ids, and each says where to read."""

from __future__ import annotations

import re
from pathlib import Path

from mcp_actors.conformance.clients import checks  # noqa: F401 - they register themselves
from mcp_actors.conformance.clients.registry import REQUIREMENTS, chosen

ROOT = Path(__file__).parents[3]


def test_requirements_are_chosen_by_id_and_by_subject() -> None:
    assert [one.id for one in chosen(["DRAIN", "CLOSE-2"])] == ["CLOSE-2", "DRAIN-1", "DRAIN-2", "DRAIN-3"]
    assert chosen([]) == list(REQUIREMENTS.values())
    assert chosen(["CLOSE-"]) == []


def test_each_requirement_names_a_section_of_the_protocol() -> None:
    text = (ROOT / "mcp_actors" / "protocol" / "PROTOCOL.md").read_text(encoding="utf-8")
    headings = {heading.strip("`") for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}
    assert {one.section for one in REQUIREMENTS.values()} <= headings


def test_the_page_lists_all_requirements_as_they_are() -> None:
    page = (ROOT / "docs" / "reference" / "client-conformance.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([A-Z]+-\d+)` \| (.+) \|$", page, re.MULTILINE)
    assert rows == [(one.id, one.text) for one in REQUIREMENTS.values()]
