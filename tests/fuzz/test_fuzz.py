"""Replays the corpus; this needs no fuzzer."""

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
def test_every_input_of_the_corpus_passes(file: Path) -> None:
    TARGETS[file.parent.name](file.read_bytes())


def test_every_target_has_small_inputs() -> None:
    assert {file.parent.name for file in INPUTS} == TARGETS.keys()
    assert all(file.stat().st_size <= MOST_BYTES for file in INPUTS)


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_accepts_some_inputs_and_refuses_others(target: str) -> None:
    """A target that accepts everything would find nothing."""
    outcomes = {IS_WHOLE[target](file.read_bytes()) for file in CORPUS.glob(f"{target}/*")}
    assert outcomes == {True, False}
