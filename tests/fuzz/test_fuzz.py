"""What fuzzing began with and what it found, replayed: no fuzzer is needed for that."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mcp_actors.protocol.errors import SignalingError
from tests.fuzz.targets import DECODERS, TARGETS
from tests.support.streams import read

if TYPE_CHECKING:
    from collections.abc import Callable

CORPUS = Path(__file__).parent / "corpus"
INPUTS = sorted(CORPUS.glob("*/*"))
MOST_BYTES = 2048


def is_a_message(data: bytes) -> bool:
    for decoder in DECODERS:
        try:
            decoder.decode(data)
        except SignalingError:
            continue
        return True
    return False


IS_WHOLE: dict[str, Callable[[bytes], bool]] = {"codec": is_a_message, "frames": lambda data: read(data[1:])[1] is None}


@pytest.mark.parametrize("file", INPUTS, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_an_input_that_was_of_interest_once_breaks_nothing(file: Path) -> None:
    TARGETS[file.parent.name](file.read_bytes())


def test_there_are_small_inputs_for_every_target() -> None:
    assert {file.parent.name for file in INPUTS} == TARGETS.keys()
    assert all(file.stat().st_size <= MOST_BYTES for file in INPUTS)


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_tells_broken_from_whole(target: str) -> None:
    """A fuzzer whose target accepts everything finds nothing: of the corpus, each takes some and refuses some."""
    outcomes = {IS_WHOLE[target](file.read_bytes()) for file in CORPUS.glob(f"{target}/*")}
    assert outcomes == {True, False}
