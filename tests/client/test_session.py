"""The client's part of a session, and duplicates."""

from __future__ import annotations

from mcp_actors.client.session import MAX_POSITIONS, MAX_SEEN, Seen, Session


def test_a_session_without_a_token_cannot_be_resumed() -> None:
    assert Session().resume_fields() == {}


def test_a_session_is_resumed_by_its_last_token_number_and_positions() -> None:
    session = Session("t")
    session.delivered = 7
    session.keep_position("r", "1")
    session.keep_position("s", "2")
    session.keep_position("r", "3")
    assert session.resume_fields() == {"resume": "t", "received": 7, "at": {"r": "3", "s": "2"}}


def test_the_rooms_heard_last_keep_their_positions() -> None:
    session = Session("t")
    for number in range(MAX_POSITIONS + 1):
        session.keep_position(str(number), "x")
    assert list(session.resume_fields()["at"]) == [str(number) for number in range(1, MAX_POSITIONS + 1)]


def message(number: int, **fields: object) -> dict[str, object]:
    return {"type": "signal", "room": "r", "sender": "a", "id": number, **fields}


def test_a_message_sent_again_is_a_duplicate_if_it_had_arrived() -> None:
    seen = Seen()
    assert not seen.is_duplicate(message(1))
    assert seen.is_duplicate(message(1, again=True))
    assert not seen.is_duplicate(message(2, again=True))
    assert not seen.is_duplicate(message(1, again=True, sender="b"))
    assert not seen.is_duplicate(message(1))  # another message with the same id
    assert not seen.is_duplicate({"sender": "a", "again": True})


def test_the_last_messages_are_remembered() -> None:
    seen = Seen()
    for number in range(MAX_SEEN + 1):
        seen.is_duplicate(message(number))
    assert not seen.is_duplicate(message(0, again=True))
    assert seen.is_duplicate(message(MAX_SEEN, again=True))
