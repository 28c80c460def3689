"""Hostile clients: whatever they send is answered, and does not affect others.

Attacks that take time or many connections are in `python -m bench attack`.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from mcp_actors.adapters.tornado.upgrade import MAX_FLOODING
from mcp_actors.connection.connection import Connection
from mcp_actors.ws.frame_loop import FrameLoop
from mcp_actors.ws.frames import BATCH
from tests.support.certificate import make_certificate
from tests.support.client import Client, Closed
from tests.support.loop import until
from tests.support.server import Server
from tests.support.socket import Socket
from tests.test_limits import OTHER_FRAMES, PROMPT, codes, frames_until_close, write_for_ever
from tests.ws.test_frames import Raw

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
"""JSON values, valid and not."""

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
    """Return a message with one hostile field."""
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


@pytest.fixture
def server(io_loop: IOLoop, tmp_path: Path) -> Iterator[Server]:
    """A server that tolerates many errors, each of which is checked here."""
    server = Server(tmp_path, max_bad_messages=1000)
    io_loop.run_sync(server.start)
    yield server
    io_loop.run_sync(server.stop)


async def bystanders(server: Server) -> tuple[Client, Client]:
    """Return two peers of another room."""
    one, two = await server.peer(), await server.peer()
    await one.join("calm", "one")
    await two.join("calm", "two")
    await one.expect("peer-joined")
    return one, two


async def signal(one: Client, two: Client) -> None:
    """Check that their call goes on, and that nothing else reached them."""
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
    "a comment": "/*{*/{%s}" % SIGNAL,
    "an error of the server": '{"type":"error","room":"r","payload":{"code":"internal"}}',
    "another's join": '{"type":"peer-joined","room":"r","payload":{"peer_id":"x","metadata":{},"order":9}}',
}


@pytest.mark.parametrize("how", SPOOFED)
async def test_messages_of_the_server_cannot_be_forged(server: Server, how: str) -> None:
    mallory, witness = await server.peer(), await server.peer()
    await witness.join("r", "witness")
    await mallory.join("r", "mallory")
    await witness.expect("peer-joined")
    await mallory.send(SPOOFED[how])
    await mallory.expect_error("bad-message")
    assert await witness.drain("r") == []


async def test_a_field_that_occurs_twice_is_relayed_as_the_server_understood_it(server: Server) -> None:
    """The last one counts, for the server and for JSON.parse: no client can appear to speak in a room it is not in."""
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


async def test_a_peer_id_cannot_be_taken_from_its_holder(server: Server) -> None:
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


async def test_an_answer_with_an_invented_number_is_not_relayed(server: Server) -> None:
    a, b = await server.pair()
    offer = {"target_peer_id": "b", "offer": {"type": "offer", "sdp": "v=0"}}
    for number in (1, 2):
        await a.say("offer", "r", offer)
        assert (await b.expect("offer"))["negotiation"] == number
    answer = {"target_peer_id": "a", "answer": {"type": "answer", "sdp": "v=0"}}
    await b.say("answer", "r", answer, negotiation=1)
    await b.expect_error("stale-negotiation")
    assert await a.drain("r") == []


async def test_a_client_with_too_many_errors_is_closed_and_others_are_not(tmp_path: Path) -> None:
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


@pytest.fixture(params=["plain", "TLS"])
def flooded(request: pytest.FixtureRequest, io_loop: IOLoop, tmp_path: Path) -> Iterator[Server]:
    """A server with the settings of the test's marker."""
    marker = request.node.get_closest_marker("settings")
    settings = dict(marker.kwargs) if marker else {}
    if request.param == "TLS":
        settings["tls_cert_file"] = str(make_certificate(tmp_path / "server.pem"))
    server = Server(tmp_path, **settings)
    io_loop.run_sync(server.start)
    yield server
    io_loop.run_sync(server.stop)


@pytest.mark.settings(**PROMPT, max_refused_messages=3)
@pytest.mark.parametrize("kind", OTHER_FRAMES)
async def test_a_flood_of_control_frames_or_fragments_is_closed_and_affects_no_call(flooded: Server, kind: str) -> None:
    calm = await bystanders(flooded)
    mallory = await Socket.open(flooded)
    more = Raw(0x00, b"").encode() * 32 if kind.startswith("fragments") else OTHER_FRAMES[kind]
    mallory.writer.write(OTHER_FRAMES[kind] + more * 100)
    await signal(*calm)
    heard, code = await frames_until_close(mallory)
    assert codes(heard) == ["rate-limited"] * 3
    assert code == 4004
    await signal(*calm)
    mallory.writer.transport.abort()


@pytest.mark.settings(**PROMPT, max_refused_messages=3)
async def test_nothing_is_read_from_a_client_that_was_closed_for_a_flood(
    flooded: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = note_reads(monkeypatch)  # before the connections open, as uvloop looks the method up once
    calm = await bystanders(flooded)
    others = set(read)
    mallory = await Socket.open(flooded)
    block = Raw(0x81, b" " * 60_000).encode() * 8 + Raw(0x8A, b"").encode() * 200
    mallory.writer.write(block)
    _, code = await frames_until_close(mallory)
    assert code == 4004
    [reader] = set(read) - others
    read.clear()
    writing = asyncio.ensure_future(write_for_ever(mallory, block))
    await until(
        lambda: mallory.writer.transport.get_write_buffer_size() > 65_536,
        "the rest of the flood stays in its own socket",
    )
    await asyncio.wait([writing], timeout=0.3)
    await signal(*calm)
    assert not writing.done()
    assert reader not in read
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    mallory.writer.transport.abort()


def note_reads(monkeypatch: pytest.MonkeyPatch) -> list[FrameLoop]:
    """Keep the frame loops that read something, each time."""
    read: list[FrameLoop] = []
    receive = FrameLoop.data_received

    def note(loop: FrameLoop, data: bytes) -> None:
        read.append(loop)
        receive(loop, data)

    monkeypatch.setattr(FrameLoop, "data_received", note)
    return read


@pytest.mark.settings(max_address_handshakes=3)
async def test_stalled_handshakes_of_one_address_keep_no_other_client_out(flooded: Server) -> None:
    calm = await bystanders(flooded)
    http_server = flooded.http_server
    await until(lambda: http_server.handshakes == 0, "no handshake under way")
    opened = [await asyncio.open_connection("127.0.0.1", flooded.port, local_addr=("127.9.9.9", 0)) for _ in range(10)]
    hung_up_on = [asyncio.ensure_future(reader.read()) for reader, _ in opened]
    await until(lambda: sum(reading.done() for reading in hung_up_on) == 7, "all but three are hung up on")
    assert http_server.handshakes == 3
    await signal(*calm)
    await (await flooded.peer()).join("calm", "three")
    assert sum(reading.done() for reading in hung_up_on) == 7
    for _, writer in opened:
        writer.transport.abort()
    await asyncio.gather(*hung_up_on, return_exceptions=True)


def note_control_frames(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Keep the sizes of control frames as they are read."""
    read, receive = list[int](), Connection.control_frame_received

    def note(connection: Connection, size: int) -> None:
        read.append(size)
        receive(connection, size)

    monkeypatch.setattr(Connection, "control_frame_received", note)
    return read


@pytest.mark.settings(connection_message_rate=0, address_message_rate=0, ping_interval=0)
async def test_few_of_many_flooding_clients_are_served_in_a_round_of_the_loop(
    flooded: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = await bystanders(flooded)
    flooding = [await Socket.open(flooded) for _ in range(4 * MAX_FLOODING)]
    read, most = note_control_frames(monkeypatch), 0

    async def count() -> None:
        nonlocal most
        while True:
            read.clear()
            await asyncio.sleep(0)
            most = max(most, len(read))

    for socket in flooding:
        socket.writer.write(Raw(0x8A, b"").encode() * 500)
    counting = asyncio.create_task(count())
    for _ in range(20):
        await signal(*calm)
    counting.cancel()
    for socket in flooding:
        socket.writer.transport.abort()
    await until(lambda: len(flooded.app.connections) == 2, "the flooding clients are gone")
    assert BATCH <= most <= (MAX_FLOODING + 1) * BATCH
