"""The requirements."""

from __future__ import annotations

import re

from mcp_actors.conformance import checks
from mcp_actors.conformance.registry import REQUIREMENTS, ordered


def test_each_has_an_id_and_a_sentence_of_its_own() -> None:
    assert len(REQUIREMENTS) > 60
    assert all(re.fullmatch(r"[A-Z]+-[1-9]\d?", name) for name in REQUIREMENTS)
    assert len({one.text for one in REQUIREMENTS.values()}) == len(REQUIREMENTS)
    assert all(one.text.endswith(".") for one in REQUIREMENTS.values())


def test_numbers_of_a_subject_follow_each_other() -> None:
    last: dict[str, int] = {}
    for one in ordered():
        subject, _, number = one.id.rpartition("-")
        assert int(number) == last.get(subject, 0) + 1
        last[subject] = int(number)


def test_every_module_of_checks_is_registered() -> None:
    found = {one.check.__module__.rpartition(".")[2] for one in REQUIREMENTS.values()}
    assert found == set(checks.__all__)
