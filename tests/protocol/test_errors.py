from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_actors.protocol import errors
from mcp_actors.protocol.errors import (
    BadMessage,
    CloseCode,
    ErrorCode,
    Internal,
    PeerIdTaken,
    PeerNotFound,
    RateLimited,
    SignalingError,
    Unavailable,
    describe,
)
from mcp_actors.protocol.identifiers import RoomId

MAX_REASON_BYTES = 123
"""What a close frame has room for: 125 bytes, two of them the code (RFC 6455, 5.5.1)."""

STANDARD_CODES = range(1000, 3000)
OWN_CODES = range(4000, 5000)


def _tree(root: type[SignalingError], depth: int = 0) -> list[tuple[int, str]]:
    found = [(depth, root.__name__)]
    for child in root.__subclasses__():
        found += _tree(child, depth + 1)
    return found


def _classes() -> list[type[SignalingError]]:
    return [getattr(errors, name) for depth, name in _tree(SignalingError) if depth]


def test_every_error_code_has_exactly_one_class() -> None:
    assert sorted(error.code for error in _classes()) == sorted(ErrorCode)


def test_every_class_is_named_after_its_code() -> None:
    for error in _classes():
        assert re.sub(r"(?<!^)(?=[A-Z])", "-", error.__name__).lower() == error.code


def test_error_codes_are_kebab_case() -> None:
    for code in ErrorCode:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", code)


def test_only_what_may_succeed_later_is_retryable() -> None:
    assert {error for error in _classes() if error.retryable} == {PeerIdTaken, Unavailable, RateLimited, Internal}


def test_only_a_bug_closes_the_connection() -> None:
    assert {error for error in _classes() if error.close_code is not None} == {Internal}
    assert Internal.close_code is CloseCode.INTERNAL


@pytest.mark.parametrize("code", CloseCode)
def test_a_client_may_reconnect_after_every_code_below_4500(code: CloseCode) -> None:
    assert code.retryable == (code < 4500)


def test_final_close_codes_are_not_retryable() -> None:
    assert not CloseCode.BAD_MESSAGE.retryable
    assert CloseCode.ROOM_LOST.retryable
    assert CloseCode.SLOW_PEER.retryable


@pytest.mark.parametrize("code", CloseCode)
def test_a_close_code_is_one_that_a_server_may_send(code: CloseCode) -> None:
    assert code in STANDARD_CODES or code in OWN_CODES
    assert code not in {1004, 1005, 1006, 1015}


@pytest.mark.parametrize("code", CloseCode)
def test_a_reason_is_kebab_case_and_fits_a_close_frame(code: CloseCode) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", code.reason)
    assert len(code.reason.encode()) <= MAX_REASON_BYTES


def test_the_reason_is_the_name() -> None:
    assert CloseCode.ROOM_LOST.reason == "room-lost"
    assert CloseCode.GOING_AWAY.reason == "going-away"


def test_an_error_carries_its_message_and_details() -> None:
    error = BadMessage("`room` is missing.", field="room")
    assert str(error) == "`room` is missing."
    assert error.details == {"field": "room"}
    assert (error.room, error.id) == (None, None)


def test_about_names_the_request_and_gives_the_same_error_back() -> None:
    error = PeerNotFound("nobody")
    assert error.about(RoomId("room123"), 7) is error
    assert (error.room, error.id) == ("room123", 7)


@pytest.mark.parametrize("error_class", _classes())
def test_an_error_of_the_protocol_describes_itself(error_class: type[SignalingError]) -> None:
    error = error_class("why")
    assert describe(error) is error


@pytest.mark.parametrize("error_class", [ValueError, KeyError, RuntimeError, OSError, Exception, AssertionError])
@given(secret=st.text(min_size=1).map(lambda text: f"secret {text}"))
def test_the_text_of_an_unknown_exception_never_leaves_the_server(error_class: type[Exception], secret: str) -> None:
    told = describe(error_class(secret))
    assert isinstance(told, Internal)
    assert "secret" not in str(told)
    assert not told.details
    assert told.__cause__ is None


def test_each_description_of_a_bug_is_its_own() -> None:
    first, second = describe(ValueError()), describe(ValueError())
    first.about(RoomId("a"), 1)
    assert second.room is None
