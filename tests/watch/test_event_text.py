"""Lines for people."""

from __future__ import annotations

from typing import get_args

import pytest

from mcp_actors.client import (
    Announcement,
    Answer,
    Event,
    EventsDropped,
    IceCandidate,
    IceServersRenewed,
    Kicked,
    Message,
    Offer,
    PeerAway,
    PeerBack,
    PeerJoined,
    PeerLeft,
    PeerUpdated,
    Rejoined,
    RoomClosed,
    RoomLocked,
    RoomUnlocked,
    Signal,
    UserJoined,
    UserLeft,
    UserUpdated,
)
from mcp_actors.watch.event_text import MAX_SHOWN, event_text, shown

TEXTS: list[tuple[Event, str]] = [
    (PeerJoined(peer_id="ada", order=3), "ada joined, order 3"),
    (UserJoined(user_id="ada", verified=True), "ada (verified) joined"),
    (PeerUpdated(peer_id="ada", metadata={}), "ada has new metadata: {}"),
    (UserUpdated(user_id="ada", metadata={}), "ada has new metadata: {}"),
    (PeerLeft(peer_id="ada", reason="left"), "ada left"),
    (PeerLeft(peer_id="ada", reason="timeout"), "ada lost its connection and did not come back in time"),
    (UserLeft(user_id="ada", reason="another"), "ada left (another)"),
    (PeerAway(peer_id="ada"), "ada is away: its connection is lost"),
    (PeerBack(peer_id="ada"), "ada is back"),
    (Message(sender="ada", content="Zoë"), 'ada says "Zoë"'),
    (Offer(sender="ada", offer={}, negotiation=2), "ada sent an offer of 2 bytes, negotiation 2"),
    (Answer(sender="ada", answer={"a": 1}), "ada sent an answer of 7 bytes"),
    (IceCandidate(sender="ada", candidate=None), "ada sent an ICE candidate of 4 bytes"),
    (Signal(sender="ada", data="é"), "ada sent a signal of 4 bytes"),
    (Announcement(content=[1]), "announcement: [1]"),
    (RoomLocked(), "a moderator locked the room"),
    (RoomUnlocked(), "a moderator unlocked the room"),
    (Kicked(), "a moderator kicked this watcher"),
    (
        Kicked(reason="spam", message="No.", ban_seconds=60),
        ("a moderator kicked this watcher, which may not come back for 60 s: No. (spam)"),
    ),
    (RoomClosed(reason="over"), "a moderator closed the room: (over)"),
    (IceServersRenewed(ice_servers=[]), "the server gave new ICE servers"),
    (Rejoined(resumed=True), "back in the room: some events are missing"),
    (Rejoined(resumed=False), "back in the room: the session was over, and others saw a leave and a join"),
    (EventsDropped(count=5), "5 events came too fast to be shown"),
]


@pytest.mark.parametrize(("event", "text"), TEXTS, ids=[text for _, text in TEXTS])
def test_an_event_is_a_line(event: Event, text: str) -> None:
    assert event_text(event) == text


def test_every_kind_of_event_has_its_line() -> None:
    assert {type(event) for event, _ in TEXTS} == set(get_args(Event))


def test_metadata_is_shown() -> None:
    event = PeerJoined(peer_id="ada", order=1, metadata={"name": "Ada"})
    assert event_text(event) == 'ada {"name": "Ada"} joined, order 1'


def test_what_strangers_send_cannot_change_the_terminal() -> None:
    line = event_text(Message(sender="ada", content="\x1b[2J\u009b2J\u202eabc\n"))
    assert line.isprintable()
    assert line == r'ada says "\u001b[2J\x9b2J\u202eabc\n"'


def test_long_contents_are_cut() -> None:
    assert shown("x" * 10_000) == f'"{"x" * (MAX_SHOWN - 1)}...'
