"""The gateway beside the npm package `peer`: both say what the table in docs/guides/peerjs.md says."""

from __future__ import annotations

import asyncio
import re
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.gateways.peerjs.cases import CASES, OWN, VARIANTS, Case
from tests.gateways.peerjs.sides import PAGE, Side
from tests.support.peerjs import PATH, original

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.server import Server

pytestmark = pytest.mark.settings(gateways="peerjs", peerjs_path=PATH, cors_allowed_origins=PAGE)

DOCS = Path(__file__).parents[3] / "docs" / "guides" / "peerjs.md"
ROW = re.compile(r"^\| (.+?) \| (.+?) \| (.+?) \| (same|better|different)(?:: (.+?))? \|$", re.MULTILINE)
CASE_NUMBERS = count()


class Row(NamedTuple):
    """`verdict`: of this server beside the original; `why` if it is not the same."""

    ours: str
    theirs: str
    verdict: str
    why: str


ROWS = {name: Row(*rest) for name, *rest in ROW.findall(DOCS.read_text(encoding="utf-8"))}


@pytest.fixture(scope="module")
def originals() -> Iterator[Callable[[str], str]]:
    """Start the original as a variant, once, and return its URL."""
    with ExitStack() as running:
        urls: dict[str, str] = {}

        def serve(variant: str) -> str:
            if variant == OWN or variant not in urls:
                urls[variant] = running.enter_context(original(VARIANTS[variant].theirs))
            return urls[variant]

        yield serve


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=case.name, marks=pytest.mark.settings(**VARIANTS[case.variant].ours)) for case in CASES],
)
async def test_the_table_says_what_the_original_and_the_gateway_say(
    case: Case, originals: Callable[[str], str], server: Server
) -> None:
    suffix, over = f".{next(CASE_NUMBERS)}.", asyncio.Event()
    async with Side(originals(case.variant), suffix, over) as one, Side(server.url(""), suffix, over) as other:
        theirs, ours = await asyncio.gather(case.run(one), case.run(other))
    assert (ours, theirs) == ROWS[case.name][:2]


def test_the_table_has_all_cases_and_says_why_something_is_not_the_same() -> None:
    assert list(ROWS) == [case.name for case in CASES]
    for row in ROWS.values():
        assert (row.ours == row.theirs) == (row.verdict == "same")
        assert bool(row.why) == (row.verdict != "same")
