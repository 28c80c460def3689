"""The gate of requests: one in each round of the loop, first requests first, addresses in turn."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from mcp_actors.adapters.tornado.request_gate import FURTHER_SHARE, Rank, RequestGate
from mcp_actors.ws.fair_scheduler import REST
from tests.support.loop import until

if TYPE_CHECKING:
    from collections.abc import Callable


def note(passed: list[str], name: str) -> Callable[[], None]:
    return lambda: passed.append(name)


async def test_a_request_passes_at_once_if_none_has_passed_in_this_round() -> None:
    gate, passed = RequestGate(), list[str]()
    gate.enter("a", note(passed, "a"), Rank.FIRST)
    gate.enter("b", note(passed, "b"), Rank.FIRST)
    assert passed == ["a"]
    await until(lambda: len(passed) == 2, "the second has passed")
    await asyncio.sleep(0.01)
    gate.enter("c", note(passed, "c"), Rank.FURTHER)
    assert passed == ["a", "b", "c"]


async def test_the_gate_rests_after_a_further_request() -> None:
    gate, passed = RequestGate(), list[str]()
    began = time.monotonic()
    for _ in range(20):
        gate.enter("a", note(passed, "further"), Rank.FURTHER)
    await until(lambda: len(passed) == 20, "all have passed")
    assert time.monotonic() - began > 18 * REST


async def test_one_request_passes_in_each_round_of_the_loop() -> None:
    gate, passed, most = RequestGate(), list[str](), 0
    for number in range(20):
        gate.enter("a", note(passed, str(number)), Rank.FIRST)
    while len(passed) < 20:
        before = len(passed)
        await asyncio.sleep(0)
        most = max(most, len(passed) - before)
    assert most == 1
    assert passed == [str(number) for number in range(20)]


async def test_a_first_request_of_a_newcomer_passes_before_a_flood() -> None:
    gate, passed = RequestGate(), list[str]()
    for _ in range(100):
        gate.enter("flood", note(passed, "further"), Rank.FURTHER)
        gate.enter("flood", note(passed, "first"), Rank.FIRST)
    gate.enter("newcomer", note(passed, "newcomer"), Rank.FIRST)
    await until(lambda: len(passed) == 201, "all have passed")
    assert passed.index("newcomer") <= 3


async def test_a_handshake_passes_before_first_requests_which_get_a_share_beside_endless_handshakes() -> None:
    gate, passed = RequestGate(), list[str]()
    for number in range(40):
        gate.enter(str(number), note(passed, "first"), Rank.FIRST)
    gate.enter("newcomer", note(passed, "newcomer"), Rank.HANDSHAKE)
    await until(lambda: len(passed) == 41, "all have passed")
    assert passed.index("newcomer") <= 2
    passed.clear()
    for number in range(40):
        gate.enter(str(number), note(passed, "handshake"), Rank.HANDSHAKE)
    gate.enter("page", note(passed, "page"), Rank.FIRST)
    await until(lambda: len(passed) == 41, "all have passed")
    assert passed.index("page") <= FURTHER_SHARE


async def test_further_requests_get_a_share_beside_endless_first_ones() -> None:
    gate, passed = RequestGate(), list[str]()
    for number in range(40):
        gate.enter(str(number), note(passed, "first"), Rank.FIRST)
    gate.enter("page", note(passed, "further"), Rank.FURTHER)
    await until(lambda: len(passed) == 41, "all have passed")
    assert passed.index("further") <= FURTHER_SHARE


async def test_a_request_that_fails_does_not_keep_the_gate_shut() -> None:
    gate, passed = RequestGate(), list[str]()

    def fail() -> None:
        raise LookupError

    failures: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: failures.append(context["exception"]))
    gate.enter("a", note(passed, "a"), Rank.FIRST)
    gate.enter("a", fail, Rank.FIRST)
    gate.enter("a", note(passed, "b"), Rank.FIRST)
    await until(lambda: passed == ["a", "b"], "the last has passed")
    assert isinstance(failures[0], LookupError)
    with pytest.raises(IndexError):
        failures[1]
