"""Several workers of one parent, as ASGI servers start them."""

from __future__ import annotations

import multiprocessing

from mcp_actors.workers import is_only_worker

_spawn = multiprocessing.get_context("spawn")


def ask(answers: object, done: object) -> None:
    """Be a worker: say whether it is the only one, twice, and go on until all have."""
    answers.put((is_only_worker(), is_only_worker()))  # type: ignore[attr-defined]
    done.wait(30)  # type: ignore[attr-defined]


def test_a_process_that_is_no_worker_is_alone() -> None:
    assert is_only_worker()


def test_only_one_of_two_workers_is_the_only_one_until_it_has_ended() -> None:
    answers, done = _spawn.Queue(), _spawn.Event()
    workers = [_spawn.Process(target=ask, args=(answers, done)) for _ in range(2)]
    for worker in workers:
        worker.start()
    assert sorted(answers.get(timeout=30) for _ in workers) == [(False, False), (True, True)]
    done.set()
    for worker in workers:
        worker.join(30)
    again = _spawn.Process(target=ask, args=(answers, done))
    again.start()
    assert answers.get(timeout=30) == (True, True)
    again.join(30)
