from __future__ import annotations

from mcp_actors.broker.redis.inbox import InboxHistory
from mcp_actors.broker.redis.settings import RedisSettings


def _history(*entries: tuple[int, int], window: float = 30.0, max_bytes: int = 1000) -> InboxHistory:
    history = InboxHistory(RedisSettings(resume_window=window, max_inbox_bytes=max_bytes))
    for milliseconds, size in entries:
        history.add(milliseconds, size)
    return history


def test_entries_are_trimmed_after_the_resume_window() -> None:
    assert _history((10_000, 1), (50_000, 1)).trim(50_000) == 20_000
    assert _history((10_000, 1), (50_000, 1), window=0.0).trim(50_000) == 50_000


def test_entries_are_trimmed_earlier_if_they_are_too_large() -> None:
    history = _history((50_000, 60), (51_000, 30), max_bytes=100)
    assert history.trim(51_000) == 21_000
    history.add(52_000, 30)
    assert history.trim(52_000) == 50_001
    history.add(53_000, 200)
    assert history.trim(53_000) == 53_001


def test_trimmed_entries_are_no_longer_counted() -> None:
    history = _history(*((number * 1000, 40) for number in range(1, 50)), window=1.0, max_bytes=100)
    history.trim(49_000)
    assert history.bytes == 40 * len(history) <= 100


def test_entries_of_one_moment_are_counted_as_one() -> None:
    history = _history(*((5000 + number // 100, 1) for number in range(5000)))
    assert len(history) <= 2
    assert history.bytes == 5000


def test_nothing_is_trimmed_before_anything_was_read() -> None:
    assert _history().trim(0) == 0
