from __future__ import annotations

import pytest
from msgspec import structs

from mcp_actors.broker.redis import questions
from mcp_actors.broker.redis.entries import member_text, user_text
from mcp_actors.broker.redis.questions import Ask, Own, Request
from mcp_actors.broker.redis.scripts import CLAIM, CLOSE, EXPIRE, JOIN, KICK, LEAVE, LOCK, MARK, RESYNC
from mcp_actors.protocol.events import LeaveReason
from tests.broker.redis.lua import A, B, peer, user

ANA = structs.replace(peer("ana"), order=1)
UNA = structs.replace(user("una"), order=1, away=True, moves=2)
NODES = [A, B]


def _about(ask: Ask, own: Own, whom: str = "") -> questions.Question:
    return questions.about_member(Request(ask, (own.member.incarnation,), whom), NODES, own, None, whole=False)


def test_a_join_says_who_comes_how_many_there_may_be_and_what_is_known_here() -> None:
    own = Own(ANA, 7, 0.0, moderator=True)
    question = questions.about_member(Request(Ask.JOIN, (ANA.incarnation,)), NODES, own, B, whole=True)
    assert (question.script, question.nodes, question.rival) == (JOIN, NODES, B)
    assert question.arguments == ["pana", ANA.incarnation, member_text(ANA), 7, "1", B, "1"]
    assert own.asked


def test_a_claim_says_which_move_it_is_and_remembers_where_the_member_was() -> None:
    own = Own(UNA, 0, 0.0, claimed=True)
    question = questions.about_member(Request(Ask.CLAIM, (UNA.incarnation,)), NODES, own, B, whole=False)
    assert (question.script, question.rival) == (CLAIM, B)
    assert question.arguments == [f"u{UNA.incarnation}", UNA.incarnation, 2, "", B]
    assert own.old == B
    _about(Ask.CLAIM, own)
    assert own.old == B


@pytest.mark.parametrize(
    ("ask", "script", "said"),
    [
        (Ask.LEAVE, LEAVE, ["left"]),
        (Ask.AWAY, MARK, ["1"]),
        (Ask.BACK, MARK, ["0"]),
        (Ask.LOCK, LOCK, ["1"]),
        (Ask.UNLOCK, LOCK, ["0"]),
        (Ask.CLOSE, CLOSE, []),
    ],
)
def test_all_else_says_whom_it_is_about(ask: Ask, script: object, said: list[str]) -> None:
    own = Own(ANA, 7, 0.0)
    own.leaving = LeaveReason.LEFT
    question = _about(ask, own)
    assert question.script is script
    assert question.arguments == ["pana", ANA.incarnation, *said]


@pytest.mark.parametrize(("whom", "said"), [("pben", ["pben", ""]), ("uben", ["", user_text("ben")])])
def test_a_kick_names_a_peer_or_how_the_text_of_a_user_begins(whom: str, said: list[str | bytes]) -> None:
    question = _about(Ask.KICK, Own(ANA, 7, 0.0), whom)
    assert question.script is KICK
    assert question.arguments == ["pana", ANA.incarnation, *said]


def test_to_ask_for_all_announces_who_is_in_as_the_room_knows_them_and_who_may_be() -> None:
    known = structs.replace(ANA, order=9, moves=3)
    ana, una = Own(ANA, 7, 0.0), Own(UNA, 7, 0.0)
    ana.joined = ana.away = True
    question = questions.resync(NODES, "5", -8, {ANA.incarnation: ana, UNA.incarnation: una}, {ANA.incarnation: known})
    assert (question.request, question.script) == (Request(Ask.RESYNC), RESYNC)
    of_ana = ["pana", ANA.incarnation, "p", 9, member_text(known), "1", 3, "in"]
    of_una = [f"u{UNA.incarnation}", UNA.incarnation, "u", 1, member_text(UNA), "0", 2, "if"]
    assert question.arguments == ["5", -8, *of_ana, *of_una]


def test_an_expiry_names_those_who_are_still_there_and_is_none_without_them() -> None:
    request = Request(Ask.EXPIRE, (ANA.incarnation,))
    question = questions.expiry(request, NODES, [ANA])
    assert question is not None
    assert (question.request, question.script) == (request, EXPIRE)
    assert question.arguments == ["pana", ANA.incarnation]
    assert questions.expiry(request, NODES, []) is None
