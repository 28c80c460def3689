"""PROTOCOL.md names the requirements that the suites check, each in the section that it is about."""

from __future__ import annotations

import re
from pathlib import Path

import mcp_actors.conformance.clients.checks  # noqa: F401 - registers the requirements of clients
from mcp_actors import protocol
from mcp_actors.conformance import checks  # noqa: F401 - registers those of servers
from mcp_actors.conformance.clients import registry as clients
from mcp_actors.conformance.registry import REQUIREMENTS

TEXT = (Path(protocol.__file__).parent / "PROTOCOL.md").read_text(encoding="utf-8")
HEADING = re.compile(r"^#{2,4} (.*)$", re.MULTILINE)
PARAGRAPH = re.compile(r"^\*Requirements:\* ((?:[A-Z]+-\d+[,.]\s*)+)", re.MULTILINE)


def named() -> list[tuple[str, str]]:
    """Return each id that is named, with the heading of its section, without marks."""
    found = []
    for paragraph in PARAGRAPH.finditer(TEXT):
        heading = list(HEADING.finditer(TEXT, 0, paragraph.start()))[-1][1]
        found += [(name, heading.replace("`", "")) for name in re.findall(r"[A-Z]+-\d+", paragraph[1])]
    return found


def test_each_requirement_is_named_once_and_no_other() -> None:
    assert sorted(name for name, _ in named()) == sorted([*REQUIREMENTS, *clients.REQUIREMENTS])


def test_requirements_of_clients_are_in_the_section_that_a_broken_one_points_to() -> None:
    sections = dict(named())
    assert {name: sections[name] for name in clients.REQUIREMENTS} == {
        name: one.section for name, one in clients.REQUIREMENTS.items()
    }
