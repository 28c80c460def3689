from __future__ import annotations

from typing import Any

import pytest

from mcp_actors.protocol import messages as wire
from mcp_actors.protocol.errors import Banned, NotInRoom, PeerNotFound, Unavailable
from mcp_actors.protocol.events import (
    NO_NOTICE,
    Announced,
    Kind,
    LeaveReason,
    MemberLeft,
    MemberUpdated,
    Moderated,
    Notice,
    Removal,
    RoomClosed,
    RoomLocked,
)
from mcp_actors.protocol.identifiers import Incarnation, PeerId, UserId
from mcp_actors.room.effects import Done, Drop, Left, Moderate
from mcp_actors.room.moderation import notice_of, target_of
from tests.support.rooms import ROOM, World

LOCKED = {"type": "room-locked", "room": ROOM}


def kick(name: str, request_id: int | None = 1, *, again: bool = False) -> wire.Kick:
    return wire.Kick(room=ROOM, payload=wire.KickPayload(peer_id=PeerId(name)), id=request_id, again=again)


def lock(request_id: int | None = 7) -> wire.Lock:
    return wire.Lock(room=ROOM, id=request_id)


class Trio(World):
    """A room with the local peers mo and ben, and the remote peer far."""

    def __init__(self, **bounds: Any) -> None:
        super().__init__(**bounds)
        self.mo, self.ben, self.far = self.peer("mo"), self.peer("ben"), self.remote(Kind.PEER, "far")
        self.clear()

    def answers(self, reply: str) -> list[object]:
        return [one.outcome for one in self.done if one.reply == reply]


def answer(request_id: int | None, **payload: Any) -> dict[str, Any]:
    found = {"type": "kicked", "room": ROOM, "payload": payload}
    return found if request_id is None else {**found, "id": request_id}


def test_a_kick_names_a_peer_or_a_user() -> None:
    assert target_of(kick("ben")) == (Kind.PEER, "ben")
    payload = wire.KickPayload(user_id=UserId("uma"))
    assert target_of(wire.Kick(room=ROOM, payload=payload)) == (Kind.USER, "uma")


def test_a_kick_is_announced_and_answered() -> None:
    world = Trio()
    world.moderate(world.mo, kick("ben"), "kick")
    world.hear()
    left = {"type": "peer-left", "room": ROOM, "payload": {"peer_id": "ben", "reason": "kicked"}}
    assert world.sent[world.mo] == [left, answer(1, peer_id="ben")]
    assert world.sent[world.ben] == [answer(None, peer_id="ben")]
    assert world.answers("kick") == [None]
    assert Drop(world.ben, Removal(LeaveReason.KICKED)) in world.effects


def test_a_moderator_that_kicks_itself_is_answered() -> None:
    world = Trio()
    world.moderate(world.mo, kick("mo", 3), "kick")
    world.hear()
    assert world.sent[world.mo] == [answer(3, peer_id="mo")]
    assert world.answers("kick") == [None]


def test_a_kick_that_was_done_before_the_answer_was_lost_is_done() -> None:
    world = Trio()
    world.room.moderation.request(world.mo, kick("far"), "kick")
    world.hear(MemberLeft(4, world.far, LeaveReason.KICKED), Moderated(world.mo, done=False))
    assert world.types(world.mo) == ["peer-left", "kicked"]


def test_a_kick_of_a_member_that_left_meanwhile_finds_nobody() -> None:
    world = Trio()
    world.room.moderation.request(world.mo, kick("far"), "kick")
    world.hear(MemberLeft(4, world.far, LeaveReason.LEFT), Moderated(world.mo, done=False))
    (error,) = world.answers("kick")
    assert isinstance(error, PeerNotFound)


def test_a_request_that_the_broker_cannot_do_is_unavailable() -> None:
    world = Trio()
    world.room.moderation.request(world.mo, kick("ben"), "kick")
    world.hear(Moderated(world.mo, done=False, failed=True))
    (error,) = world.answers("kick")
    assert isinstance(error, Unavailable)


def test_a_moderators_next_request_waits_for_the_one_before() -> None:
    world = Trio()
    world.moderate(world.mo, kick("ben", 1), "first")
    world.moderate(world.mo, kick("ben", 2), "second")
    world.moderate(world.mo, lock(3), "third")
    assert [effect.request.id for effect in world.effects if isinstance(effect, Moderate)] == [1]
    world.hear()
    assert world.answers("first") == world.answers("third") == [None]
    (error,) = world.answers("second")
    assert isinstance(error, PeerNotFound)
    assert [one.get("id") for one in world.sent[world.mo]] == [None, 1, 3]


def test_the_requests_of_a_moderator_are_bounded() -> None:
    world = Trio(max_pending_messages=2)
    for _ in range(2):
        world.moderate(world.mo, lock())
    with pytest.raises(Unavailable):
        world.moderate(world.mo, lock())
    world.moderate(world.ben, lock())


@pytest.mark.parametrize("found", [True, False])
def test_a_request_that_is_sent_again_while_it_is_under_way_is_done_and_answered_once(found: bool) -> None:
    world = Trio()
    world.room.moderation.request(world.mo, kick("ben"), "first")
    assert world.room.moderation.request(world.mo, kick("ben", again=True), "again") == []
    reason = LeaveReason.KICKED if found else LeaveReason.LEFT
    world.hear(MemberLeft(4, world.ben, reason), Moderated(world.mo, done=found))
    assert world.answers("again") == [None]
    assert [isinstance(one, PeerNotFound) for one in world.answers("first")] == [not found]
    assert [one.get("id") for one in world.sent[world.mo] if one["type"] == "kicked"] == [1] * found


def test_a_request_that_is_sent_again_and_is_not_under_way_is_done() -> None:
    world = Trio()
    request = wire.Lock(room=ROOM, id=7, again=True)
    assert world.room.moderation.request(world.mo, request) == [Moderate(world.mo, request)]


@pytest.mark.parametrize("name", ["eve", ROOM])
def test_a_kick_of_a_member_that_is_not_in_the_room_finds_nobody(name: str) -> None:
    world = Trio()
    with pytest.raises(PeerNotFound):
        world.moderate(world.mo, kick(name))
    with pytest.raises(NotInRoom):
        world.moderate(world.far, kick("ben"))


def test_a_request_without_an_id_has_no_reply() -> None:
    world = Trio()
    world.moderate(world.mo, kick("far", None), "kick")
    world.hear()
    assert world.types(world.mo) == ["peer-left"]
    assert world.answers("kick") == [None]


def test_all_are_told_of_a_lock_and_the_moderator_by_the_id_of_its_request() -> None:
    world = Trio()
    world.moderate(world.mo, lock())
    world.hear()
    assert world.sent[world.ben] == [LOCKED]
    assert world.sent[world.mo] == [LOCKED | {"id": 7}]
    assert world.room.locked
    assert world.room.heard(RoomLocked(5, locked=True)) == []


def test_a_lock_of_a_locked_room_is_answered_to_the_moderator_alone() -> None:
    world = Trio()
    world.hear(RoomLocked(4, locked=True, by=world.far))
    world.clear()
    world.room.moderation.request(world.mo, lock())
    world.hear(Moderated(world.mo, done=False))
    assert world.sent[world.mo] == [LOCKED | {"id": 7}]
    assert world.sent[world.ben] == []


def test_the_request_of_a_moderator_that_is_kicked_is_resolved_without_a_reply() -> None:
    world = Trio()
    world.room.moderation.request(world.ben, lock(), "lock")
    world.hear(MemberLeft(4, world.ben, LeaveReason.KICKED), Moderated(world.ben, done=False))
    assert world.sent[world.ben] == [answer(None, peer_id="ben")]
    assert world.answers("lock") == [None]


def test_a_member_that_is_told_that_it_has_left_is_not_told_that_it_was_kicked() -> None:
    world = Trio()
    world.room.leave(world.ben, 2, replied=True, reply="leave")
    world.hear(MemberLeft(4, world.ben, LeaveReason.KICKED))
    assert world.types(world.ben) == ["left"]


def test_a_closed_room_is_empty_and_its_members_are_told_and_dropped() -> None:
    world = Trio()
    world.hear(RoomLocked(4, locked=True, by=world.far))
    world.room.leave(world.ben, replied=True, reply="leave")
    world.clear()
    world.hear(RoomClosed(5, world.far))
    for member in (world.mo, world.ben):
        assert world.sent[member] == [{"type": "room-closed", "room": ROOM}]
        assert Drop(member, Removal(LeaveReason.ROOM_CLOSED)) in world.effects
    assert [one.member.incarnation for one in world.effects if isinstance(one, Left)] == [world.mo, world.ben]
    assert world.done == [Done("leave")]
    room = world.room
    assert (len(room.roster), room.empty, room.locked, room.version) == (0, True, False, 5)


def test_a_pending_join_outlasts_the_end_of_the_room() -> None:
    world = Trio()
    eve = world.ask_join(Kind.PEER, "eve", reply="join")
    world.apply(world.room.heard(RoomClosed(4, Incarnation("mo"))))
    world.hear()
    assert world.types(eve) == ["welcome"]
    assert world.answers("join") == [None]


def update(metadata: dict[str, Any], request_id: int | None = 3, *, again: bool = False) -> wire.Update:
    return wire.Update(room=ROOM, payload=wire.UpdatePayload(metadata), id=request_id, again=again)


def updated(kind: str, name: str, metadata: dict[str, Any], *, request_id: int | None = None) -> dict[str, Any]:
    payload = {"user_id" if kind == "user-updated" else "peer_id": name, "metadata": metadata}
    return {"type": kind, "room": ROOM, "payload": payload} | ({} if request_id is None else {"id": request_id})


def test_an_update_is_answered_and_told_to_all_others() -> None:
    world = Trio()
    uma = world.user("uma")
    world.clear()
    world.moderate(world.mo, update({"muted": True}), "update")
    world.hear()
    assert world.sent[world.mo] == [updated("updated", "mo", {"muted": True}, request_id=3)]
    for other in (world.ben, uma):
        assert world.sent[other] == [updated("peer-updated", "mo", {"muted": True})]
    assert world.answers("update") == [None]
    eve = world.peer("eve")
    assert world.welcomes[eve].peers[0].metadata == {"muted": True}


def test_an_update_of_a_user_is_told_to_users_and_to_its_other_connections() -> None:
    world = Trio()
    first, second, vic = world.user("uma"), world.user("uma"), world.user("vic")
    world.clear()
    world.moderate(first, update({"name": "Uma"}, None))
    world.hear()
    answered = updated("user-updated", "uma", {"name": "Uma"})
    assert world.sent[first] == [answered | {"type": "updated"}]
    assert world.sent[second] == world.sent[vic] == [answered]
    assert world.sent[world.mo] == []
    third, eve = world.user("uma"), world.user("eve")
    assert [user.metadata for user in world.welcomes[eve].users] == [{"name": "Uma"}, {"name": "vic"}, {"name": "eve"}]
    assert third in world.room.roster.local
    for one in (first, second, third):
        world.leave(one)
    again = world.user("uma")
    assert {"user_id": "uma", "metadata": {"name": "uma"}} in [one.get("payload") for one in world.sent[eve]]
    assert again in world.room.roster.local


def test_an_update_that_changes_nothing_is_answered_alone() -> None:
    world = Trio()
    for number in (1, 2):
        world.moderate(world.mo, update({"a": [1]}, number))
    world.hear()
    assert [one["id"] for one in world.sent[world.mo]] == [1, 2]
    assert world.types(world.ben) == ["peer-updated"]


def test_an_update_sent_again_while_it_is_under_way_is_made_and_answered_once() -> None:
    world = Trio()
    world.moderate(world.mo, update({"a": 1}), "first")
    world.moderate(world.mo, update({"a": 1}, again=True), "again")
    world.hear()
    assert (world.types(world.mo), world.types(world.ben)) == (["updated"], ["peer-updated"])
    assert world.answers("first") == world.answers("again") == [None]


def test_updates_and_requests_of_moderators_take_effect_in_the_order_sent() -> None:
    world = Trio()
    world.moderate(world.mo, lock(1))
    world.moderate(world.mo, update({"a": 1}))
    world.moderate(world.mo, wire.Unlock(room=ROOM, id=2))
    world.hear()
    assert world.types(world.ben) == ["room-locked", "peer-updated", "room-unlocked"]


def test_an_update_behind_the_own_join_waits_for_it() -> None:
    world = Trio()
    eve = world.ask_join(Kind.PEER, "eve")
    world.moderate(eve, update({"a": 1}))
    world.hear()
    assert world.types(eve) == ["welcome", "updated"]
    assert world.types(world.ben) == ["peer-joined", "peer-updated"]


def test_an_update_that_the_broker_lost_again_is_made_again() -> None:
    world = Trio()
    request = update({"a": 1})
    world.room.moderation.request(world.mo, request)
    assert world.room.heard(Moderated(world.mo, done=True)) == [Moderate(world.mo, request)]
    world.hear(MemberUpdated(7, Kind.PEER, PeerId("mo"), {"a": 1}, world.mo), Moderated(world.mo, done=True))
    assert world.types(world.mo) == ["updated"]


def test_metadata_that_a_snapshot_corrects_is_told_and_the_update_is_answered() -> None:
    world = Trio()
    world.room.moderation.request(world.mo, update({"a": 1}))
    world.hear(MemberUpdated(7, Kind.PEER, PeerId("mo"), {"a": 1}), Moderated(world.mo, done=True))
    assert (world.types(world.mo), world.types(world.ben)) == (["updated"], ["peer-updated"])
    world.hear(MemberUpdated(8, Kind.PEER, PeerId("nobody"), {}))
    assert world.types(world.ben) == ["peer-updated"]


def banning(name: str, **words: Any) -> wire.Kick:
    payload = wire.KickPayload(peer_id=PeerId(name), **{"ban_seconds": 60, **words})
    return wire.Kick(room=ROOM, payload=payload, id=1)


def test_the_words_of_a_moderator_are_those_of_its_request() -> None:
    assert notice_of(kick("ben")) == notice_of(wire.CloseRoom(room=ROOM)) == NO_NOTICE
    assert notice_of(banning("ben", reason="spam", message="No.")) == Notice("spam", "No.", 60)
    close = wire.CloseRoom(room=ROOM, payload=wire.NoticePayload(message="Over."))
    assert notice_of(close) == Notice(message="Over.")


def test_the_words_of_a_moderator_reach_the_member_that_is_removed_and_nobody_else() -> None:
    world = Trio()
    world.moderate(world.mo, banning("ben", reason="spam", message="No."))
    world.hear()
    assert world.sent[world.ben] == [answer(None, peer_id="ben", reason="spam", message="No.", ban_seconds=60)]
    left = {"type": "peer-left", "room": ROOM, "payload": {"peer_id": "ben", "reason": "kicked"}}
    assert world.sent[world.mo] == [left, answer(1, peer_id="ben", ban_seconds=60)]
    assert Drop(world.ben, Removal(LeaveReason.KICKED, Notice("spam", "No.", 60))) in world.effects


def test_all_members_receive_the_words_when_a_room_is_closed() -> None:
    world = Trio()
    world.moderate(world.mo, wire.CloseRoom(room=ROOM, payload=wire.NoticePayload(reason="over"), id=4))
    world.hear()
    closed = {"type": "room-closed", "room": ROOM, "payload": {"reason": "over"}}
    assert (world.sent[world.ben], world.sent[world.mo]) == ([closed], [closed | {"id": 4}])


def test_somebody_that_is_not_in_the_room_can_be_banned() -> None:
    world = Trio()
    world.moderate(world.mo, banning("eve"))
    world.hear()
    assert world.sent[world.mo] == [answer(1, peer_id="eve", ban_seconds=60, absent=True)]
    eve = world.ask_join(Kind.PEER, "eve", reply="join")
    world.hear()
    (error,) = world.answers("join")
    assert isinstance(error, Banned)
    assert 59_000 < error.details["retry_after_ms"] <= 60_000
    assert (error.retryable, eve in world.room.roster) == (False, False)


def test_a_kick_with_a_ban_whose_answer_was_lost_removed_somebody() -> None:
    world = Trio()
    world.room.moderation.request(world.mo, banning("far"))
    world.hear(MemberLeft(4, world.far, LeaveReason.KICKED), Moderated(world.mo, done=True, absent=True))
    assert world.sent[world.mo][-1] == answer(1, peer_id="far", ban_seconds=60)


def test_bans_are_listed_and_lifted() -> None:
    world = Trio()
    world.moderate(world.mo, banning("eve", reason="spam"))
    world.moderate(world.mo, wire.ListBans(room=ROOM, id=2))
    unban = wire.Unban(room=ROOM, payload=wire.UnbanPayload(peer_id=PeerId("eve")), id=3)
    for reply in ("lifted", "not found"):
        world.moderate(world.mo, unban, reply)
    world.moderate(world.mo, wire.ListBans(room=ROOM))
    world.hear()
    _, listed, lifted, empty = world.sent[world.mo]
    ban = {"peer_id": "eve", "expires_in": 60, "by": "mo", "address": False, "reason": "spam"}
    assert listed == {"type": "bans", "room": ROOM, "id": 2, "payload": {"bans": [ban]}}
    assert lifted == {"type": "unbanned", "room": ROOM, "id": 3, "payload": {"peer_id": "eve"}}
    assert empty == {"type": "bans", "room": ROOM, "payload": {"bans": []}}
    (error,) = world.answers("not found")
    assert isinstance(error, PeerNotFound)
    assert "list-bans" in str(error)


def test_one_ban_too_many_is_refused_and_says_what_to_do() -> None:
    world = Trio()
    world.room.moderation.request(world.mo, banning("ben"), "kick")
    world.hear(Moderated(world.mo, done=False, full=True))
    (error,) = world.answers("kick")
    assert isinstance(error, Unavailable)
    assert "unban" in str(error)
    assert world.types(world.ben) == []


def test_requests_that_wait_when_their_member_leaves_are_answered() -> None:
    world = Trio()
    for number, reply in ((1, "first"), (2, "second")):
        world.room.moderation.request(world.mo, lock(number), reply)
    world.room.leave(world.mo, 3, replied=True, reply="leave")
    world.hear(Moderated(world.mo, done=False), MemberLeft(5, world.mo, LeaveReason.LEFT))
    assert (world.answers("first"), world.answers("leave")) == ([None], [None])
    (error,) = world.answers("second")
    assert isinstance(error, NotInRoom)


def test_the_application_tells_all_members_or_one_of_them() -> None:
    world = Trio()
    user = world.user("ben")
    world.clear()
    told = {"type": "announcement", "room": ROOM, "payload": {"content": 1}}
    world.hear(Announced(4, 1))
    assert [world.sent[one] for one in (world.mo, world.ben, user)] == [[told]] * 3
    world.clear()
    world.hear(Announced(5, 1, (Kind.PEER, PeerId("ben"))), Announced(6, 1, (Kind.USER, UserId("zoe"))))
    assert [world.sent[one] for one in (world.mo, world.ben, user)] == [[], [told], []]
