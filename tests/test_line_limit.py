"""Limits of the log, by themselves and for every way in which a server refuses a stranger."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from mcp_actors.line_limit import (
    ACCESS_BURST,
    ACCESS_LOGGER,
    BURST,
    INTERVAL,
    MAX_EVENTS,
    MAX_TRACEBACK,
    MAX_VALUE,
    LineLimit,
    shorten,
    shorten_traceback,
)
from tests.support.certificate import make_certificate
from tests.support.client import DEADLINE
from tests.support.server import Process
from tests.support.socket import HANDSHAKE
from tests.ws.test_frames import text

if TYPE_CHECKING:
    from pathlib import Path


LOGGER = logging.getLogger("a")


def record(text: str = "refused", level: int = logging.INFO, line: int = 1) -> logging.LogRecord:
    return logging.LogRecord("a", level, "file.py", line, text, (), None)


def passes(limit: LineLimit, event: str = "refused", method: str = "info") -> bool:
    try:
        limit(LOGGER, method, {"event": event})
    except structlog.DropEvent:
        return False
    return True


class Clock:
    """A clock that stands still."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_an_event_has_a_burst_of_lines_and_then_one_in_a_while_that_says_how_many_were_dropped() -> None:
    clock = Clock()
    limit = LineLimit(clock)
    assert [passes(limit) for _ in range(BURST + 5)] == [True] * BURST + [False] * 5
    assert passes(limit, "another")
    clock.now += INTERVAL * 1.01
    assert limit(LOGGER, "warning", {"event": "refused"}) == {"event": "refused", "dropped": 5}
    assert not passes(limit)
    clock.now += INTERVAL * 1.01
    assert limit(LOGGER, "info", {"event": "refused", "address": "a"})["dropped"] == 1


def test_all_lines_of_the_access_log_share_a_budget_that_can_change() -> None:
    clock, logger = Clock(), logging.getLogger(ACCESS_LOGGER)
    limit = LineLimit(clock, access_rate=2.0)

    def access(event: str) -> dict[str, Any] | None:
        try:
            return dict(limit(logger, "info", {"event": event}))
        except structlog.DropEvent:
            return None

    passed = [access(event) for event in ("closed", "refused") * 15]
    assert sum(line is not None for line in passed) == 2 * ACCESS_BURST
    clock.now += 0.5
    assert access("closed") == {"event": "closed", "dropped": 10}
    assert access("closed") is None
    limit.access_rate = 200.0
    clock.now += 0.5
    assert [access("refused") is not None for _ in range(50)] == [True] * 50
    assert passes(limit, "another")


def test_lines_of_a_library_count_by_the_place_that_logs_them() -> None:
    clock = Clock()
    limit = LineLimit(clock)
    passed = [limit.filter(record(f"wrong: {number}")) for number in range(100)]
    assert sum(passed) == BURST
    assert limit.filter(record(line=2))
    clock.now += INTERVAL * 1.01
    line = record("wrong?token=x")
    assert limit.filter(line)
    found = shorten(None, "", {"event": line.msg, "_record": line, "_from_structlog": False})
    assert (found["event"], found["dropped"]) == ("wrong?...", 100 - BURST)


def test_debug_lines_have_no_limit() -> None:
    limit = LineLimit(Clock())
    assert all(limit.filter(record(level=logging.DEBUG)) for _ in range(10 * BURST))
    assert all(passes(limit, method="debug") for _ in range(10 * BURST))


def test_the_number_of_events_is_limited() -> None:
    limit = LineLimit(Clock())
    passed = [passes(limit, f"{number}") for number in range(10 * MAX_EVENTS)]
    assert sum(passed) == MAX_EVENTS + BURST


def test_values_are_cut() -> None:
    fields = {"event": "e" * 9999, "number": 7, "rooms": ["r"] * 9999, "short": "s", "list": [1]}
    found = shorten(None, "", {**fields, "_record": record(), "_from_structlog": True})
    assert (found["number"], found["short"], found["list"]) == (7, "s", [1])
    assert found["event"] == "e" * MAX_VALUE + "..."
    assert len(found["rooms"]) == MAX_VALUE + 3


def test_of_a_long_traceback_the_end_is_kept() -> None:
    found = shorten_traceback(None, "", {"exception": "x" * MAX_TRACEBACK + "ZeroDivisionError"})
    assert found["exception"].endswith("ZeroDivisionError")
    assert len(found["exception"]) == MAX_TRACEBACK + 3
    assert shorten_traceback(None, "", {"exception": "short"}) == {"exception": "short"}


LONG = "a." * 3000
TOKEN = "T0KEN"  # noqa: S105 - to be found in a log
GET = "GET /%s HTTP/1.1\r\nHost: localhost\r\n%s\r\n"
ASK = HANDSHAKE.decode().replace("/ HTTP", f"/?token={TOKEN} HTTP")
REFUSED: dict[str, str | bytes] = {
    "an origin": ASK.replace("\r\n\r\n", f"\r\nOrigin: http://{LONG}\r\n\r\n"),
    "an origin with escapes": ASK.replace("\r\n\r\n", "\r\nOrigin: " + "\x80" * 6000 + "\r\n\r\n"),
    "a host": ASK.replace("127.0.0.1", LONG),
    "a host in the target": ASK.replace("GET /", f"GET http://{LONG}/"),
    "no host": ASK.replace("Host: 127.0.0.1\r\n", ""),
    "a key": ASK.replace("ZQ==", LONG),
    "a version": ASK.replace("Version: 13", f"Version: {LONG}"),
    "an old version of HTTP": ASK.replace("HTTP/1.1", "HTTP/1.0"),
    "no upgrade": ASK.replace("Upgrade: websocket", f"Upgrade: {LONG}"),
    "a method": ASK.replace("GET", "BREW"),
    "a page of another host": (GET % (f"?token={TOKEN}", "")).replace("localhost", LONG),
    "a path": GET % (f"{LONG}?token={TOKEN}", ""),
    "a target": (GET % (f"?token={TOKEN}", "")).replace(" /", f" {LONG}"),
    "a query": GET % (f"?token={TOKEN}&" + "a=&" * 500, ""),
    "a long URL": GET % (f"?token={TOKEN}" + "a" * 9000, ""),
    "a multipart body": (GET % (f"?token={TOKEN}", "Content-Type: multipart/form-data\r\nContent-Length: 3\r\n"))
    + "xyz",
    "an urlencoded body": GET
    % (f"?token={TOKEN}", "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 9\r\n")
    + "%ff%fe%fd",
    "an encoded body": GET
    % (
        f"?token={TOKEN}",
        "Content-Type: application/x-www-form-urlencoded\r\nContent-Encoding: x\r\nContent-Length: 3\r\n",
    )
    + "a=b",
    "a body in chunks": GET % (f"?token={TOKEN}", "Transfer-Encoding: chunked\r\n") + "zz\r\n",
    "a long body": GET % (f"?token={TOKEN}", "Content-Length: 1000000\r\n"),
    "a wrong length": GET % (f"?token={TOKEN}", "Content-Length: x\r\n"),
    "a wrong escape": GET % (f"%ff%fe?token=%ff{TOKEN}", ""),
    "many headers": GET % (f"?token={TOKEN}", "X: y\r\n" * 100),
    "a wrong header": GET % (f"?token={TOKEN}", f"{LONG}\r\n"),
    "nonsense": f"{LONG}?token={TOKEN}\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + TOKEN.encode() + b"\r\n\r\n",
    "a token": ASK.replace("\r\n\r\n", f"\r\nAuthorization: Bearer {TOKEN}{LONG}\r\n\r\n"),
    "a token in a subprotocol": ASK.replace(
        "\r\n\r\n", f"\r\nSec-WebSocket-Protocol: mcp-actors, mcp-actors.token.{TOKEN}\r\n\r\n"
    ),
    "frames": HANDSHAKE + b"\xff" * 6000,
    "messages": HANDSHAKE + text(b"x" * 6000) * 20,
    "an unknown token in a message": HANDSHAKE
    + text(json.dumps({"type": "authenticate", "payload": {"token": TOKEN + LONG}}).encode()),
}
"""First bytes of connections, none of which the server serves."""

REPEATED = 25


async def send(port: int, words: bytes, context: ssl.SSLContext | None) -> None:
    """Send bytes, end the stream if TLS allows that, and wait until the server has answered or hung up."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    except ConnectionError:
        return
    writer.write(words)
    try:
        if context is None:
            writer.write_eof()
        await asyncio.wait_for(reader.read(1), DEADLINE)
    except ConnectionError:
        pass
    finally:
        writer.transport.abort()


@pytest.mark.parametrize("scheme", ["plain", "TLS"])
async def test_no_stranger_can_fill_the_log_or_read_a_token_in_it(tmp_path: Path, scheme: str) -> None:
    """Every kind of refusal, many times; over TLS once, after many handshakes that fail."""
    context: ssl.SSLContext | None = None
    environ = {
        "MCP_ACTORS_REQUEST_TIMEOUT": "3",
        "MCP_ACTORS_AUTH_TIMEOUT": "0.5",
        "MCP_ACTORS_SECRET_KEY": "a secret that is only used in this test",
        "MCP_ACTORS_AUTH": "required",
        "MCP_ACTORS_ALLOWED_HOSTS": "call.example,127.0.0.1",
        "MCP_ACTORS_CORS_ALLOWED_ORIGINS": "https://app.example",
        "MCP_ACTORS_MAX_CONNECTIONS": "5",
    }
    if scheme == "TLS":
        pem = environ["MCP_ACTORS_TLS_CERT_FILE"] = str(make_certificate(tmp_path / "server.pem"))
        context = ssl.create_default_context(cafile=pem)
    with Process(tmp_path, "--port", "0", "--host", "127.0.0.1", **environ) as server:
        server.wait_until_serving()
        for words in REFUSED.values():
            data = words if isinstance(words, bytes) else words.encode("latin-1")
            times = REPEATED if context is None else 1
            await asyncio.gather(*(send(server.port, data, context) for _ in range(times)))
        await asyncio.gather(*(send(server.port, b"no TLS", None) for _ in range(REPEATED)))
        server.process.terminate()
        _, out, err = await asyncio.to_thread(server.finish)
    assert TOKEN not in out + err
    lines = err.splitlines()
    assert "listening" in lines[0]
    assert max(map(len, lines)) < 10 * MAX_VALUE
    assert len(lines) < 6 * BURST
    assert not [line for line in lines if json.loads(line)["level"] == "error"]
    assert [line for line in lines if "handshake refused" in line]
