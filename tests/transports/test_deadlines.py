"""Who has said nothing yet is told once its time is over, and nobody else."""

from __future__ import annotations

from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from mcp_actors.transports.deadlines import FirstWords


@given(st.lists(st.tuples(st.floats(0, 5), st.booleans()), max_size=30), st.floats(0.1, 20), st.floats(0, 50))
def test_the_late_are_those_that_were_silent_for_too_long(
    opened: list[tuple[float, bool]], patience: float, more: float
) -> None:
    words: FirstWords[int] = FirstWords(patience)
    times = list(accumulate(pause for pause, _ in opened))
    for number, now in enumerate(times):
        words.opened(number, now)
    for number, (_, spoke) in enumerate(opened):
        if spoke:
            words.done(number)
    end = (times[-1] if times else 0) + more
    silent = [number for number, (_, spoke) in enumerate(opened) if not spoke]
    late = [number for number in silent if end - times[number] >= patience]
    assert words.late(end) == late
    assert words.late(end) == []
    assert len(words) == len(silent) - len(late)


def test_no_patience_is_for_ever_and_remembers_nobody() -> None:
    words: FirstWords[int] = FirstWords(0)
    words.opened(1, 0.0)
    assert words.late(1e9) == []
    assert len(words) == 0
