"""Hostile messages, one by one: whatever stands in whichever field, its sender gets an answer and nobody else notices.

What takes time or masses of connections is in `python -m bench attack`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.client import Client, Closed
from tests.support.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tornado.ioloop import IOLoop

HOSTILE = {
    "a lone high surrogate": r'"\ud800"',
    "a lone low surrogate": r'"a\udc00b"',
    "surrogates the wrong way round": r'"\udc00\ud800"',
    "a NUL": r'"a\u0000b"',
    "control characters, escaped": r'"\u0001\u001b[2J\u007f\u0085\u2028\u202e"',
    "a control character as it is": '"a\x01b"',
    "a newline as it is": '"a\nb"',
    "newlines, escaped": r'"a\r\nb\nPUBLISH c"',
    "braces": '"{a}{{b}}{0}%s${c}#{d}"',
    "half a brace": '"}{"',
    "a pattern": '"*?[a-z]"',
    "a path": '"../../etc/passwd"',
    "markup": '"<script>alert(1)</script>"',
    "quotes": r'"\"},{\"type\":\"join\""',
    "128 four-byte characters": f'"{"😀" * 128}"',
    "129 four-byte characters": f'"{"😀" * 129}"',
    "128 escaped pairs": '"' + r"\ud83d\ude00" * 128 + '"',
    "a long text": f'"{"x" * 60_000}"',
    "nothing": '""',
    "blanks": '"   "',
    "a name of JavaScript": '"__proto__"',
    "2^63": str(2**63),
    "below -2^63": str(-(2**63) - 1),
    "2^64": str(2**64),
    "a thousand digits": "9" * 1000,
    "a float beyond all": "1e999",
    "a float below all": "-1e999",
    "half a number": "0.5",
    "minus nothing": "-0",
    "NaN": "NaN",
    "Infinity": "Infinity",
    "minus Infinity": "-Infinity",
    "true": "true",
    "null": "null",
    "deep lists": "[" * 15_000 + "]" * 15_000,
    "deep objects": '{"a":' * 9_000 + "1" + "}" * 9_000,
    "lists that do not end": "[" * 30_000,
    "one key twice": '{"a":1,"a":2,"sdp":"v=0","sdp":3,"type":"offer","type":"answer"}',
    "very many keys": "{" + ",".join(f'"{number}":0' for number in range(5000)) + "}",
    "a sender": '{"sender":"somebody else"}',
}
"""Values as JSON has them, or as it forbids them."""

PEER_FIELDS: dict[str, dict[str, str]] = {
    "join": {
        "room": '"other"',
        "payload": "",
        "payload.peer_id": '"mallory"',
        "payload.metadata": "{}",
        "payload.resume": '"token"',
        "payload.received": "0",
        "payload.presence": "false",
    },
    "leave": {"room": '"other"', "payload": ""},
    "offer": {"payload.target_peer_id": '"witness"', "payload.offer": '{"type":"offer","sdp":"v=0"}'},
    "answer": {
        "payload.target_peer_id": '"witness"',
        "payload.answer": '{"type":"answer","sdp":"v=0"}',
        "negotiation": "1",
    },
    "ice-candidate": {
        "payload.target_peer_id": '"witness"',
        "payload.candidate": '{"candidate":"c"}',
        "negotiation": "1",
    },
    "signal": {
        "room": '"r"',
        "id": "1",
        "again": "true",
        "payload": "",
        "payload.target_peer_id": '"witness"',
        "payload.data": "1",
        "payload.extra": "1",
        "extra": "1",
        "type": '"signal"',
    },
}
USER_FIELDS: dict[str, dict[str, str]] = {
    "connect": {"payload": "", "payload.user_id": '"mallory"', "payload.resume": '"token"', "payload.received": "0"},
    "join-room": {"room": '"other"', "payload": "{}"},
    "leave-room": {"room": '"other"', "payload": "{}"},
    "message": {"room": '"r"', "id": "1", "payload": "", "payload.content": "1", "type": '"message"'},
}
RELAYED = {"offer", "answer", "ice-candidate", "signal", "message"}


def written(kind: str, fields: dict[str, str], hostile: str, value: str) -> str:
    """A message whose fields are as they should be, but for one."""
    outer = {"type": f'"{kind}"', "room": '"r"'} | {name: text for name, text in fields.items() if "." not in name}
    if kind == "connect":
        del outer["room"]
    inner = {name.removeprefix("payload."): text for name, text in fields.items() if name.startswith("payload.")}
    outer["payload"] = "{" + ",".join(f'"{name}":{text}' for name, text in inner.items()) + "}"
    if hostile != "extra":
        outer.pop("extra", None)
    if hostile.startswith("payload."):
        inner[hostile.removeprefix("payload.")] = value
        outer["payload"] = "{" + ",".join(f'"{name}":{text}' for name, text in inner.items()) + "}"
    else:
        outer[hostile] = value
    return "{" + ",".join(f'"{name}":{text}' for name, text in outer.items()) + "}"


@pytest.fixture(params=["fast", "stock"])
def server(request: pytest.FixtureRequest, io_loop: IOLoop, tmp_path: Path) -> Iterator[Server]:
    """A server of each frame loop, which does not hang up on who errs often: each of the errors is looked at here."""
    server = Server(tmp_path, frame_loop=request.param, max_bad_messages=1000)
    io_loop.run_sync(server.start)
    yield server
    io_loop.run_sync(server.stop)


async def bystanders(server: Server) -> tuple[Client, Client]:
    """Two peers of another room."""
    one, two = await server.peer(), await server.peer()
    await one.join("calm", "one")
    await two.join("calm", "two")
    await one.expect("peer-joined")
    return one, two


async def signal(one: Client, two: Client) -> None:
    """Their call goes on, and they heard of nothing."""
    await one.say("signal", "calm", {"target_peer_id": "two", "data": "hello"})
    message = await two.expect("signal", data="hello")
    assert message["sender"] == "one"


def relayed(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [message for message in messages if message["type"] in RELAYED]


@pytest.mark.parametrize(("kind", "field"), [(kind, field) for kind, fields in PEER_FIELDS.items() for field in fields])
async def test_a_peer_may_write_anything_into_any_field(server: Server, kind: str, field: str) -> None:
    mallory, witness = await server.peer(), await server.peer()
    calm = await bystanders(server)
    await witness.join("r", "witness")
    await mallory.join("r", "mallory")
    await witness.expect("peer-joined")
    for name, value in HOSTILE.items():
        await mallory.send(written(kind, PEER_FIELDS[kind], field, value))
        for answer in await mallory.drain("r"):
            assert answer["type"] in {"error", "ack", "joined", "left"}, name
            assert answer.get("payload", {}).get("code") not in {"internal", "unavailable"}, name
    heard = relayed(await witness.drain("r"))
    assert all(message["sender"] == "mallory" for message in heard)
    assert all(message["type"] == kind for message in heard)
    assert all(message["room"] == "r" for message in heard)
    await signal(*calm)


@pytest.mark.parametrize(("kind", "field"), [(kind, field) for kind, fields in USER_FIELDS.items() for field in fields])
async def test_a_user_may_write_anything_into_any_field(server: Server, kind: str, field: str) -> None:
    mallory, witness = await server.user(), await server.user()
    calm = await bystanders(server)
    await witness.enter("r", "witness")
    await mallory.enter("r", "mallory")
    await witness.expect("user-joined")
    for name, value in HOSTILE.items():
        await mallory.send(written(kind, USER_FIELDS[kind], field, value))
        await mallory.say("leave-room", "never entered", id="end")
        while (answer := await mallory.hear()).get("id") != "end":
            assert answer["type"] in {"error", "ack", "connected", "room-joined", "room-left"}, name
            assert answer.get("payload", {}).get("code") not in {"internal", "unavailable"}, name
    await mallory.say("message", "r", {"content": "the end"})
    while (message := await witness.hear())["payload"] != {"content": "the end"}:
        assert message["type"] == "message"
        assert message["sender"] == "mallory"
        assert message["room"] == "r"
    await signal(*calm)


# ------------------------------------------------------------------------------------------------------------- spoofing


SIGNAL = '"type":"signal","room":"r","payload":{"target_peer_id":"witness","data":1}'
OFFER = '"type":"offer","room":"r","payload":{"target_peer_id":"witness","offer":{"type":"offer","sdp":"v=0"}}'
SPOOFED = {
    "sender": '{%s,"sender":"one"}' % SIGNAL,
    "sender, in front": '{"sender":"one",%s}' % SIGNAL,
    "sender, escaped": r'{"s\u0065nder":"one",%s}' % SIGNAL,
    "delivery": '{%s,"delivery":1}' % SIGNAL,
    "delivery, in front": '{"delivery":1,%s}' % SIGNAL,
    "delivery, escaped": r'{"\u0064elivery":1,%s}' % SIGNAL,
    "negotiation of a signal": '{%s,"negotiation":7}' % SIGNAL,
    "negotiation of an offer": '{%s,"negotiation":7}' % OFFER,
    "negotiation, in front": '{"negotiation":7,%s}' % OFFER,
    "negotiation, escaped": r'{"n\u0065gotiation":7,%s}' % OFFER,
    "two types": '{"type":"offer",%s}' % SIGNAL,
    "two types, the other way round": '{%s,"type":"offer"}' % SIGNAL,
    "two types, one escaped": r'{%s,"typ\u0065":"offer"}' % SIGNAL,
    "two messages": "{%s}{%s}" % (SIGNAL, SIGNAL),
    "a list of messages": "[{%s}]" % SIGNAL,
    "a byte order mark": "\ufeff{%s}" % SIGNAL,
    "a comment": "/*{*/{%s}" % SIGNAL,
    "an error of the server": '{"type":"error","room":"r","payload":{"code":"internal"}}',
    "another's join": '{"type":"peer-joined","room":"r","payload":{"peer_id":"x","metadata":{},"order":9}}',
}


@pytest.mark.parametrize("how", SPOOFED)
async def test_what_the_server_says_cannot_be_said_in_its_place(server: Server, how: str) -> None:
    mallory, witness = await server.peer(), await server.peer()
    await witness.join("r", "witness")
    await mallory.join("r", "mallory")
    await witness.expect("peer-joined")
    await mallory.send(SPOOFED[how])
    await mallory.expect_error("bad-message")
    assert await witness.drain("r") == []


async def test_what_stands_twice_is_passed_on_only_as_the_server_took_it(server: Server) -> None:
    """The last counts, for the server and for JSON.parse alike: who is not in a room cannot seem to speak in it."""
    mallory, witness = await server.peer(), await server.peer()
    for room in ("r", "secret"):
        await witness.join(room, "witness")
    await mallory.join("r", "mallory")
    await witness.expect("peer-joined")
    body = '"payload":{"target_peer_id":"nobody","target_peer_id":"witness","data":1}'
    await mallory.send('{"type":"signal","room":"r","room":"secret",%s}' % body)
    await mallory.expect_error("not-in-room")
    await mallory.send('{"type":"signal","room":"secret","room":"r",%s}' % body)
    text = await witness.hear_stamped()
    assert json.loads(text)["room"] == "r"
    assert json.loads(text)["sender"] == "mallory"
    assert text.index('"sender"') == 1


async def test_an_id_is_not_taken_from_who_has_it(server: Server) -> None:
    mallory, witness = await server.peer(), await server.peer()
    await witness.join("r", "witness")
    await mallory.say("join", "r", {"peer_id": "witness"})
    await mallory.expect_error("peer-id-taken")
    await mallory.say("join", "r", {"peer_id": "witness", "resume": "forged", "received": 2**53})
    await mallory.expect_error("peer-id-taken")
    user = await server.user()
    await user.enter("r", "mallory")
    await user.say("connect", None, {"user_id": "witness"})
    await user.expect_error("bad-message")
    assert await witness.drain("r") == []


async def test_an_answer_with_a_made_up_number_reaches_nobody(server: Server) -> None:
    a, b = await server.pair()
    offer = {"target_peer_id": "b", "offer": {"type": "offer", "sdp": "v=0"}}
    for number in (1, 2):
        await a.say("offer", "r", offer)
        assert (await b.expect("offer"))["negotiation"] == number
    answer = {"target_peer_id": "a", "answer": {"type": "answer", "sdp": "v=0"}}
    await b.say("answer", "r", answer, negotiation=1)
    await b.expect_error("stale-negotiation")
    assert await a.drain("r") == []


async def test_who_errs_too_often_is_hung_up_on_and_nobody_else(tmp_path: Path) -> None:
    server = Server(tmp_path)
    await server.start()
    mallory, calm = await server.peer(), await bystanders(server)
    for _ in range(16):
        await mallory.send("nonsense")
    await mallory.expect_close(4500)
    await signal(*calm)
    with pytest.raises(Closed):
        await mallory.hear()
    await server.stop()
