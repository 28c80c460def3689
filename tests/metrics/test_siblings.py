"""Asking other processes, here in one: those that answer, and those that hang, are gone, or never were."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from mcp_actors.metrics import siblings as module
from mcp_actors.metrics.siblings import Siblings

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.conftest import ExpectedLogs

PATIENCE = 1.0


async def test_the_others_answer_and_one_that_is_missing_is_left_out(tmp_path: Path) -> None:
    group = [Siblings(str(tmp_path), number, 4) for number in (1, 2, 3)]
    for one in group:
        await one.listen(lambda number=one.number: _later(b"%d" % number * 100_000))  # type: ignore[misc]
    assert await group[0].ask() == {2: b"2" * 100_000, 3: b"3" * 100_000}
    assert await group[2].ask() == {1: b"1" * 100_000, 2: b"2" * 100_000}
    for one in group:
        await one.stop()


async def _later(answer: bytes) -> bytes:
    await asyncio.sleep(0)
    return answer


async def test_one_that_hangs_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DEADLINE", PATIENCE)
    first, second, third = (Siblings(str(tmp_path), number, 3) for number in (1, 2, 3))
    stuck = asyncio.Event()

    async def hang() -> bytes:
        await stuck.wait()
        return b""

    await second.listen(hang)
    await third.listen(lambda: _later(b"here"))
    began = time.monotonic()
    assert await first.ask() == {3: b"here"}
    assert time.monotonic() - began >= 0.9 * PATIENCE
    stuck.set()
    await second.stop()
    await third.stop()


async def test_one_that_is_restarted_listens_in_the_place_of_the_one_before(tmp_path: Path) -> None:
    first, before, after = Siblings(str(tmp_path), 1, 2), Siblings(str(tmp_path), 2, 2), Siblings(str(tmp_path), 2, 2)
    await before.listen(lambda: _later(b"before"))
    await after.listen(lambda: _later(b"after"))
    assert await first.ask() == {2: b"after"}
    await before.stop()
    await after.stop()


async def test_a_directory_that_cannot_be_used_is_logged(tmp_path: Path, expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.metrics", "cannot be asked")
    lonely = Siblings(str(tmp_path / "gone"), 1, 2)
    await lonely.listen(lambda: _later(b""))
    assert await lonely.ask() == {}
    await lonely.stop()
