from __future__ import annotations

from mcp_actors.sessions.generations import Generations


def accepted(generations: Generations) -> list[int]:
    return [generation for generation in range(10) if generations.accepts(generation)]


def test_a_session_begins_with_one_generation() -> None:
    generations = Generations()
    assert (accepted(generations), generations.acknowledge(0)) == ([1], False)


def test_earlier_tokens_are_accepted_until_the_client_has_the_latest() -> None:
    generations = Generations()
    generations.begin()
    assert not generations.acknowledge(100)  # no message has told the token
    generations.token_sent(7)
    assert not generations.acknowledge(6)
    assert accepted(generations) == [1, 2]
    assert generations.acknowledge(7)
    assert not generations.acknowledge(8)
    assert accepted(generations) == [2]


def test_the_first_connection_uses_a_reserved_generation() -> None:
    generations = Generations(is_reserved=True)
    generations.latest = 3
    generations.begin()
    assert generations.latest == 3
    generations.begin()
    assert generations.latest == 4
