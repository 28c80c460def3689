"""Messages that wait for absent peers, and those on their way to other nodes."""

from __future__ import annotations

from mcp_actors.protocol.identifiers import Incarnation, PeerId
from mcp_actors.room.mailbox import LETTER_OVERHEAD, Letter, Mailbox
from tests.support.rooms import signal

ADA, BOB, EVE = PeerId("ada"), PeerId("bob"), PeerId("eve")
ADA_HERE, BOB_THERE = Incarnation("ada.1"), Incarnation("bob.1")
SPACE = 10 * (LETTER_OVERHEAD + 1000)


def letter(text: str, sender: PeerId = ADA, target: PeerId = BOB) -> Letter:
    return Letter(sender, target, signal(target)[0], text.encode())


def mailbox(messages: int = 10, size: int = SPACE) -> Mailbox:
    return Mailbox(messages, size)


def test_messages_are_collected_in_order_whoever_sent_them_and_only_once() -> None:
    box = mailbox()
    letters = [letter("1"), letter("2", EVE), letter("3")]
    for one in letters:
        box.put(one)
    box.put(letter("other", target=EVE))
    assert box.collect(BOB) == letters
    assert box.collect(BOB) == []


def test_the_first_message_between_two_peers_begins_a_batch_that_expires_as_a_whole() -> None:
    box = mailbox()
    batch = box.put(letter("1"))
    assert batch
    assert box.put(letter("2")) == 0
    box.put(letter("of another", EVE))
    assert box.expire(ADA, BOB, batch)
    assert [one.frame for one in box.collect(BOB)] == [b"of another"]
    assert not box.expire(ADA, BOB, batch)
    assert box.bytes == 0


def test_a_batch_that_was_collected_does_not_expire_and_the_next_one_has_its_own_time() -> None:
    box = mailbox()
    first = box.put(letter("1"))
    box.collect(BOB)
    second = box.put(letter("2"))
    assert first
    assert second not in (0, None, first)
    assert not box.expire(ADA, BOB, first)
    assert [one.frame for one in box.collect(BOB)] == [b"2"]


def test_a_sender_has_so_many_messages_and_others_are_not_affected() -> None:
    box = mailbox(messages=2)
    box.put(letter("1"))
    box.put(letter("2", target=EVE))
    assert box.put(letter("3")) is None
    assert box.put(letter("4", EVE)) is not None
    box.collect(EVE)
    assert box.put(letter("5")) is not None


def test_all_messages_together_have_so_many_bytes() -> None:
    box = mailbox(size=2 * LETTER_OVERHEAD + 100)
    assert box.put(letter("x" * 60)) is not None
    assert box.track(ADA_HERE, BOB_THERE, letter("x" * 60)) == 0
    assert box.put(letter("x" * 60, EVE)) is None
    assert box.track(ADA_HERE, BOB_THERE, letter("x" * 40))
    assert box.bytes == 2 * LETTER_OVERHEAD + 100


def test_a_message_that_has_arrived_is_forgotten_and_the_others_to_its_target_are_lost_with_its_node() -> None:
    box = mailbox()
    numbers = [box.track(ADA_HERE, BOB_THERE, letter(text)) for text in "123"]
    arrived = box.arrived(ADA_HERE, BOB_THERE, numbers[1])
    assert arrived is not None
    assert arrived.frame == b"2"
    assert box.arrived(ADA_HERE, BOB_THERE, numbers[1]) is None
    assert [one.frame for one in box.lost(BOB_THERE)] == [b"1", b"3"]
    assert box.lost(BOB_THERE) == []
    assert box.bytes == 0


def test_the_messages_of_a_member_that_left_are_forgotten() -> None:
    box = mailbox()
    box.track(ADA_HERE, BOB_THERE, letter("1"))
    box.track(Incarnation("eve.1"), BOB_THERE, letter("2", EVE))
    box.forget(ADA_HERE)
    assert [one.frame for one in box.lost(BOB_THERE)] == [b"2"]


def test_nothing_is_left_after_clearing() -> None:
    box = mailbox()
    batch = box.put(letter("1"))
    box.track(ADA_HERE, BOB_THERE, letter("2"))
    box.clear()
    assert box.bytes == 0
    assert box.collect(BOB) == box.lost(BOB_THERE) == []
    assert not box.expire(ADA, BOB, batch or 0)
