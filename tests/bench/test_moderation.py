"""The moderators of the bench, against a real server."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

from bench.chaos.crowd import Crowd
from bench.chaos.moderation import remove
from bench.chaos.record import Record
from tests.support.tokens import OPTIONAL, SECRET

if TYPE_CHECKING:
    from tests.support.server import Server

with_moderators = pytest.mark.settings(**OPTIONAL)


def crowd(server: Server, window: float) -> Crowd:
    made = Crowd(Record(window=window), [server.url("")], 1, Random(1), window=window, secret=SECRET)  # noqa: S311
    made.leaving = True
    return made


@with_moderators
@pytest.mark.parametrize("attempt", range(4))
async def test_a_removed_member_cannot_come_back_with_its_session(server: Server, attempt: int) -> None:
    """Half of the times it is removed while it moves."""
    all_members = crowd(server, window=5.0)
    moderator = await all_members.enter("moderator", "room0", 0, "room0.m")
    member = await all_members.enter("churner", "room0", 0, "c1")
    await remove(member, moderator, Random(attempt))  # noqa: S311 - no secret
    stay = member.stay
    assert stay.kick_answer == "kicked"
    assert stay.links[-1].refused == "kicked"
    assert not any(link.newcomer for link in stay.links)
    assert [event.peer for event in moderator.stay.events] == ["c1", "c1"]
    await all_members.leave_all()


@with_moderators
async def test_a_member_without_a_session_is_removed(server: Server) -> None:
    all_members = crowd(server, window=0.0)
    moderator = await all_members.enter("moderator", "room0", 0, "room0.m")
    member = await all_members.enter("churner", "room0", 0, "c1")
    await remove(member, moderator, Random(1))  # noqa: S311 - no secret
    assert member.stay.kick_answer == "kicked"
    assert member.stay.closed == "", "its end was expected"
    assert list(all_members.members) == [moderator]
    await all_members.leave_all()
