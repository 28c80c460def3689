from __future__ import annotations

from tests.simulation.model import by_epoch, by_generation, explore


def test_the_directory_names_the_owner_of_a_session_whatever_is_late() -> None:
    states, wrong = explore(nodes=3, connections=5, accepts=by_epoch)
    assert wrong is None
    assert states > 1000


def test_without_epochs_a_late_record_of_a_former_owner_takes_the_session_back() -> None:
    _, wrong = explore(nodes=2, connections=4, accepts=by_generation)
    assert wrong is not None
    assert wrong[-1].record.node == 0
    assert wrong[-1].sessions[0] is None
