"""When a side is lost, on a clock of the test."""

from __future__ import annotations

from mcp_actors.client.aiortc.silence import PROBE, SILENCE, Silence


def test_a_side_that_was_never_heard_is_not_lost() -> None:
    silence = Silence()
    silence.tick(0, 0.5)
    silence.doubt(0)
    assert silence.silent_since(1000) is None


def test_a_side_is_lost_when_it_was_not_heard_for_long_enough() -> None:
    silence = Silence()
    silence.heard(10)
    assert silence.silent_since(10 + SILENCE) is None
    assert silence.silent_since(10.01 + SILENCE) == 10
    silence.heard(13)
    assert silence.silent_since(13) is None


def test_a_doubt_leaves_little_time() -> None:
    silence = Silence()
    silence.heard(10)
    silence.doubt(10)
    assert silence.silent_since(10 + PROBE) is None
    assert silence.silent_since(10.01 + PROBE) is not None


def test_a_process_that_was_held_up_gives_the_side_time_to_be_heard() -> None:
    silence = Silence()
    silence.heard(10)
    silence.tick(10, 0.5)
    silence.tick(20, 0.5)
    assert silence.silent_since(20 + PROBE) is None
    assert silence.silent_since(20.01 + PROBE) is not None
