from __future__ import annotations

import pytest

from tests.simulation.model import Acquired, Model, Record, Refused, acquired, by_epoch, by_generation, explore


def test_the_directory_names_the_owner_of_a_session_whatever_is_late() -> None:
    states, wrong = explore(nodes=3, connections=5, accepts=by_epoch)
    assert wrong is None
    assert states > 1000


def test_without_epochs_a_late_record_of_a_former_owner_takes_the_session_back() -> None:
    _, wrong = explore(nodes=2, connections=4, accepts=by_generation)
    assert wrong is not None
    assert wrong[-1].record.node == 0
    assert wrong[-1].sessions[0] is None


def test_a_session_gets_an_epoch_with_each_owner_and_a_generation_that_no_token_has() -> None:
    first = Record("a", 0, 3)
    assert acquired(first, "b", token=3) == Record("b", 1, 4)
    assert acquired(first, "b", token=5) == Record("b", 1, 6), "its node was lost before it saved the record"
    assert acquired(Record("b", 1, 4), "b", token=3) == Record("b", 1, 4), "a call that is repeated changes nothing"


@pytest.fixture
def model() -> Model:
    """Session s of member s.1 began at node a, and has moved to b."""
    model = Model()
    model.saved("s", Record("a", 0, 1), accepted=True)
    model.joined("room", "s.1", "a", 0)
    model.changed("room", 0, 10)
    model.acquired("s", Acquired("b", token=1, epoch=1, generation=2))
    model.moved("room", "s.1", "b", 2)
    model.changed("room", 10, 11)
    return model


def test_the_model_accepts_what_follows_a_move(model: Model) -> None:
    model.saved("s", Record("a", 0, 2), accepted=False)
    model.saved("s", Record("b", 1, 2), accepted=True)
    model.owner_fenced("room", "s.1", 2)
    model.heard_of_fence("c.1", "room", "s.1", 2)
    model.delivered("c.1", "room", "s.1", "t.1", 2, 1)
    model.delivered("c.1", "room", "s.1", "t.1", 2, 3)
    model.delivered("d.1", "room", "s.1", "t.1", 0, 1)
    model.acquired("s", Acquired("a", token=2, epoch=2, generation=3))
    model.moved("room", "s.1", "a", 3)


def test_the_model_refuses_that_a_late_record_wins(model: Model) -> None:
    with pytest.raises(Refused, match="was saved after"):
        model.saved("s", Record("a", 0, 3), accepted=True)


def test_the_model_refuses_that_a_later_record_is_ignored(model: Model) -> None:
    with pytest.raises(Refused, match="was ignored after"):
        model.saved("s", Record("b", 1, 2), accepted=False)


def test_the_model_refuses_two_owners_in_one_epoch(model: Model) -> None:
    with pytest.raises(Refused, match="saves in the epoch"):
        model.saved("s", Record("c", 1, 3), accepted=True)


def test_the_model_refuses_that_a_session_is_acquired_without_a_new_epoch(model: Model) -> None:
    with pytest.raises(Refused, match="does not follow"):
        model.acquired("s", Acquired("c", token=2, epoch=1, generation=3))


@pytest.mark.parametrize(("node", "epoch"), [("b", 2), ("c", 1), ("c", 3)], ids=["again", "back", "not given"])
def test_the_model_refuses_moves_that_the_directory_did_not_allow(model: Model, node: str, epoch: int) -> None:
    with pytest.raises(Refused, match="moved to"):
        model.moved("room", "s.1", node, epoch)


@pytest.mark.parametrize(("after", "version"), [(11, 11), (10, 12), (12, 13)], ids=["used", "skipped", "unknown"])
def test_the_model_refuses_versions_that_do_not_follow(model: Model, after: int, version: int) -> None:
    with pytest.raises(Refused, match="went from version"):
        model.changed("room", after, version)


def test_the_model_accepts_a_version_that_only_newcomers_were_shown(model: Model) -> None:
    model.shown("room", 20)
    model.changed("room", 20, 21)


def test_the_model_refuses_what_a_fenced_owner_still_sends(model: Model) -> None:
    model.heard_of_fence("c.1", "room", "s.1", 2)
    with pytest.raises(Refused, match="from a fenced owner"):
        model.delivered("c.1", "room", "s.1", "t.1", 0, 1)


def test_the_model_refuses_a_frame_that_is_delivered_twice(model: Model) -> None:
    model.delivered("c.1", "room", "s.1", "t.1", 2, 1)
    with pytest.raises(Refused, match="after 1"):
        model.delivered("c.1", "room", "s.1", "t.1", 2, 1)


def test_the_model_refuses_a_member_that_joins_after_it_has_left(model: Model) -> None:
    model.left("room", "s.1")
    with pytest.raises(Refused, match="although it had left"):
        model.joined("room", "s.1", "b", 2)


def test_after_a_loss_of_data_the_model_allows_what_it_cannot_know(model: Model) -> None:
    model.lost()
    model.saved("s", Record("a", 0, 1), accepted=True)
    model.joined("room", "s.1", "a", 0)
    model.changed("room", 0, 5)
    with pytest.raises(Refused):
        model.changed("room", 0, 5)
