"""The requests of clients of y-webrtc and trystero, and refusals."""

from __future__ import annotations

import json

import pytest

from mcp_actors.gateways.y_webrtc.requests import Decoder, Ping, Post, Publish, Request, Subscribe, Unknown, Unsubscribe
from mcp_actors.protocol.errors import BadMessage

DECODE = Decoder(1000).decode
SIGNAL = {"type": "signal", "to": "bob", "from": "ada", "token": 1.5, "signal": {"type": "offer", "sdp": 'v=0 "é"'}}


def decode(**fields: object) -> Request:
    return DECODE(json.dumps(fields).encode())


def test_a_publication_is_read_as_far_as_it_says_whom_it_is_from_and_for() -> None:
    message = {"type": "publish", "topic": "notes", "data": SIGNAL}
    found = decode(**message)
    assert isinstance(found, Publish)
    assert (found.topic, found.sender, found.to) == ("notes", "ada", "bob")
    assert json.loads(b"{" + found.body) == message


@pytest.mark.parametrize("data", ["c2VjcmV0", [1], 1, None, {}, {"from": 1, "to": {}}, {"from": 'a"b', "to": "b\\"}])
def test_other_content_is_passed_on_for_all(data: object) -> None:
    found = decode(type="publish", topic="notes", data=data)
    assert isinstance(found, Publish)
    assert (found.sender, found.to) == ("", "")
    assert json.loads(b"{" + found.body)["data"] == data


@pytest.mark.parametrize("extra", [{"clients": 99}, {"sender": "eve"}, {"more": [1]}])
def test_fields_that_do_not_belong_there_are_not_passed_on(extra: dict[str, object]) -> None:
    known = {"type": "publish", "topic": "notes", "data": SIGNAL}
    found = decode(**extra, **known)
    assert isinstance(found, Publish)
    assert found.to == "bob"
    assert json.loads(b"{" + found.body) == known


def test_what_trystero_publishes_is_written_as_it_reads_it() -> None:
    found = decode(type="publish", topic="abc", payload='{"peerId":"x"}')
    assert isinstance(found, Post)
    assert json.loads(found.text) == {"topic": "abc", "payload": '{"peerId":"x"}'}


def test_topics_come_in_a_list_or_alone_and_count_once() -> None:
    assert decode(type="subscribe", topics=["a", "b", "a"]) == Subscribe(("a", "b"))
    assert decode(type="subscribe", topic="a") == Subscribe(("a",))
    assert decode(type="unsubscribe", topics=[]) == Unsubscribe(())
    assert decode(type="unsubscribe", topic="a") == Unsubscribe(("a",))


def test_pings_and_messages_of_later_clients_are_told_apart() -> None:
    assert decode(type="ping") == Ping()
    assert decode(type="something", more=1) == Unknown()


def test_halves_of_surrogate_pairs_are_replaced() -> None:
    found = DECODE(b'{"type":"publish","topic":"t","data":{"from":"a","x":"\\ud83d"}}')
    assert isinstance(found, Publish)
    assert json.loads(b"{" + found.body)["data"]["x"] == "\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    "frame",
    [
        b'"publish"',
        b"{}",
        b'{"topic":"a"}',
        b'{"type":5}',
        b'{"type":"publish"}',
        b'{"type":"publish","topic":5,"data":1}',
        b'{"type":"publish","data":{}}',
        b'{"type":"publish","topic":"a"}',
        b'{"type":"publish","topic":"a","data":}',
        b'{"type":"publish","topic":"a","data":' + b"[" * 900,
        b'{"type":"publish","topic":"\\ud83d',
        b'{"type":"subscribe"}',
        b'{"type":"subscribe","topics":"a"}',
        b'{"type":"subscribe","topics":[1]}',
        b'{"type":"subscribe","topics":[null]}',
        b'{"type":"unsubscribe","topics":{}}',
        b'{"type":"unsubscribe"}',
    ],
)
def test_a_malformed_message_is_an_error_that_says_so(frame: bytes) -> None:
    with pytest.raises(BadMessage, match=r"^The message is "):
        DECODE(frame)
