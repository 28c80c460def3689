from __future__ import annotations

from tests.simulation.test_simulation import command


def test_whatever_fails_the_receiver_is_told_of_every_join_and_leave_once_and_in_order() -> None:
    done = command("--seed", "10", "--seeds", "2", "--webhooks", "--keep-going")
    assert done.returncode == 0, done.stdout + done.stderr


def test_seeds_that_once_failed_with_a_receiver_keep_every_promise() -> None:
    done = command("--fixed", "--webhooks", "--keep-going")
    assert done.returncode == 0, done.stdout + done.stderr
