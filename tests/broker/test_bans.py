from __future__ import annotations

from msgspec import structs

from mcp_actors.broker.bans import Bans
from mcp_actors.protocol.events import Ban, Kind, Member, Notice
from mcp_actors.protocol.identifiers import PeerId, RoomId
from tests.broker.redis.lua import peer, user

ROOM, OTHER = RoomId("r"), RoomId("s")


def ban(name: str, seconds: float = 60, kind: Kind = Kind.PEER) -> Ban:
    return Ban(kind, PeerId(name), seconds, Notice("spam"), PeerId("mo"))


def verified(member: Member) -> Member:
    return structs.replace(member, verified=True)


def at(member: Member, address: str) -> Member:
    return structs.replace(member, address=address)


def barred(bans: Bans, *members: Member, room: RoomId = ROOM, now: float = 0.0) -> list[bool]:
    return [bans.find(room, member, now) is not None for member in members]


def test_a_ban_is_for_one_room_and_ends_in_time() -> None:
    bans = Bans(10, 10)
    bans.add(ROOM, ban("ana"), [], 100.0)
    assert bans.of(ROOM, 130.0) == (ban("ana", 30),)
    assert bans.find(ROOM, peer("ana"), 130.0) == ban("ana", 30)
    assert barred(bans, peer("ana"), room=OTHER) == [False]
    assert barred(bans, peer("ana"), now=160.0) == [False]
    assert (bans.of(ROOM, 160.0), len(bans)) == ((), 0)


def test_a_ban_of_somebody_without_a_token_is_for_the_claimed_id_of_that_kind() -> None:
    bans = Bans(10, 10)
    bans.add(ROOM, ban("ana"), [peer("ana")], 0.0)
    assert barred(bans, peer("ana"), user("ana"), verified(peer("ana")), peer("ben")) == [True, False, False, False]


def test_a_ban_of_an_owner_or_of_nobody_is_for_the_owner_on_both_endpoints() -> None:
    for removed in ([], [verified(peer("ana"))]):
        bans = Bans(10, 10)
        bans.add(ROOM, ban("ana"), list[Member](removed), 0.0)
        assert barred(bans, peer("ana"), verified(peer("ana")), verified(user("ana"))) == [True] * 3
        assert barred(bans, user("ana"), verified(peer("ben"))) == [False] * 2


def test_a_ban_is_for_the_addresses_of_the_removed_members() -> None:
    bans = Bans(10, 10)
    bans.add(ROOM, ban("una", kind=Kind.USER), [at(user("una"), "a"), at(user("una", 2), "b"), user("una", 3)], 0.0)
    assert bans.of(ROOM, 0.0) == (structs.replace(ban("una", kind=Kind.USER), address=True),)
    assert barred(bans, at(peer("eve"), "a"), at(peer("eve"), "b"), at(peer("eve"), "c"), peer("eve")) == [
        True,
        True,
        False,
        False,
    ]


def test_the_ban_that_lasts_longest_is_found() -> None:
    bans = Bans(10, 10)
    bans.add(ROOM, ban("ana", 10), [], 0.0)
    bans.add(ROOM, ban("ana", 90, Kind.USER), [], 0.0)
    assert bans.find(ROOM, verified(peer("ana")), 0.0) == ban("ana", 90, Kind.USER)
    assert bans.of(ROOM, 0.0) == (ban("ana", 10), ban("ana", 90, Kind.USER))


def test_a_ban_replaces_the_one_before_and_can_be_lifted() -> None:
    bans = Bans(1, 10)
    for seconds in (60, 5):
        assert bans.has_place(ROOM, (Kind.PEER, "ana"), 0.0)
        bans.add(ROOM, ban("ana", seconds), [], 0.0)
    assert (bans.of(ROOM, 0.0), len(bans)) == ((ban("ana", 5),), 1)
    assert not bans.lift(ROOM, (Kind.USER, "ana"), 0.0)
    assert bans.lift(ROOM, (Kind.PEER, "ana"), 0.0)
    assert not bans.lift(ROOM, (Kind.PEER, "ana"), 0.0)
    assert len(bans) == 0


def test_bans_are_bounded_per_room_and_together_and_ended_ones_make_room() -> None:
    bans = Bans(2, 3)
    for room, name, seconds in ((ROOM, "a", 60), (ROOM, "b", 5), (OTHER, "c", 60)):
        bans.add(room, ban(name, seconds), [], 0.0)
    assert not bans.has_place(ROOM, (Kind.PEER, "d"), 0.0)
    assert not bans.has_place(OTHER, (Kind.PEER, "d"), 0.0)
    assert bans.has_place(OTHER, (Kind.PEER, "c"), 0.0)
    assert bans.has_place(OTHER, (Kind.PEER, "d"), 6.0)
    assert len(bans) == 2
