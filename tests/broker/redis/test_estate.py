from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from msgspec import structs

from mcp_actors.broker import Recovered
from mcp_actors.broker.redis.entries import Frame, field_of, member_text, pack_frame, pack_frames
from mcp_actors.broker.redis.estate import AT_ONCE, WHOLE, Estate, Place, place, read_place
from mcp_actors.protocol.events import Announced, Kind, LeaveReason, Member, MemberMoved, Missed, Signalled, Step
from mcp_actors.protocol.identifiers import NodeId, PeerId, RoomId
from tests.broker.redis.lua import A, B, C, Store, peer, user

if TYPE_CHECKING:
    from mcp_actors.broker.redis.outgoing import Call

ROOM = RoomId("room123")
DEAD = NodeId("m-4f2a-dead00ad")
ANA, BEN, UNA, VIC = peer("ana", DEAD), peer("ben", B), user("una", node=DEAD), user("vic", node=B)
MEMBERS = {one.incarnation: one for one in (ANA, BEN, UNA, VIC)}
SOON = 0.05
"""Seconds of patience where something will not come."""


class Inbox:
    """What lies in the inbox of a dead node, and what another recovers from it for a member that moved to node A."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._name = store.keys.inbox(DEAD)
        self.calls = 0
        self.mute = False
        self.estate = Estate(store.keys, DEAD, self._call)

    def _call(self, call: Call) -> None:
        self.calls += 1
        if self.mute:
            return
        with self._store.redis.pipeline(transaction=False) as pipeline:
            pipeline.set_response_callback("XRANGE", lambda reply, **_options: reply)
            pipeline.execute_command(*call.command)
            (reply,) = pipeline.execute(raise_on_error=False)
        call.answered(reply)

    def frames(self, *frames: Frame) -> str:
        """Write frames as one entry; its id is returned."""
        packed = pack_frames([pack_frame(frame) for frame in frames])
        return str(self._store.redis.xadd(self._name, {"r": packed}).decode())

    def changes(self, *changes: list[Any], room: RoomId = ROOM) -> str:
        """Write changes of the room as one entry."""
        packed = msgspec.msgpack.encode(changes)
        fields = {"t": "m", "R": room, "a": "1", "v": "2", "o": packed}
        return str(self._store.redis.xadd(self._name, fields).decode())

    async def recover(
        self, at: str, member: Member = ANA, *others: NodeId, patience: float = SOON, moves: int = 1
    ) -> Recovered:
        """What is recovered after a place; all of `others` may still write."""
        move = MemberMoved(9, member.incarnation, DEAD, A, moves, (DEAD, A, *others))
        return await self.estate.recover(ROOM, member.kind, move, at, patience, MEMBERS)


@pytest.fixture
def inbox(store: Store) -> Inbox:
    return Inbox(store)


def signal(number: int, *, ticket: int = 0, source: Member = BEN, target: Member = ANA, room: RoomId = ROOM) -> Frame:
    body = b"%d" % number
    return Frame(room, source.incarnation, target.incarnation, number, "s", ticket, body)


def message(number: int, target: Member = UNA, *, ticket: int = 0, source: Member = VIC) -> Frame:
    return Frame(ROOM, source.incarnation, target.incarnation, number, "m", ticket, b"%d" % number)


def word(node: NodeId, target: Member = ANA, moves: int = 1) -> Frame:
    return Frame(ROOM, node, target.incarnation, moves, "w", 0, b"")


def heard(number: int, ticket: int = 0) -> Signalled:
    return Signalled(BEN.incarnation, ANA.incarnation, b"%d" % number, ticket)


def said(number: int, ticket: int = 0) -> Announced:
    return Announced(VIC.incarnation, UNA.incarnation, b"%d" % number, ticket)


def at(entry: str, index: int = 0) -> str:
    return place(entry.encode(), index, DEAD).decode()


# -------------------------------------------------------------------------------------------------------------- places


def test_a_place_names_the_entry_the_frame_in_it_and_the_random_part_of_the_node() -> None:
    assert place(b"1700-3", 2, DEAD) == b"1700-3.2@dead00ad"
    assert read_place("1700-3.2@dead00ad", DEAD) == Place(1700, 3, 2)


@pytest.mark.parametrize(
    "text",
    [
        *("", "@", "1700-3.2@other", "1700-3.2", "1700.2@dead00ad", "1700-3@dead00ad", "-3.2@dead00ad"),
        *("1700-x.2@dead00ad", "1700-3.-2@dead00ad", "1700-3.2@dead00ad ", "1700-3.²@dead00ad"),
    ],
)
def test_what_names_no_place_in_the_inbox_of_that_node_is_none(text: str) -> None:
    assert read_place(text, DEAD) is None


def test_places_follow_one_another_as_what_they_name_does() -> None:
    texts = ["9-9.5", "10-0.0", "10-0.2", "10-0.10", f"10-0.{WHOLE}", "10-1.0"]
    found = [read_place(f"{text}@dead00ad", DEAD) for text in texts]
    assert None not in found
    assert found == sorted(found, key=lambda one: one or Place(0, 0, 0))


# ------------------------------------------------------------------------------------------------------------- signals


async def test_signals_after_the_place_are_recovered_and_those_before_are_answered(inbox: Inbox) -> None:
    inbox.frames(signal(1, ticket=1))
    entry = inbox.frames(signal(2, ticket=2), signal(3, ticket=3))
    inbox.frames(signal(4, ticket=4))
    found = await inbox.recover(at(entry, 0))
    assert found == Recovered([heard(3, 3), heard(4, 4)], [heard(1, 1), heard(2, 2)], known=True, whole=True)


async def test_after_the_end_of_an_entry_only_what_came_later_is_recovered(inbox: Inbox) -> None:
    entry = inbox.frames(signal(1), signal(2))
    inbox.frames(signal(3))
    assert (await inbox.recover(at(entry, WHOLE))).events == [heard(3)]


@pytest.mark.parametrize("text", ["", "1-1.0@other", "nonsense"])
async def test_without_a_place_nothing_is_recovered_and_all_of_it_may_be_lost(inbox: Inbox, text: str) -> None:
    inbox.frames(signal(1, ticket=1))
    found = await inbox.recover(text)
    assert found == Recovered([], [heard(1, 1)], known=False, whole=False)


async def test_a_place_that_was_cut_off_is_not_known(inbox: Inbox, store: Store) -> None:
    entry = inbox.frames(signal(1))
    inbox.frames(signal(2))
    store.redis.xtrim(store.keys.inbox(DEAD), maxlen=1, approximate=False)
    found = await inbox.recover(at(entry))
    assert (found.known, found.whole, found.events) == (False, False, [])


async def test_an_inbox_that_is_gone_is_not_waited_for_nor_taken_for_empty(inbox: Inbox) -> None:
    found = await inbox.recover("1-1.0@dead00ad")
    assert (found.known, found.whole) == (False, False)


async def test_what_is_for_others_or_of_another_room_is_left_where_it_is(inbox: Inbox) -> None:
    entry = inbox.frames(signal(1))
    inbox.frames(signal(1, target=UNA), signal(2, room=RoomId("another")), message(1))
    assert (await inbox.recover(at(entry))).events == []


async def test_a_frame_that_was_written_twice_is_recovered_once(inbox: Inbox) -> None:
    entry = inbox.frames(signal(1))
    inbox.frames(signal(1), signal(2))
    inbox.frames(signal(2), signal(3))
    assert (await inbox.recover(at(entry))).events == [heard(2), heard(3)]


async def test_the_step_of_a_signal_is_recovered_with_it(inbox: Inbox) -> None:
    entry = inbox.frames(signal(1))
    inbox.frames(structs.replace(signal(2), step=Step("offer", 5)))
    (event,) = (await inbox.recover(at(entry))).events
    assert isinstance(event, Signalled)
    assert event.step == Step("offer", 5)


async def test_many_entries_are_read_in_bounded_steps_and_none_is_read_twice(inbox: Inbox) -> None:
    first = inbox.frames(signal(1))
    for number in range(2, AT_ONCE + 10):
        inbox.frames(signal(number))
    assert len((await inbox.recover(at(first))).events) == AT_ONCE + 8
    assert inbox.calls == 2
    inbox.frames(signal(AT_ONCE + 10))
    assert len((await inbox.recover(at(first))).events) == AT_ONCE + 9
    assert inbox.calls == 3


async def test_several_members_recover_from_one_inbox_at_once(inbox: Inbox) -> None:
    entry = inbox.frames(signal(1))
    inbox.frames(signal(2), message(1))
    ana, una = await asyncio.gather(inbox.recover(at(entry)), inbox.recover(at(entry), UNA))
    assert (ana.events, una.events) == ([heard(2)], [said(1)])
    assert inbox.calls == 2


# ------------------------------------------------------------------------------------------------ what is still written


async def test_what_others_write_until_they_heard_of_the_move_is_waited_for(inbox: Inbox) -> None:
    entry = inbox.frames(signal(1))
    recovering = asyncio.ensure_future(inbox.recover(at(entry), ANA, B, C, patience=5.0))
    inbox.frames(word(C))
    inbox.frames(signal(2), word(B))
    assert await recovering == Recovered([heard(2)], [heard(1)], known=True, whole=True)


async def test_a_node_that_does_not_say_so_is_waited_for_no_longer_than_allowed(inbox: Inbox) -> None:
    entry = inbox.frames(signal(1))
    inbox.frames(signal(2), word(C))
    found = await inbox.recover(at(entry), ANA, B, C)
    assert (found.events, found.known, found.whole) == ([heard(2)], True, False)


@pytest.mark.parametrize("other", [word(B, UNA), word(B, ANA, 1)], ids=["of another", "of an earlier move"])
async def test_a_word_about_something_else_does_not_count(inbox: Inbox, other: Frame) -> None:
    entry = inbox.frames(signal(1), other)
    assert not (await inbox.recover(at(entry), ANA, B, moves=2)).whole


async def test_a_node_that_is_dead_or_has_stopped_is_not_waited_for(inbox: Inbox) -> None:
    entry = inbox.frames(signal(1))
    inbox.changes(moved(ANA, 1, C))
    inbox.frames(word(B))
    assert (await inbox.recover(at(entry), ANA, B, C)).whole
    assert not (await inbox.recover(at(entry), ANA, B, C, moves=2)).whole


async def test_while_the_link_is_gone_no_time_passes_and_what_it_did_not_answer_is_asked_again(inbox: Inbox) -> None:
    entry = inbox.frames(signal(1))
    inbox.frames(signal(2), word(B))
    inbox.mute = True
    recovering = asyncio.ensure_future(inbox.recover(at(entry), ANA, B))
    while not inbox.calls:
        await asyncio.sleep(0)
    inbox.estate.detached()
    inbox.mute = False
    await asyncio.sleep(3 * SOON)
    assert not recovering.done()
    inbox.estate.attached()
    assert await recovering == Recovered([heard(2)], [heard(1)], known=True, whole=True)


async def test_a_redis_that_goes_away_meanwhile_is_waited_for_no_longer_than_allowed(store: Store) -> None:
    estate = Estate(store.keys, DEAD, lambda _call: None)
    move = MemberMoved(9, ANA.incarnation, DEAD, A, 1, (DEAD, A))
    found = await estate.recover(ROOM, Kind.PEER, move, "1-1.0@dead00ad", SOON, MEMBERS)
    assert (found.known, found.whole) == (False, False)


# ------------------------------------------------------------------------------------------------------ messages to all


async def test_a_message_to_all_users_is_recovered_whoever_it_names_and_answered_by_whom_it_names(inbox: Inbox) -> None:
    entry = inbox.frames(message(1, ticket=1))
    another = user("uwe", node=DEAD)
    inbox.frames(message(2, ticket=2), message(1, another, ticket=3))
    found = await inbox.recover(at(entry), UNA)
    assert (found.events, found.answered) == ([said(2, 2), said(1)], [said(1, 1)])


async def test_a_message_to_all_users_is_not_for_a_peer_nor_for_who_sent_it(inbox: Inbox) -> None:
    entry = inbox.frames(signal(1))
    inbox.frames(message(1), message(1, source=UNA))
    assert (await inbox.recover(at(entry), ANA)).events == []
    assert (await inbox.recover(at(entry), UNA)).events == [said(1)]


async def test_what_a_node_said_to_all_after_it_heard_of_the_move_came_to_the_new_node_already(inbox: Inbox) -> None:
    entry = inbox.frames(message(1))
    inbox.frames(message(2), word(B, UNA), message(3))
    assert (await inbox.recover(at(entry), UNA, B)).events == [said(2)]


# ---------------------------------------------------------------------------------------------------- who came and went


def joined(member: Member) -> list[Any]:
    return ["+", member.node, member.incarnation, member.order, member_text(member).decode(), "0", 0]


def left(member: Member, reason: str = "left") -> list[Any]:
    return ["-", member.incarnation, reason, field_of(member)]


def marked(member: Member, away: str = "1") -> list[Any]:
    return ["~", member.incarnation, away, field_of(member)]


def moved(member: Member = ANA, moves: int = 1, *silent: NodeId) -> list[Any]:
    return [">", member.incarnation, A, moves, [*silent]]


ZOE = peer("zoe", C, order=3, color="red")


async def test_which_peers_came_went_and_were_away_after_the_place_is_recovered_in_order(inbox: Inbox) -> None:
    entry = inbox.changes(joined(BEN))
    inbox.changes(joined(ZOE), marked(ZOE))
    inbox.changes(marked(ZOE, "0"), left(ZOE, "timeout"))
    assert (await inbox.recover(at(entry))).events == [
        Missed(PeerId("zoe"), ZOE),
        Missed(PeerId("zoe"), away=True),
        Missed(PeerId("zoe"), away=False),
        Missed(PeerId("zoe"), reason=LeaveReason.TIMEOUT),
    ]


async def test_users_and_the_member_itself_are_no_news(inbox: Inbox) -> None:
    entry = inbox.frames(signal(1))
    inbox.changes(joined(VIC), left(VIC), marked(ANA), marked(ANA, "0"), marked(UNA))
    assert (await inbox.recover(at(entry))).events == []


async def test_what_happened_after_the_move_was_told_at_the_new_node_already(inbox: Inbox) -> None:
    entry = inbox.frames(signal(1))
    inbox.changes(joined(ZOE))
    inbox.changes(moved(UNA), moved(ANA, 3), moved(ANA, 4))
    inbox.changes(left(ZOE))
    inbox.frames(signal(2))
    assert (await inbox.recover(at(entry), moves=4)).events == [Missed(PeerId("zoe"), ZOE), heard(2)]


async def test_what_happened_in_another_room_is_no_news(inbox: Inbox) -> None:
    entry = inbox.frames(signal(1))
    inbox.changes(joined(ZOE), room=RoomId("another"))
    assert (await inbox.recover(at(entry))).events == []


async def test_a_room_as_a_whole_or_a_probe_is_no_news(inbox: Inbox, store: Store) -> None:
    entry = inbox.frames(signal(1))
    store.redis.xadd(store.keys.inbox(DEAD), {"t": "k", "n": "1"})
    assert (await inbox.recover(at(entry))).events == []
