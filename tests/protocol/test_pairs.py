"""The words in which clients report how pairs fare are those of PROTOCOL.md."""

from __future__ import annotations

import re

from mcp_actors.protocol.pairs import PairFailure, PairOutcome
from tests.protocol.test_protocol_md import TEXT


def section(heading: str) -> str:
    return TEXT.split(f"\n{heading}\n", 1)[1].split("\n#", 1)[0]


def test_the_reasons_are_those_of_the_table() -> None:
    table = section("### Why a pair is not connected")
    assert set(re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE)) == set(PairFailure)


def test_each_outcome_is_explained() -> None:
    for outcome in PairOutcome:
        assert f"`{outcome}`" in section("#### `report`")
