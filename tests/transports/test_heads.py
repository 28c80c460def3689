"""Heads of requests over real sockets: too many lines are not parsed, and each of many has a round of the loop."""

from __future__ import annotations

import asyncio
import gc
import json
import re
import weakref
from contextlib import suppress
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from tornado.httputil import HTTPHeaders

from mcp_actors.transports.heads import END
from tests.support.client import DEADLINE
from tests.support.loop import until
from tests.support.socket import HANDSHAKE
from tests.support.tokens import OPTIONAL, token

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tornado.ioloop import IOLoop

    from tests.support.server import Server

FAR = 4_000_000_000
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n"


def test_the_end_of_a_head_is_where_tornado_finds_it() -> None:
    tornados, ours = re.compile(rb"\r?\n\r?\n"), re.compile(END)
    for letters in product(b"\r\na", repeat=8):
        found = [pattern.search(bytes(letters)) for pattern in (tornados, ours)]
        assert len({match and match.end() for match in found}) == 1, bytes(letters)


@pytest.fixture
def parsed(io_loop: IOLoop, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """In which rounds of the loop heads were parsed."""
    rounds, parse = 0, HTTPHeaders.parse
    parsed: list[int] = []

    def note(text: str, **more: Any) -> HTTPHeaders:
        parsed.append(rounds)
        return parse(text, **more)

    async def count_rounds() -> None:
        nonlocal rounds
        while True:
            rounds += 1
            await asyncio.sleep(0)

    monkeypatch.setattr(HTTPHeaders, "parse", note)
    counting = io_loop.asyncio_loop.create_task(count_rounds())  # type: ignore[attr-defined]
    yield parsed
    counting.cancel()


async def answers(server: Server, words: bytes) -> bytes:
    """All that the server says until it hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.app.port)
    writer.write(words)
    try:
        return await asyncio.wait_for(reader.read(), DEADLINE)
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


@pytest.mark.parametrize("before", [b"", HEALTH + b"\r\n"], ids=["first", "second"])
@pytest.mark.parametrize("lines", [64, 2500])
async def test_a_head_of_too_many_lines_is_refused_before_it_is_parsed(
    server: Server, parsed: list[int], before: bytes, lines: int
) -> None:
    told = await answers(server, before + HEALTH + b"X: y\r\n" * lines + b"\r\n")
    assert told.count(b"HTTP/1.1 ") == 1 + bool(before)
    assert b"HTTP/1.1 431 Request Header Fields Too Large\r\n" in told
    assert len(parsed) == bool(before)


@pytest.mark.settings(max_headers=16)
async def test_what_comes_behind_a_refused_head_is_no_request(server: Server) -> None:
    head = HEALTH + b"X: y\r\n" * 20 + b"Content-Length: %d\r\n\r\n" % len(HEALTH + b"\r\n")
    told = await answers(server, head + HEALTH + b"\r\n")
    assert told.startswith(b"HTTP/1.1 431 ")
    assert told.count(b"HTTP/1.1 ") == 1


@pytest.mark.settings(max_headers=16)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
async def test_empty_lines_in_front_of_a_request_and_bare_line_feeds_do_not_count(server: Server, end: bytes) -> None:
    lines = [b"GET /healthz HTTP/1.1", b"Host: 127.0.0.1", b"Connection: close", *[b"X: y"] * 14, b"", b""]
    assert (await answers(server, b"\r\n" + end.join(lines))).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "words",
    [HEALTH + b"Connection: close\r\n\r\n", HANDSHAKE, b"nonsense\r\n\r\n"],
    ids=["a request", "a handshake", "nonsense"],
)
async def test_of_many_heads_that_come_at_once_each_has_a_round_of_the_loop(
    server: Server, parsed: list[int], words: bytes
) -> None:
    opened = [await asyncio.open_connection("127.0.0.1", server.app.port) for _ in range(40)]
    for _, writer in opened:
        writer.write(words)
    for reader, _ in opened:
        assert (await asyncio.wait_for(reader.read(9), DEADLINE)).startswith(b"HTTP/1.1 ")
    assert len(parsed) == len(set(parsed)) == 40
    for _, writer in opened:
        writer.transport.abort()


async def test_who_is_gone_while_it_waits_for_its_turn_is_not_served(server: Server, parsed: list[int]) -> None:
    entrance = server.app._server
    waiting = entrance._gate.turns
    waiting._under_way = True  # as while somebody else has a turn that does not end
    _, writer = await asyncio.open_connection("127.0.0.1", server.app.port)
    writer.write(HEALTH + b"\r\n")
    async with asyncio.timeout(DEADLINE):
        while not len(waiting):
            await asyncio.sleep(0)
        assert entrance._drop_oldest()
        waiting._next_round()
        while entrance._connections:
            await asyncio.sleep(0)
    assert not parsed
    writer.close()


@pytest.mark.settings(max_headers=16)
@pytest.mark.parametrize(
    "words",
    [b"", b"GET /", HEALTH + b"X: y\r\n" * 20 + b"\r\n", b"GET /" + b"a" * 60_000, b"nonsense\r\n\r\n"],
    ids=["silent", "begun", "too many lines", "too long", "nonsense"],
)
async def test_one_that_becomes_no_websocket_is_freed_without_the_garbage_collector(
    server: Server, words: bytes
) -> None:
    entrance = server.app._server
    gc.collect()
    gc.disable()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.app.port)
        await until(lambda: entrance.handshakes == 1, "the connection is accepted")
        [stream] = map(weakref.ref, entrance._handshakes)
        writer.write(words)
        if len(words) > 5:
            with suppress(ConnectionError):
                await asyncio.wait_for(reader.read(), DEADLINE)
        writer.transport.abort()
        await until(lambda: stream() is None, "the stream is freed")
    finally:
        gc.enable()


@pytest.mark.settings(**OPTIONAL)
@pytest.mark.parametrize("path", ["/ws/signaling/", "/ws/mcp/"])
async def test_the_longest_token_comes_through_in_a_url(server: Server, path: str) -> None:
    long = token("a", exp=FAR, pad="x" * 2974)
    assert 4090 <= len(long) <= 4096
    client = await server.client(f"{path}?token={long}")
    assert json.loads(await client.hear_text())["type"] == "authenticated"
