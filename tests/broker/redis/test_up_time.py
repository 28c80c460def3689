from __future__ import annotations

from mcp_actors.broker.redis.up_time import UpTime


def test_only_the_time_between_start_and_stop_counts() -> None:
    now = 100.0
    up_time = UpTime(lambda: now)
    now += 5
    assert up_time.seconds == 0
    up_time.start()
    now += 3
    assert up_time.seconds == 3
    up_time.stop()
    now += 1000
    assert up_time.seconds == 3
    up_time.start()
    now += 2
    assert up_time.seconds == 5


def test_starting_or_stopping_again_counts_nothing_twice() -> None:
    now = 0.0
    up_time = UpTime(lambda: now)
    up_time.start()
    now += 2
    up_time.start()
    now += 2
    assert up_time.seconds == 4
    up_time.stop()
    up_time.stop()
    now += 2
    assert up_time.seconds == 4
