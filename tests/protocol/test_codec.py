from __future__ import annotations

import copy
import gc
import json
import math
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from mcp_actors.protocol import messages as wire
from mcp_actors.protocol.codec import (
    JSON,
    Decoder,
    Limits,
    encode,
    error_message,
    peer_decoder,
    received,
    relayed,
    sender_stamp,
    user_decoder,
)
from mcp_actors.protocol.errors import BadMessage, ErrorCode, Internal, MessageTooBig, SignalingError, Unavailable
from mcp_actors.protocol.events import LeaveReason
from mcp_actors.protocol.identifiers import PeerId, RoomId, UserId, id_problem
from mcp_actors.protocol.pairs import PairFailure, PairOutcome

LIMITS = Limits(message_bytes=16_384, metadata_bytes=1024, id_length=128)
HUGE = Limits(message_bytes=10_000_000, metadata_bytes=1024, id_length=128)
DEEP = 100_000
SDP = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\n"

ENDPOINTS: dict[str, Decoder[Any]] = {"peer": peer_decoder(LIMITS), "user": user_decoder(LIMITS)}

PEER_MESSAGES: list[dict[str, Any]] = [
    {"type": "join", "room": "room123", "payload": {"peer_id": "peer123"}},
    {"type": "join", "room": "room123", "payload": {"peer_id": "peer123", "resume": "token", "metadata": {"a": [1]}}},
    {"type": "join", "room": "room123", "payload": {"peer_id": "peer123", "resume": None, "metadata": {}}},
    {"type": "join", "room": "room123", "payload": {}},
    {"type": "join", "room": "room123"},
    {"type": "authenticate", "payload": {"token": "a.b.c"}},
    {"type": "ping"},
    {"type": "leave", "room": "room123", "payload": {}},
    {"type": "leave", "room": "room123"},
    {"type": "offer", "room": "room123", "payload": {"target_peer_id": "p", "offer": {"type": "offer", "sdp": SDP}}},
    {"type": "offer", "room": "room123", "payload": {"target_peer_id": "p", "offer": {"sdp": ""}}},
    {"type": "answer", "room": "room123", "payload": {"target_peer_id": "p", "answer": {"type": "answer", "sdp": SDP}}},
    {
        "type": "answer",
        "room": "room123",
        "payload": {"target_peer_id": "p", "answer": {"type": "pranswer", "sdp": ""}},
    },
    {"type": "answer", "room": "room123", "payload": {"target_peer_id": "p", "answer": {"sdp": SDP}}},
    {
        "type": "answer",
        "room": "room123",
        "payload": {"target_peer_id": "p", "answer": {"sdp": SDP}},
        "negotiation": 1,
    },
    {
        "type": "ice-candidate",
        "room": "room123",
        "payload": {"target_peer_id": "p", "candidate": {"candidate": "candidate:1 1 udp", "sdpMLineIndex": 0}},
    },
    {
        "type": "ice-candidate",
        "room": "room123",
        "payload": {"target_peer_id": "p", "candidate": None},
        "negotiation": 2**63 - 1,
    },
    {"type": "ice-candidate", "room": "room123", "payload": {"target_peer_id": "p", "candidate": {}}},
    {"type": "ice-candidate", "room": "room123", "payload": {"target_peer_id": "p", "candidate": None}},
    {"type": "ice-candidate", "room": "room123", "payload": {"target_peer_id": "p", "candidate": ""}},
    {"type": "signal", "room": "room123", "payload": {"target_peer_id": "p", "data": {"renegotiate": True}}},
    {"type": "signal", "room": "room123", "payload": {"target_peer_id": "p", "data": None}},
    {"type": "ice-servers", "room": "room123", "payload": {}},
    {"type": "ice-servers", "room": "room123"},
    {"type": "report", "room": "room123", "payload": {"pair": "connected", "milliseconds": 0}},
    {"type": "report", "room": "room123", "payload": {"pair": "healed", "milliseconds": 2**53, "reason": None}},
    {"type": "report", "room": "room123", "payload": {"pair": "failed", "milliseconds": 9, "reason": "no-turn"}},
]
USER_MESSAGES: list[dict[str, Any]] = [
    {"type": "connect", "payload": {"user_id": "user123"}},
    {"type": "connect", "payload": {}},
    {"type": "connect"},
    {"type": "authenticate", "payload": {"token": "a.b.c"}},
    {"type": "ping", "payload": {"of": "mine"}},
    {"type": "join-room", "room": "room123", "payload": {}},
    {"type": "join-room", "room": "room123"},
    {"type": "leave-room", "room": "room123", "payload": {}},
    {"type": "leave-room", "room": "room123"},
    {"type": "message", "room": "room123", "payload": {"content": "hello"}},
    {"type": "message", "room": "room123", "payload": {"content": {"a": [None, False, 0, ""]}}},
    {"type": "message", "room": "room123", "payload": {"content": False}},
]
MODERATION: list[dict[str, Any]] = [
    {"type": "kick", "room": "room123", "payload": {"peer_id": "peer123"}},
    {"type": "kick", "room": "room123", "payload": {"user_id": "user123"}},
    {"type": "lock", "room": "room123"},
    {"type": "unlock", "room": "room123", "payload": {}},
    {"type": "close-room", "room": "room123"},
    {"type": "update", "room": "room123", "payload": {"metadata": {"muted": True}}},
    {"type": "list-bans", "room": "room123"},
    {"type": "unban", "room": "room123", "payload": {"peer_id": "peer123"}},
]
PEER_MESSAGES += MODERATION
USER_MESSAGES += MODERATION
VALID = [("peer", message) for message in PEER_MESSAGES] + [("user", message) for message in USER_MESSAGES]
CLASSES: dict[str, Any] = {
    member.__struct_config__.tag: member for member in (*get_args(wire.PeerRequest), *get_args(wire.UserRequest))
}

REPEATABLE = ["offer", "answer", "ice-candidate", "signal", "message", "kick", "lock", "unlock", "close-room"]
REPEATABLE += ["update", "list-bans", "unban"]
"""Types whose own text is passed on, or that a client may send again."""

every_valid_message = pytest.mark.parametrize(("endpoint", "message"), VALID)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def _text(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def _decode(endpoint: str, value: Any) -> Any:
    return ENDPOINTS[endpoint].decode(value if isinstance(value, bytes) else _text(value))


def _refusal(endpoint: str, value: Any) -> SignalingError:
    with pytest.raises(SignalingError) as caught:
        _decode(endpoint, value)
    return caught.value


def _join(metadata: bytes, decoder: Decoder[wire.PeerRequest] | None = None) -> wire.Join:
    frame = b'{"type": "join", "room": "r", "payload": {"peer_id": "p", "metadata": ' + metadata + b"}}"
    message = (decoder or ENDPOINTS["peer"]).decode(frame)
    assert isinstance(message, wire.Join)
    return message


def test_the_table_of_valid_messages_has_every_type() -> None:
    assert {message["type"] for _, message in VALID} == set(CLASSES)


@every_valid_message
def test_every_message_of_the_protocol_decodes(endpoint: str, message: dict[str, Any]) -> None:
    decoded = _decode(endpoint, message)
    assert type(decoded) is CLASSES[message["type"]]
    assert decoded.id is None
    assert getattr(decoded, "room", None) == message.get("room")


@every_valid_message
def test_every_message_may_carry_an_id(endpoint: str, message: dict[str, Any]) -> None:
    for request_id in (0, 7, -1, 2**53, 2**63 - 1, -(2**63), "", "x", "é" * 64):
        decoded = _decode(endpoint, {**message, "id": request_id})
        assert (type(decoded.id), decoded.id) == (type(request_id), request_id)


@every_valid_message
def test_an_id_of_null_is_none(endpoint: str, message: dict[str, Any]) -> None:
    assert _decode(endpoint, {**message, "id": None}).id is None


@every_valid_message
def test_payloads_may_carry_extra_fields(endpoint: str, message: dict[str, Any]) -> None:
    payload = {
        "extra": {"deep": [1, None]},
        "sender": "me",
        "type": "x",
        "room": 1,
        "": 0,
        **message.get("payload", {}),
    }
    decoded = _decode(endpoint, {**message, "payload": payload})
    assert type(decoded) is CLASSES[message["type"]]
    known = set(decoded.payload.__struct_fields__)
    assert known.isdisjoint({"extra", "sender", "type", "room", ""})


@every_valid_message
def test_the_order_of_fields_and_white_space_do_not_matter(endpoint: str, message: dict[str, Any]) -> None:
    turned = dict(reversed(message.items()))
    frame = b" \t\r\n" + json.dumps(turned, indent=3).encode() + b"\n "
    assert type(_decode(endpoint, frame)) is CLASSES[message["type"]]


@every_valid_message
def test_the_other_endpoint_does_not_know_the_message(endpoint: str, message: dict[str, Any]) -> None:
    if message in MODERATION or message["type"] in ("authenticate", "ping"):
        return  # the messages of both
    error = _refusal("user" if endpoint == "peer" else "peer", message)
    assert error.code is ErrorCode.BAD_MESSAGE
    assert error.details == {"field": "type"}


def test_a_join_is_decoded() -> None:
    payload = {"peer_id": "péer", "metadata": {"name": "Ana", "n": [1, 2.5, None]}, "resume": "t"}
    message = _decode("peer", {"type": "join", "room": "r", "payload": payload})
    assert message.payload == wire.JoinPayload(PeerId("péer"), {"name": "Ana", "n": [1, 2.5, None]}, resume="t")


def test_an_access_token_is_decoded_and_never_shown() -> None:
    message = _decode("peer", {"type": "authenticate", "payload": {"token": "a.b.c"}})
    assert message.payload.token == "a.b.c"  # noqa: S105
    assert "a.b.c" not in repr(message)


def test_a_signal_names_its_target() -> None:
    for message in PEER_MESSAGES:
        if message not in MODERATION and message["type"] not in {
            "authenticate",
            "ping",
            "join",
            "leave",
            "ice-servers",
            "report",
        }:
            assert _decode("peer", message).payload.target_peer_id == "p"


@pytest.mark.parametrize("kind", ["answer", "ice-candidate"])
def test_an_answer_and_a_candidate_may_name_the_offer_they_belong_to(kind: str) -> None:
    endpoint, message = _named(kind)
    for number in (1, 7, 2**63 - 1, None):
        assert _decode(endpoint, {**message, "negotiation": number}).negotiation == number
    assert _decode(endpoint, message).negotiation is None


@pytest.mark.parametrize("kind", REPEATABLE)
def test_a_repeatable_request_may_be_sent_again(kind: str) -> None:
    endpoint, message = _named(kind)
    assert [_decode(endpoint, {**message, "again": again}).again for again in (True, False)] == [True, False]
    assert _decode(endpoint, message).again is False


@pytest.mark.parametrize("kind", sorted({*CLASSES} - {*REPEATABLE}))
def test_other_requests_may_not_be_sent_again(kind: str) -> None:
    endpoint, message = _named(kind)
    assert _refusal(endpoint, {**message, "again": True}).details == {"field": "again"}


def test_an_offer_has_no_number_of_its_own_and_a_signal_never_one() -> None:
    for kind, number in (("offer", 0), ("signal", None)):
        endpoint, message = _named(kind)
        assert _decode(endpoint, message).negotiation == number
        payload = {**message["payload"], "negotiation": 7}
        assert _decode(endpoint, {**message, "payload": payload}).negotiation == number


OPTIONAL = {
    **{kind: ["id"] for kind in CLASSES},
    **{kind: ["id", "again"] for kind in REPEATABLE},
    **{kind: ["id", "payload"] for kind in ("leave", "join-room", "leave-room")},
    **{kind: ["id", "again", "payload"] for kind in ("lock", "unlock", "close-room")},
    "join": ["id", "payload", *(f"payload.{name}" for name in ("metadata", "resume", "received", "at", "presence"))],
    "connect": ["id", "payload", "room", *(f"payload.{name}" for name in ("user_id", "resume", "received", "at"))],
    "authenticate": ["id", "room"],
    "offer": ["id", "again", "payload.offer.type"],
    "answer": ["id", "again", "payload.answer.type", "negotiation"],
    "ice-candidate": ["id", "again", "negotiation"],
}
"""The fields that may be left out, of each type. Those of `join` are without `peer_id`, which a token may replace."""


@pytest.mark.parametrize(("kind", "path"), [(kind, path) for kind, paths in OPTIONAL.items() for path in paths])
def test_null_means_the_same_as_leaving_a_field_out(kind: str, path: str) -> None:
    endpoint, message = _named(kind)
    names = path.split(".")
    left_out, null = _with(message, None, *names), _with(message, None, *names)
    inner = left_out
    for name in names[:-1]:
        inner = inner[name]
    del inner[names[-1]]
    with_null, without = _decode(endpoint, null), _decode(endpoint, left_out)
    for name in names[:-1]:
        with_null, without = getattr(with_null, name), getattr(without, name)
    assert not getattr(with_null, names[-1])
    assert not getattr(without, names[-1])


def test_null_in_place_of_an_id_or_an_offset_means_the_same_as_leaving_it_out() -> None:
    join = _decode("peer", {"type": "join", "room": "r", "payload": {"peer_id": None, "at": {"r": None, "s": "1-0"}}})
    assert (join.given.peer_id, join.given.offsets) == (None, {"s": "1-0"})
    for endpoint in ENDPOINTS:
        kick = _decode(endpoint, {"type": "kick", "room": "r", "payload": {"peer_id": "p", "user_id": None}})
        assert (kick.payload.peer_id, kick.payload.user_id) == ("p", None)


def test_a_payload_that_is_left_out_counts_as_empty() -> None:
    payloads: list[dict[str, Any]] = [{}, {"payload": None}, {"payload": {}}]
    for payload in payloads:
        assert _decode("peer", {"type": "join", "room": "r", **payload}).given == wire.JoinPayload()
        assert _decode("user", {"type": "connect", **payload}).given == wire.ConnectPayload()


def _without(message: dict[str, Any], *path: str) -> dict[str, Any]:
    message = copy.deepcopy(message)
    inner = message
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    return message


def _with(message: dict[str, Any], value: object, *path: str) -> dict[str, Any]:
    message = copy.deepcopy(message)
    inner = message
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return message


def _named(kind: str) -> tuple[str, dict[str, Any]]:
    return next((endpoint, message) for endpoint, message in VALID if message["type"] == kind)


REQUIRED = [
    ("join", "room"),
    ("leave", "room"),
    ("offer", "room"), ("offer", "payload"), ("offer", "payload.target_peer_id"), ("offer", "payload.offer"),
    ("offer", "payload.offer.sdp"),
    ("answer", "room"), ("answer", "payload"), ("answer", "payload.target_peer_id"), ("answer", "payload.answer"),
    ("answer", "payload.answer.sdp"),
    ("ice-candidate", "room"), ("ice-candidate", "payload"), ("ice-candidate", "payload.target_peer_id"),
    ("ice-candidate", "payload.candidate"),
    ("signal", "room"), ("signal", "payload"), ("signal", "payload.target_peer_id"), ("signal", "payload.data"),
    ("ice-servers", "room"),
    ("report", "room"), ("report", "payload"), ("report", "payload.pair"), ("report", "payload.milliseconds"),
    ("authenticate", "payload"), ("authenticate", "payload.token"),
    ("join-room", "room"), ("leave-room", "room"),
    ("kick", "room"), ("kick", "payload"), ("lock", "room"), ("unlock", "room"), ("close-room", "room"),
    ("update", "room"), ("update", "payload"), ("update", "payload.metadata"),
    ("list-bans", "room"), ("unban", "room"), ("unban", "payload"),
    ("message", "room"), ("message", "payload"), ("message", "payload.content"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "field"), [*REQUIRED, *((kind, "type") for kind in CLASSES)])
def test_a_missing_field_is_named(kind: str, field: str) -> None:
    endpoint, message = _named(kind)
    error = _refusal(endpoint, _without(message, *field.split(".")))
    assert error.code is ErrorCode.BAD_MESSAGE
    assert error.details == {"field": field}
    assert str(error) == f"`{field}` is missing."


NOT_TEXT: list[object] = [5, None, True, 1.5, [], {}]
NOT_AN_OBJECT: list[object] = [5, True, "x", []]
PAYLOAD_OPTIONAL = {"join", "leave", "connect", "join-room", "leave-room", "lock", "unlock", "close-room", "list-bans"}
PAYLOAD_OPTIONAL |= {"ice-servers"}
NOT_A_NUMBER: list[object] = [True, False, 0, -1, 1.5, "1", [], {}, 2**63]
WRONG: list[tuple[str, str, list[Any]]] = [
    *((kind, "type", [*NOT_TEXT, "nonsense", "", kind.upper(), "joined"]) for kind in CLASSES),
    *((kind, "room", NOT_TEXT) for kind in CLASSES if kind not in ("authenticate", "connect")),
    *((kind, "payload", NOT_AN_OBJECT) for kind in CLASSES),
    *((kind, "payload", [None]) for kind in CLASSES if kind not in PAYLOAD_OPTIONAL),
    *((kind, "id", [True, False, 1.5, [], {}, "x" * 65]) for kind in CLASSES),
    ("join", "room", ["", " r", "r ", "r\n", "r" * 129, "\u200b"]),
    ("join", "payload.peer_id", [5, True, 1.5, [], {}, "", " p", "p ", "p\x00", "p" * 129]),
    ("join", "payload.metadata", NOT_AN_OBJECT),
    ("join", "payload.resume", [5, True, [], {}]),
    *((kind, "payload.target_peer_id", NOT_TEXT) for kind in ("offer", "answer", "ice-candidate", "signal")),
    ("offer", "payload.offer", [*NOT_AN_OBJECT, None]),
    ("offer", "payload.offer.sdp", NOT_TEXT),
    ("offer", "payload.offer.type", [5, True, 1.5, [], {}, "answer", "pranswer", "rollback", ""]),
    ("answer", "payload.answer", [*NOT_AN_OBJECT, None]),
    ("answer", "payload.answer.sdp", NOT_TEXT),
    ("answer", "payload.answer.type", [5, True, 1.5, [], {}, "offer", "rollback", ""]),
    ("ice-candidate", "payload.candidate", ["x", " ", 5, True, False, 1.5, []]),
    *((kind, "negotiation", NOT_A_NUMBER) for kind in ("answer", "ice-candidate")),
    *((kind, "negotiation", [*NOT_A_NUMBER, 1, None]) for kind in ("join", "leave", "offer", "signal")),
    *((kind, "payload.resume", [5, True, 1.5, [], {}]) for kind in ("join", "connect")),
    *((kind, "payload.received", [True, "1", -1, 1.5, 2**53 + 1, [], {}]) for kind in ("join", "connect")),
    ("join", "payload.presence", [0, 1, "true", [], {}]),
    ("connect", "payload.user_id", [5, True, 1.5, [], {}, "", " u", "u ", "u\n", "u" * 129]),
    ("authenticate", "payload.token", NOT_TEXT),
    ("join-room", "room", ["", " r", "r ", "r\n", "r" * 129]),
    ("message", "payload.content", [None]),
    ("report", "payload.pair", [*NOT_TEXT, "", "broken", "Failed"]),
    ("report", "payload.milliseconds", [True, None, -1, 1.5, "1", [], {}, 2**53 + 1]),
    ("report", "payload.reason", [5, True, 1.5, [], {}, "", "bad-luck", "no-turn"]),
]


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [(kind, field, value) for kind, field, values in WRONG for value in values],
)
def test_a_wrong_field_is_named(kind: str, field: str, value: object) -> None:
    endpoint, message = _named(kind)
    error = _refusal(endpoint, _with(message, value, *field.split(".")))
    assert error.code is ErrorCode.BAD_MESSAGE
    assert error.details == {"field": field}
    assert f"`{field}`" in str(error)


@pytest.mark.parametrize(
    ("kind", "field", "expected"),
    [
        ("leave", "payload", "an object"),
        ("join", "payload.metadata", "an object"),
        ("offer", "payload.offer", "an object with an `sdp` string and type offer"),
        ("offer", "payload.offer.type", "offer"),
        ("offer", "payload.offer.sdp", "a string"),
        ("answer", "payload.answer", "an object with an `sdp` string and type answer"),
        ("answer", "payload.answer.type", "answer or pranswer"),
        ("ice-candidate", "payload.candidate", 'a candidate object, or null or "" to end the candidates'),
        *((kind, "again", "true or false") for kind in REPEATABLE),
    ],
)
def test_an_error_says_what_a_field_must_be(kind: str, field: str, expected: str) -> None:
    endpoint, message = _named(kind)
    assert str(_refusal(endpoint, _with(message, 5, *field.split(".")))) == f"`{field}` must be {expected}."


@pytest.mark.parametrize("outcome", ["connected", "healed"])
@pytest.mark.parametrize("reason", PairFailure)
def test_only_a_failed_pair_has_a_reason(outcome: str, reason: str) -> None:
    report = {"type": "report", "room": "r", "payload": {"pair": outcome, "milliseconds": 1, "reason": reason}}
    error = _refusal("peer", report)
    assert error.details == {"field": "payload.reason"}
    assert str(error) == f"`payload.reason` is only for failed pairs; leave it out of one that is {outcome}."
    payload = _decode("peer", _with(report, "failed", "payload", "pair")).payload
    assert (payload.pair, payload.reason) == (PairOutcome.FAILED, PairFailure(reason))


@pytest.mark.parametrize("payload", [{"pair": "failed"}, {"pair": "failed", "reason": None}])
def test_a_failed_pair_must_have_a_reason(payload: dict[str, Any]) -> None:
    error = _refusal("peer", {"type": "report", "room": "r", "payload": {"milliseconds": 1, **payload}})
    assert error.details == {"field": "payload.reason"}
    assert str(error).startswith("`payload.reason` is missing: a failed pair has one of no-candidates, no-turn, ")


def test_a_report_with_an_unknown_word_is_told_the_known_ones() -> None:
    report = {"type": "report", "room": "r", "payload": {"pair": "broken", "milliseconds": 1}}
    assert str(_refusal("peer", report)) == "`payload.pair` must be one of: connected, healed, failed."
    report["payload"] = {"pair": "healed", "milliseconds": -1}
    assert str(_refusal("peer", report)) == "`payload.milliseconds` must be an integer, at least 0."
    report["payload"] = {"pair": "failed", "milliseconds": 1, "reason": "bad-luck"}
    assert str(_refusal("peer", report)).startswith("`payload.reason` must be one of: no-candidates, no-turn, ")


@pytest.mark.parametrize("kind", ["kick", "unban"])
@pytest.mark.parametrize("payload", [{}, {"peer_id": "p", "user_id": "u"}, {"name": "p"}])
def test_a_kick_or_unban_names_either_a_peer_or_a_user(kind: str, payload: dict[str, str]) -> None:
    for endpoint in ENDPOINTS:
        error = _refusal(endpoint, {"type": kind, "room": "r", "payload": payload})
        assert (error.code, error.details) == (ErrorCode.BAD_MESSAGE, {"field": "payload"})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("reason", ""),
        ("reason", "x" * 65),
        ("reason", "a\nb"),
        ("reason", 7),
        ("message", "x" * 501),
        ("message", ["x"]),
        ("ban_seconds", 0),
        ("ban_seconds", 2_592_001),
        ("ban_seconds", 1.5),
        ("ban_seconds", "60"),
    ],
)
def test_a_wrong_field_of_a_kick_or_close_is_named(field: str, value: object) -> None:
    kicked = _refusal("peer", {"type": "kick", "room": "r", "id": 1, "payload": {"peer_id": "p", field: value}})
    assert (kicked.code, kicked.details, kicked.id) == (ErrorCode.BAD_MESSAGE, {"field": f"payload.{field}"}, 1)
    if field != "ban_seconds":
        closed = _refusal("user", {"type": "close-room", "room": "r", "payload": {field: value}})
        assert closed.details == {"field": f"payload.{field}"}


@pytest.mark.parametrize("seconds", [1, 2_592_000])
def test_a_kick_may_have_a_reason_a_message_and_a_ban(seconds: int) -> None:
    payload = {"peer_id": "p", "reason": "x" * 64, "message": "Ä\n" * 250, "ban_seconds": seconds}
    kick = _decode("peer", {"type": "kick", "room": "r", "payload": payload})
    assert msgspec.to_builtins(kick.payload) == payload | {"user_id": None}
    for name in ("reason", "message", "ban_seconds"):
        assert _decode("user", {"type": "kick", "room": "r", "payload": {"user_id": "u", name: None}}) is not None


def test_only_an_id_that_somebody_could_join_under_can_be_banned() -> None:
    error = _refusal("peer", {"type": "kick", "room": "r", "payload": {"peer_id": "x" * 129, "ban_seconds": 1}})
    assert error.details == {"field": "payload.peer_id"}


def test_metadata_in_an_update_is_limited_as_in_a_join() -> None:
    for endpoint in ENDPOINTS:
        error = _refusal(endpoint, {"type": "update", "room": "r", "payload": {"metadata": {"a": "x" * 2000}}})
        assert (error.code, error.details["field"]) == (ErrorCode.MESSAGE_TOO_BIG, "payload.metadata")
        nested: object = 0
        for _ in range(40):
            nested = [nested]
        error = _refusal(endpoint, {"type": "update", "room": "r", "payload": {"metadata": {"a": nested}}})
        assert (error.code, error.details) == (ErrorCode.BAD_MESSAGE, {"field": "payload.metadata"})


@pytest.mark.parametrize("name", ["sender", "extra", "Room", "", "payload ", "пole", "a\nb", 'a"b'])
def test_an_unknown_top_level_field_is_named(name: str) -> None:
    for endpoint, message in VALID:
        error = _refusal(endpoint, {**message, name: None})
        assert error.details == {"field": name}
        assert "is not a field of this message" in str(error)


def test_connect_is_about_no_room() -> None:
    error = _refusal("user", {"type": "connect", "room": "r", "payload": {"user_id": "u"}})
    assert error.details == {"field": "room"}


@pytest.mark.parametrize("spelling", [rb"s\u0065nder", rb"\u0073\u0065\u006e\u0064\u0065\u0072"])
def test_a_sender_under_another_spelling_is_refused(spelling: bytes) -> None:
    error = _refusal("peer", b'{"type": "leave", "room": "r", "' + spelling + b'": "victim"}')
    assert error.details == {"field": "sender"}


def test_a_long_field_name_is_cut_in_the_answer() -> None:
    error = _refusal("peer", {"type": "leave", "room": "r", "x" * 5000: 1})
    assert error.details == {"field": "x" * 63 + "…"}
    assert len(str(error)) < 200


@pytest.mark.parametrize("value", [[], "join", 5, None, True, 1.5])
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_message_that_is_no_object_is_refused(endpoint: str, value: object) -> None:
    error = _refusal(endpoint, value)
    assert (error.code, str(error)) == (ErrorCode.BAD_MESSAGE, "The message must be a JSON object.")
    assert error.details == {}


NOT_JSON = [
    b"", b" ", b"{", b"}", b'{"type"', b"nul", b"{'type': 'leave'}", b'{"type": "leave", "room": "r",}',
    b'{"type": "leave", "room": "r"} x', b'{"type": "leave", "room": "r"}{}',
    b'\xef\xbb\xbf\xef\xbb\xbf{"type": "leave", "room": "r"}',
    b'{"type": "leave", "room": "r" // no\n}',
    b'\x00{"type": "leave", "room": "r"}', b'\x0b{"type": "leave", "room": "r"}',
]  # fmt: skip


@pytest.mark.parametrize("frame", NOT_JSON)
def test_a_message_that_is_not_json_is_refused(frame: bytes) -> None:
    error = _refusal("peer", frame)
    assert error.code is ErrorCode.BAD_MESSAGE
    assert str(error).startswith("The message is not JSON")


BROKEN_VALUES = [
    b"NaN", b"Infinity", b"-Infinity", b"01", b"+1", b"1.", b".5", b"0x1", b"1e", b"-", b"undefined", b"'x'", b"[1,]",
    b'{"a":}', b'{"a" 1}', b"{1: 2}", b'"\x01"', b'"\n"', b'"\t"', rb'"\x41"', rb'"\u12"', rb'"\u00zz"', b'"open',
    rb'"\ud800\u00"', rb'"\ud80"', b"tru", b"nulll",
]  # fmt: skip

PLACES = {
    "data": b'{"type": "signal", "room": "r", "payload": {"target_peer_id": "p", "data": %b}}',
    "extra of a payload": b'{"type": "signal", "room": "r", "payload": {"target_peer_id": "p", "data": 1, "x": %b}}',
    "extra of an offer": b'{"type": "offer", "room": "r", "payload":{"target_peer_id":"p","offer": {"sdp":"","x":%b}}}',
    "candidate": b'{"type": "ice-candidate", "room": "r", "payload": {"target_peer_id": "p", "candidate": {"x": %b}}}',
    "metadata": b'{"type": "join", "room": "r", "payload": {"peer_id": "p", "metadata": {"x": %b}}}',
    "extra of an empty payload": b'{"type": "leave", "room": "r", "payload": {"x": %b}}',
}


@pytest.mark.parametrize("value", BROKEN_VALUES)
def test_relayed_content_must_be_json(value: bytes) -> None:
    for place in PLACES.values():
        assert _refusal("peer", place % value).code is ErrorCode.BAD_MESSAGE


@pytest.mark.parametrize("place", PLACES)
def test_surrogate_pairs_and_escapes_pass(place: str) -> None:
    _decode("peer", PLACES[place] % rb'"\ud83d\ude00 \u0000 \n \/ \\ \""')


HALVES = [rb'"\ud83d"', rb'"\uDE00 "', rb'"\ud800\u0041"', rb'"\udc00\ud800"', rb'"\ud83d\ud83d\ude00"', rb'"\\\ud83d"']
"""Strings with halves of surrogate pairs, as JavaScript's `slice()` makes and most serializers write them."""


@pytest.mark.parametrize("value", HALVES)
@pytest.mark.parametrize("place", [place for place in PLACES if place != "metadata"])
def test_halves_of_surrogate_pairs_are_relayed_as_they_are(place: str, value: bytes) -> None:
    frame = PLACES[place] % value
    _decode("peer", frame)
    assert value in relayed(sender_stamp("ana"), frame).frame


@pytest.mark.parametrize("value", HALVES)
def test_halves_of_surrogate_pairs_in_metadata_become_replacement_characters(value: bytes) -> None:
    expected = "".join("\ufffd" if "\ud800" <= one <= "\udfff" else one for one in json.loads(value))
    assert _join(b'{"x": %b, %b: 1}' % (value, value)).given.metadata == {"x": expected, expected: 1}


@pytest.mark.parametrize(
    ("field", "frame"),
    [
        ("id", rb'{"type": "leave", "room": "r", "id": "\ud83d"}'),
        ("room", rb'{"type": "leave", "room": "r\ude00", "id": 7}'),
        ("payload.peer_id", rb'{"type": "join", "room": "r", "payload": {"peer_id": "\ud83d"}, "id": 7}'),
        ("payload.peer_id", rb'{"type": "kick", "room": "r", "payload": {"peer_id": "\ud83d"}, "id": 7}'),
        ("payload.user_id", rb'{"type": "kick", "room": "r", "payload": {"user_id": "\ud83d"}, "id": 7}'),
        (
            "payload.target_peer_id",
            rb'{"type": "signal", "room": "r", "payload": {"target_peer_id": "\ud83d", "data": 1}, "id": 7}',
        ),
    ],
)
def test_an_id_with_half_of_a_surrogate_pair_is_refused(field: str, frame: bytes) -> None:
    error = _refusal("peer", frame)
    assert error.details == {"field": field}
    assert str(error) == f"`{field}` has half of a surrogate pair; send whole characters."
    assert (error.room, error.id) == (None if field == "room" else "r", None if field == "id" else 7)


def test_a_replacement_character_in_an_id_is_no_half_of_a_surrogate_pair() -> None:
    frame = rb'{"type": "join", "room": "\ufffd", "payload": {"peer_id": "\uFFFD", "x": "\ud83d"}, "id": "\uFFfd"}'
    message = _decode("peer", frame)
    assert (message.room, message.given.peer_id, message.id) == ("\ufffd", "\ufffd", "\ufffd")


def test_a_byte_order_mark_is_ignored_and_not_relayed() -> None:
    frame = b'\xef\xbb\xbf{"type": "signal", "room": "r", "payload": {"target_peer_id": "p", "data": "\\ud83d"}}'
    assert type(_decode("peer", frame)) is wire.Signal
    assert relayed(sender_stamp("ana"), frame).frame == b'{"sender":"ana",' + frame[4:]


@pytest.mark.parametrize(
    ("number", "expected"),
    [(b"1.0", 1), (b"2e3", 2000), (b"-7.00", -7), (b"5E+0", 5), (b"9007199254740991.0", 2**53 - 1)],
)
def test_an_integer_may_be_written_as_a_float(number: bytes, expected: int) -> None:
    assert _decode("peer", b'{"type": "leave", "room": "r", "id": %b}' % number).id == expected
    answer = b'{"type":"answer","room":"r","payload":{"target_peer_id":"p","answer":{"sdp":""}},"negotiation":%b}'
    join = b'{"type":"join","room":"r","payload":{"peer_id":"p","received":%b},"id":%b}'
    if expected > 0:
        assert _decode("peer", answer % number).negotiation == expected
        assert _decode("peer", join % (number, number)).given.received == expected
    error = _refusal("peer", b'{"type": "nonsense", "room": "r", "id": %b}' % number)
    assert error.id == expected


@pytest.mark.parametrize("sdp", [b'"\x02"', b"null", b"1", b"{}", b'["v=0"]'])
def test_an_sdp_is_a_json_string(sdp: bytes) -> None:
    frame = b'{"type": "offer", "room": "r", "payload": {"target_peer_id": "p", "offer": {"sdp": %b}}}'
    assert _refusal("peer", frame % sdp).code is ErrorCode.BAD_MESSAGE


@pytest.mark.parametrize("space", [b"", b" ", b"\n\t\r "])
def test_white_space_around_an_sdp_does_not_matter(space: bytes) -> None:
    frame = b'{"type": "offer", "room": "r", "payload": {"target_peer_id": "p", "offer": {"sdp":%b"v=0"%b}}}'
    assert isinstance(_decode("peer", frame % (space, space)), wire.Offer)


@pytest.mark.parametrize("space", [b"", b" ", b"\n\t\r "])
def test_white_space_does_not_hide_a_content_of_null(space: bytes) -> None:
    error = _refusal("user", b'{"type": "message", "room": "r", "payload": {"content":%bnull%b}}' % (space, space))
    assert error.details == {"field": "payload.content"}


def test_the_last_of_repeated_fields_counts_as_in_browsers() -> None:
    assert _decode("peer", b'{"type": "leave", "room": "a", "room": "b"}').room == "b"
    frame = b'{"type": "signal", "room": "r", "payload": {"target_peer_id": "a", "data": 1, "target_peer_id": "b"}}'
    assert _decode("peer", frame).payload.target_peer_id == "b"
    assert _join(b'{"a": 1, "a": 2}').given.metadata == {"a": 2}


def test_a_message_has_one_type() -> None:
    error = _refusal("peer", b'{"type": "leave", "type": "join", "room": "r"}')
    assert error.details == {"field": "type"}


def test_every_repeated_payload_is_checked() -> None:
    frame = b'{"type": "join", "room": "r", "payload": {"peer_id": 5}, "payload": {"peer_id": "p"}}'
    assert _refusal("peer", frame).details == {"field": "payload.peer_id"}


@pytest.mark.parametrize("request_id", [0, 7, -1, 2**63 - 1, -(2**63), "", "x" * 64])
def test_an_error_echoes_room_and_id(request_id: int | str) -> None:
    error = _refusal("peer", {"type": "nonsense", "room": "room123", "id": request_id})
    assert (error.room, error.id) == ("room123", request_id)


@pytest.mark.parametrize("request_id", ["x" * 65, 2**63, -(2**63) - 1, True, 1.5, None, [], {}])
def test_an_invalid_id_is_not_echoed(request_id: object) -> None:
    error = _refusal("peer", {"type": "nonsense", "room": "room123", "id": request_id})
    assert (error.room, error.id) == ("room123", None)


@pytest.mark.parametrize("room", ["", " r", "r\n", "r" * 129, 5, None, [], {}])
def test_an_invalid_room_is_not_echoed(room: object) -> None:
    error = _refusal("peer", {"type": "nonsense", "room": room, "id": 7})
    assert (error.room, error.id) == (None, 7)


@pytest.mark.parametrize(
    "frame",
    [b"[]", b"5", b"null", b"{}", b"", b"{", b'{"id', b'{"id": 7x, "room": r}', b'[{"id": 7, "room": "r"}', b'"id": 7'],
)
def test_an_error_about_a_text_without_a_request_echoes_nothing(frame: bytes) -> None:
    error = _refusal("peer", frame)
    assert (error.room, error.id) == (None, None)


def test_errors_of_later_checks_echo_the_request() -> None:
    error = _refusal("user", {"type": "message", "room": "r", "id": 7, "payload": {"content": None}})
    assert (error.room, error.id) == ("r", 7)


@pytest.mark.parametrize("digits", [20, 4299, 4301])
def test_an_integer_id_has_64_bits(digits: int) -> None:
    frame = b'{"type": "leave", "room": "r", "id": ' + b"9" * digits + b"}"
    assert _refusal("peer", frame).details == {"field": "id"}


BRACKETS = {"arrays": (b"[" * DEEP, b"]" * DEEP), "objects": (b'{"a":' * DEEP, b"}" * DEEP)}
DEEP_PLACES = {
    **PLACES,
    "the message": b"%b",
    "id": b'{"type": "leave", "room": "r", "id": %b}',
    "room": b'{"type": "leave", "room": %b}',
    "type": b'{"type": %b, "room": "r"}',
    "payload": b'{"type": "leave", "room": "r", "payload": %b}',
    "an unknown field": b'{"type": "leave", "room": "r", "x": %b}',
    "the field before the type": b'{"payload": {"x": %b}, "type": "leave", "room": "r"}',
    "peer id": b'{"type": "join", "room": "r", "payload": {"peer_id": %b}}',
}


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "open"])
@pytest.mark.parametrize("shape", BRACKETS)
@pytest.mark.parametrize("place", DEEP_PLACES)
def test_deep_nesting_is_refused_everywhere(place: str, shape: str, closed: bool) -> None:
    opening, closing = BRACKETS[shape]
    value = opening + (b"1" + closing if closed else b"")
    with pytest.raises(BadMessage):
        peer_decoder(HUGE).decode(DEEP_PLACES[place] % value)


def test_deep_content_of_users_is_refused_too() -> None:
    value = b"[" * DEEP + b"]" * DEEP
    with pytest.raises(BadMessage):
        user_decoder(HUGE).decode(b'{"type": "message", "room": "r", "payload": {"content": %b}}' % value)


@pytest.mark.parametrize("depth", [1, 10, 100, 300])
def test_usual_nesting_is_accepted(depth: int) -> None:
    for place, template in PLACES.items():
        if "metadata" not in place:
            _decode("peer", template % (b"[" * depth + b"]" * depth))


def test_a_frame_that_is_not_utf8_is_refused_with_an_error_of_the_protocol() -> None:
    assert _refusal("peer", b'{"type":"leave","room":"\xff"}').code is ErrorCode.BAD_MESSAGE


@pytest.mark.parametrize(("extra", "accepted"), [(-1, True), (0, True), (1, False), (10_000, False)])
def test_a_frame_may_have_as_many_bytes_as_the_limit(extra: int, accepted: bool) -> None:
    frame = _text({"type": "leave", "room": "r", "id": 7})
    decoder = peer_decoder(Limits(message_bytes=100, metadata_bytes=10, id_length=10))
    frame += b" " * (100 + extra - len(frame))
    if accepted:
        assert decoder.decode(frame).id == 7
        return
    with pytest.raises(MessageTooBig) as caught:
        decoder.decode(frame)
    assert caught.value.details == {"limit": 100}
    assert (caught.value.room, caught.value.id) == ("r", 7)
    assert str(len(frame)) in str(caught.value)


@pytest.mark.parametrize(("extra", "accepted"), [(-1, True), (0, True), (1, False), (500, False)])
@pytest.mark.parametrize("character", ["a", "é", "😀", "/"])
def test_metadata_may_have_as_many_bytes_of_utf8_as_the_limit(character: str, extra: int, accepted: bool) -> None:
    width = len(character.encode())
    value = character * 20
    limit = len('{"a":""}') + 20 * width - extra
    decoder = peer_decoder(Limits(message_bytes=10_000, metadata_bytes=limit, id_length=10))
    metadata = b'{ "a"  : ' + _text(value) + b" }"  # white space is not counted
    if accepted:
        assert _join(metadata, decoder).given.metadata == {"a": value}
        return
    with pytest.raises(MessageTooBig) as caught:
        _join(metadata, decoder)
    assert caught.value.details == {"field": "payload.metadata", "limit": limit}
    assert caught.value.room == "r"


@pytest.mark.parametrize(("length", "accepted"), [(4, True), (5, True), (6, False)])
def test_ids_of_members_have_the_length_that_was_set(length: int, accepted: bool) -> None:
    limits = Limits(message_bytes=1000, metadata_bytes=10, id_length=5)
    name = "é" * length
    frames: list[tuple[Decoder[Any], dict[str, Any], str]] = [
        (peer_decoder(limits), {"type": "join", "room": name, "payload": {"peer_id": "p"}}, "room"),
        (peer_decoder(limits), {"type": "join", "room": "r", "payload": {"peer_id": name}}, "payload.peer_id"),
        (user_decoder(limits), {"type": "join-room", "room": name}, "room"),
        (user_decoder(limits), {"type": "connect", "payload": {"user_id": name}}, "payload.user_id"),
    ]
    for decoder, value, field in frames:
        if accepted:
            decoder.decode(_text(value))
            continue
        with pytest.raises(BadMessage) as caught:
            decoder.decode(_text(value))
        assert caught.value.details == {"field": field}


def _check_outcome(endpoint: str, frame: bytes) -> Any:
    """Decode; whatever is raised must be an error that can be written, and that is short."""
    try:
        message = ENDPOINTS[endpoint].decode(frame)
    except SignalingError as error:
        said = json.loads(encode(error_message(error)))
        assert said["payload"]["code"] in {"bad-message", "message-too-big"}
        assert 0 < len(said["payload"]["message"]) < 300
        assert "room" not in said or id_problem(said["room"], LIMITS.id_length) is None
        return None
    assert isinstance(message, get_args(wire.PeerRequest if endpoint == "peer" else wire.UserRequest))
    assert json.loads(relayed(sender_stamp("someone"), frame).frame) == {"sender": "someone", **json.loads(frame)}
    return message


endpoints = st.sampled_from(sorted(ENDPOINTS))
valid_messages = st.sampled_from(VALID)


@given(endpoints, st.text())
def test_arbitrary_text_is_refused_with_an_error_of_the_protocol(endpoint: str, text: str) -> None:
    assert _check_outcome(endpoint, text.encode()) is None


@given(endpoints, st.text(st.sampled_from('{}[]",:\\ \n0e-.tfn\x00é')))
def test_almost_json_is_refused_with_an_error_of_the_protocol(endpoint: str, text: str) -> None:
    assert _check_outcome(endpoint, text.encode()) is None


@given(endpoints, json_values)
def test_arbitrary_json_is_refused_with_an_error_of_the_protocol(endpoint: str, value: Any) -> None:
    assert _check_outcome(endpoint, _text(value)) is None


@given(endpoints, st.dictionaries(st.sampled_from(["type", "room", "payload", "id", "sender"]), json_values))
def test_arbitrary_envelopes_are_messages_or_errors(endpoint: str, value: Any) -> None:
    _check_outcome(endpoint, _text(value))


@st.composite
def mutated_messages(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """A valid message in which fields were removed, replaced and added, at any depth."""
    endpoint, message = draw(valid_messages)
    message = copy.deepcopy(message)
    for _ in range(draw(st.integers(1, 3))):
        inner = message
        while True:
            objects = [value for value in inner.values() if isinstance(value, dict)]
            if not objects or draw(st.booleans()):
                break
            inner = draw(st.sampled_from(objects))
        names = st.sampled_from(sorted(inner)) if inner else st.nothing()
        match draw(st.sampled_from(["remove", "replace", "add"])):
            case "remove" if inner:
                del inner[draw(names)]
            case "replace" if inner:
                inner[draw(names)] = draw(json_values)
            case _:
                inner[draw(st.sampled_from(["id", "sender", "metadata", "resume"]) | st.text())] = draw(json_values)
    return endpoint, message


@given(mutated_messages())
def test_messages_with_other_fields_are_messages_or_errors(mutated: tuple[str, dict[str, Any]]) -> None:
    endpoint, message = mutated
    _check_outcome(endpoint, _text(message))


@given(valid_messages, st.data())
def test_messages_with_other_characters_are_messages_or_errors(
    valid: tuple[str, dict[str, Any]], data: st.DataObject
) -> None:
    endpoint, message = valid
    text = json.dumps(message)
    at = data.draw(st.integers(0, len(text)))
    to = data.draw(st.integers(at, min(len(text), at + 5)))
    put = data.draw(
        st.text(max_size=3) | st.sampled_from(['"', "{", "}", "[", "\\", "\\ud800", ',"room":', "null", " "])
    )
    _check_outcome(endpoint, (text[:at] + put + text[to:]).encode())


@given(st.text(), st.text())
def test_a_join_is_accepted_exactly_if_its_ids_are_well_formed(room: str, peer: str) -> None:
    message = _check_outcome("peer", _text({"type": "join", "room": room, "payload": {"peer_id": peer}}))
    assert (message is not None) == (id_problem(room, 128) is None and id_problem(peer, 128) is None)


member_ids = st.text(min_size=1, max_size=128).filter(lambda text: id_problem(text, 128) is None)


@given(member_ids, valid_messages, json_values, st.text(st.sampled_from(" \t\r\n"), max_size=4), st.booleans())
def test_a_stamped_frame_is_the_original_plus_the_sender(
    sender: str, valid: tuple[str, dict[str, Any]], extra: Any, space: str, escape: bool
) -> None:
    endpoint, message = valid
    message = {**message, "payload": {**message.get("payload", {}), "extra": extra}}
    body = json.dumps(message, ensure_ascii=escape).encode()
    frame = space.encode() + body + space.encode()
    _decode(endpoint, frame)
    stamped = relayed(sender_stamp(sender), frame).frame
    assert json.loads(stamped) == {"sender": sender, **message}
    assert stamped.startswith(b'{"sender":')
    assert stamped.endswith(b"," + body[1:] + space.encode())


def test_a_stamped_frame_has_the_sender_once() -> None:
    stamped = relayed(sender_stamp("me"), b' {"type":"leave","room":"r"}').frame
    assert stamped == b'{"sender":"me","type":"leave","room":"r"}'


def test_an_offer_is_stamped_with_its_number_too() -> None:
    endpoint, message = _named("offer")
    frame = _text(message)
    _decode(endpoint, frame)
    stamped = relayed(sender_stamp('m"e'), frame, negotiation=2**63).frame
    assert stamped == b'{"sender":"m\\"e","negotiation":9223372036854775808,' + frame[1:]


@pytest.mark.parametrize("sender", ['"', "\\", '","sender":"victim', "</script>", "é", "👍🏽", "{", "a/b"])
def test_no_member_id_breaks_out_of_the_stamp(sender: str) -> None:
    said = json.loads(relayed(sender_stamp(sender), b'{"type":"leave","room":"r"}').frame, object_pairs_hook=list)
    assert said == [("sender", sender), ("type", "leave"), ("room", "r")]


ROOM = RoomId("room123")
PEER = wire.PeerEntry(PeerId('pe"er'), {"name": "Ána", "tags": [1, 2.5, None, True], "deep": {"a": {}}}, 3)
AWAY = wire.PeerEntry(PeerId("away"), {}, 1, away=True)
USER = wire.UserEntry(UserId("user/123"))
SERVER_MESSAGES: list[wire.ServerMessage] = [
    wire.Authenticated(payload=wire.AuthenticatedPayload("ana", ["signal"], 60, ["team-*"])),
    wire.Authenticated(payload=wire.AuthenticatedPayload("ana", [], 60)),
    wire.TokenExpiring(payload=wire.TokenExpiringPayload(60)),
    wire.Pong(),
    wire.Joined(room=ROOM, payload=wire.JoinedPayload(PEER.peer_id, 3, [PEER], [{"urls": ["stun:a:1"]}])),
    wire.Joined(room=ROOM, payload=wire.JoinedPayload(PEER.peer_id, 3, [AWAY], [], "token", resumed=False)),
    wire.Joined(room=ROOM, payload=wire.JoinedPayload(PEER.peer_id, 3, [], [], "token", resumed=True, complete=False)),
    wire.Joined(room=ROOM, payload=wire.JoinedPayload(PEER.peer_id, 3, [], [], ice_servers_expire_in=60)),
    wire.IceServers(room=ROOM, payload=wire.IceServersPayload([{"urls": ["turn:a:1"], "credential": "+/="}], 60)),
    wire.IceServers(room=ROOM, payload=wire.IceServersPayload([])),
    wire.Left(room=ROOM, payload=wire.LeftPayload(PEER.peer_id)),
    wire.PeerJoined(room=ROOM, payload=PEER),
    wire.PeerLeft(room=ROOM, payload=wire.PeerLeftPayload(PEER.peer_id, LeaveReason.DISCONNECTED)),
    wire.PeerAway(room=ROOM, payload=wire.LeftPayload(PEER.peer_id)),
    wire.PeerBack(room=ROOM, payload=wire.LeftPayload(PEER.peer_id)),
    wire.Connected(payload=wire.ConnectedPayload(USER.user_id, wire.ServerInfo("mcp_actors", "1"))),
    wire.Connected(
        payload=wire.ConnectedPayload(
            USER.user_id, wire.ServerInfo("mcp_actors", "1"), "token", resumed=True, complete=True
        )
    ),
    wire.RoomJoined(room=ROOM, payload=wire.RoomJoinedPayload([USER], [PEER])),
    wire.RoomLeft(room=ROOM, payload=USER),
    wire.UserJoined(room=ROOM, payload=USER),
    wire.UserLeft(room=ROOM, payload=wire.UserLeftPayload(USER.user_id, LeaveReason.TIMEOUT)),
    wire.Kicked(room=ROOM, payload=wire.KickedPayload(peer_id=PEER.peer_id)),
    wire.Kicked(room=ROOM, payload=wire.KickedPayload(user_id=USER.user_id)),
    wire.RoomLocked(room=ROOM),
    wire.RoomUnlocked(room=ROOM),
    wire.Kicked(
        room=ROOM,
        payload=wire.KickedPayload(user_id=USER.user_id, reason="r", message="Ä\n", ban_seconds=7, absent=True),
    ),
    wire.RoomClosed(room=ROOM),
    wire.RoomClosed(room=ROOM, payload=wire.RoomClosedPayload(message="Over.")),
    wire.Announcement(room=ROOM, payload=wire.AnnouncementPayload({"text": ["Ä\n", 1, None, True, 0.5]})),
    wire.Updated(room=ROOM, payload=wire.UpdatedPayload(peer_id=PEER.peer_id, metadata={"a": [1]})),
    wire.PeerUpdated(room=ROOM, payload=wire.UpdatedPayload(peer_id=PEER.peer_id, metadata={})),
    wire.UserUpdated(room=ROOM, payload=wire.UpdatedPayload(user_id=USER.user_id, metadata={"ä": None})),
    wire.Bans(room=ROOM, payload=wire.BansPayload([wire.BanEntry(9, "mo", address=True, peer_id=PEER.peer_id)])),
    wire.Unbanned(room=ROOM, payload=wire.UnbannedPayload(user_id=USER.user_id)),
    wire.Joined(room=ROOM, payload=wire.JoinedPayload(PEER.peer_id, 3, [], [], locked=True)),
    wire.RoomJoined(room=ROOM, payload=wire.RoomJoinedPayload([USER], [], locked=True)),
    wire.Ack(room=ROOM, payload=wire.AckPayload("delivered")),
    wire.Ack(room=ROOM, payload=wire.AckPayload("delivered", 3)),
    wire.Ack(room=ROOM, payload=wire.AckPayload("queued")),
    wire.Ack(room=ROOM, payload=wire.AckPayload("counted")),
    wire.Reconnect(payload=wire.ReconnectPayload(0)),
    wire.Error(payload=wire.ErrorPayload(ErrorCode.INTERNAL, "no", retryable=True)),
    wire.Error(room=ROOM, payload=wire.ErrorPayload(ErrorCode.BAD_MESSAGE, "no", retryable=False, details={"a": 1})),
]

every_server_message = pytest.mark.parametrize("message", SERVER_MESSAGES, ids=lambda message: type(message).__name__)


def test_the_table_of_server_messages_has_every_class() -> None:
    assert {type(message) for message in SERVER_MESSAGES} == set(get_args(wire.ServerMessage))


@every_server_message
def test_every_server_message_survives_encoding(message: wire.ServerMessage) -> None:
    for request_id in (UNSET, 0, 7, 2**63, -(2**100), "", "é\n"):
        said = msgspec.structs.replace(message, id=request_id)
        text = encode(said)
        assert msgspec.json.decode(text, type=type(message)) == said
        assert msgspec.json.decode(text, type=wire.ServerMessage) == said
        assert json.loads(text)["type"] == type(message).__struct_config__.tag


@every_server_message
def test_an_id_that_was_not_given_is_absent(message: wire.ServerMessage) -> None:
    assert "id" not in json.loads(encode(message))
    assert json.loads(encode(msgspec.structs.replace(message, id=0)))["id"] == 0
    assert json.loads(encode(msgspec.structs.replace(message, id="")))["id"] == ""


def test_text_is_written_as_utf8_without_escaped_slashes() -> None:
    assert "Ána".encode() in encode(wire.PeerJoined(room=ROOM, payload=PEER))
    assert b"user/123" in encode(wire.UserJoined(room=ROOM, payload=USER))


@given(st.dictionaries(st.text(max_size=10), json_values, max_size=5))
def test_accepted_metadata_is_encoded_unchanged(metadata: dict[str, Any]) -> None:
    try:
        accepted = _join(_text(metadata)).given.metadata
    except MessageTooBig:
        return
    said = json.loads(encode(wire.PeerJoined(room=ROOM, payload=wire.PeerEntry(PeerId("p"), accepted or {}, 1))))
    assert said["payload"]["metadata"] == metadata


@pytest.mark.parametrize(
    "number", ["0", "-0.0", "1e308", "5e-324", "0.1", "1e22", "123456789.123456789", "18446744073709551616", "-1e-7"]
)
def test_numbers_in_metadata_are_encoded_unchanged(number: str) -> None:
    accepted = _join(b'{"n": ' + number.encode() + b"}").given.metadata
    said = json.loads(encode(wire.PeerJoined(room=ROOM, payload=wire.PeerEntry(PeerId("p"), accepted or {}, 1))))
    value, expected = said["payload"]["metadata"]["n"], json.loads(number)
    assert (value, math.copysign(1, value)) == (expected, math.copysign(1, expected))


@pytest.mark.parametrize("number", [b"1e309", b"-1e309", b"9" * 5000])
def test_numbers_out_of_range_are_refused_in_metadata(number: bytes) -> None:
    with pytest.raises(SignalingError):
        _join(b'{"n": ' + number + b"}")


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"":', b"}")])
def test_metadata_may_be_32_levels_deep(opening: bytes, closing: bytes) -> None:
    decoder = peer_decoder(Limits(message_bytes=65_536, metadata_bytes=65_536, id_length=128))
    join = b'{"type":"join","room":"r","payload":{"peer_id":"p","metadata":{"a":%b}}}'
    accepted = decoder.decode(join % (opening * 31 + b"1" + closing * 31))
    assert isinstance(accepted, wire.Join)
    entry = wire.PeerEntry(PeerId("p"), accepted.given.metadata or {}, 1)
    text = encode(wire.Joined(room=ROOM, payload=wire.JoinedPayload(PeerId("p"), 1, [entry], [])))
    assert opening * 31 in text
    for depth in (32, 900, 1000, 5000):
        with pytest.raises(BadMessage) as error:
            decoder.decode(join % (opening * depth + b"1" + closing * depth))
        assert error.value.details in ({"field": "payload.metadata"}, {})


def test_an_error_message_has_the_code_text_and_details() -> None:
    error = BadMessage("`room` is missing.", field="room").about(ROOM, 7)
    assert json.loads(encode(error_message(error))) == {
        "type": "error",
        "room": "room123",
        "id": 7,
        "payload": {
            "code": "bad-message",
            "message": "`room` is missing.",
            "retryable": False,
            "details": {"field": "room"},
        },
    }


@pytest.mark.parametrize("error", [Internal("no"), Unavailable("no"), BadMessage("no")])
def test_an_error_message_has_no_empty_fields(error: SignalingError) -> None:
    payload = {"code": error.code, "message": "no", "retryable": error.retryable}
    assert json.loads(encode(error_message(error))) == {"type": "error", "payload": payload}


@pytest.mark.parametrize("request_id", [0, "", -1, 2**70])
def test_an_id_that_is_falsy_or_huge_is_echoed_too(request_id: int | str) -> None:
    said = json.loads(encode(error_message(BadMessage("no").about(None, request_id))))
    assert said["id"] == request_id
    assert "room" not in said


@pytest.mark.parametrize("error_class", SignalingError.__subclasses__())
@given(message=st.text(), room=st.none() | member_ids, request_id=st.none() | st.integers() | st.text(max_size=64))
def test_every_error_is_encoded_as_an_error_message(
    error_class: type[SignalingError], message: str, room: str | None, request_id: int | str | None
) -> None:
    error = error_class(message, limit=5).about(None if room is None else RoomId(room), request_id)
    said = msgspec.json.decode(encode(error_message(error)), type=wire.Error)
    assert said.payload == wire.ErrorPayload(error.code, message, error.retryable, {"limit": 5})
    assert said.room == (UNSET if room is None else room)
    assert said.id == (UNSET if request_id is None else request_id)


def test_a_refusal_keeps_nothing_for_the_garbage_collector() -> None:
    frames = [b"x", b"{}", b'{"type":"leave"}', b'{"type":"leave","room":"\xff"}', b"[" * DEEP, b" " * 20_000]
    frames.append(b'{"type":"join","room":"r","payload":{"peer_id":" x"}}')
    gc.collect()
    gc.disable()
    try:
        for frame in frames:
            try:
                ENDPOINTS["peer"].decode(frame)
            except SignalingError:
                continue
            raise AssertionError(frame)
        assert gc.collect() == 0
    finally:
        gc.enable()


@pytest.mark.parametrize("frame", [b'{"type":"signal","x":[1, 2]}', b'{"sender":"\xc3\xa9","type":"x"}'])
def test_a_message_of_another_node_has_its_offset_in_front(frame: bytes) -> None:
    message = received(frame, b"1700-3.2@abcdefgh", RoomId("r"))
    assert message.frame == b'{"at":"1700-3.2@abcdefgh",' + frame[1:]
    assert received(frame, b"", RoomId("r")).frame == frame


def test_a_message_is_encoded_in_two_parts_that_make_one_json_object() -> None:
    message = wire.RoomLocked(room=ROOM)
    head, body = JSON.encode(message, b"")
    assert JSON.prefix(head, None) + body == encode(message)
    head, again = JSON.encode(message, b"1700-3.2@n")
    assert again == body
    said = json.loads(JSON.prefix(head, 7) + body, object_pairs_hook=list)
    assert said == [("delivery", 7), ("at", "1700-3.2@n"), ("type", "room-locked"), ("room", ROOM)]


def test_a_relayed_message_is_encoded_as_its_own_text_behind_its_stamp() -> None:
    frame = b'{"type":"signal","x":[1, 2]}'
    head, body = JSON.relay(relayed(sender_stamp("ana"), frame))
    assert (head, body) == (b'"sender":"ana",', frame[1:])
    assert JSON.prefix(head, 7) + body == b'{"delivery":7,"sender":"ana",' + frame[1:]
