"""Handshakes that are refused with a close frame, plain and with TLS."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from tornado.httpclient import AsyncHTTPClient
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from mcp_actors.adapters.http.refusal import Refusal
from mcp_actors.adapters.tornado import upgrade
from mcp_actors.adapters.tornado.refusal import MAX_UNREAD, close_frame
from mcp_actors.protocol.errors import CloseCode
from tests.support.certificate import make_certificate
from tests.support.client import DEADLINE, Client, Closed
from tests.support.loop import until
from tests.support.server import Server
from tests.support.socket import HANDSHAKE, JOIN, Socket
from tests.ws.test_frames import text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tornado.ioloop import IOLoop

    from tests.conftest import ExpectedLogs

EVIL = {"Origin": "http://evil.example"}
FORBIDDEN = {"refuse_with_close": True, "cors_allowed_origins": ["http://app.example"]}


@pytest.fixture(params=["plain", "TLS"])
def server(request: pytest.FixtureRequest, io_loop: IOLoop, tmp_path: Path) -> Iterator[Server]:
    """A server, plain or with TLS, with the settings of the test's marker `settings`."""
    marker = request.node.get_closest_marker("settings")
    file = str(make_certificate(tmp_path / "server.pem")) if request.param == "TLS" else ""
    server = Server(tmp_path, tls_cert_file=file, **(marker.kwargs if marker else {}))
    io_loop.run_sync(server.start)
    yield server
    io_loop.run_sync(server.stop)


async def refused(server: Server, path: str = "/ws/signaling/", **headers: str) -> tuple[int | None, str | None]:
    """The close code and the reason of a connection that is closed at once."""
    client = await server.client(path, **headers)
    with pytest.raises(Closed) as closed:
        await client.hear()
    return closed.value.code, closed.value.reason


@pytest.mark.settings(**FORBIDDEN)
@pytest.mark.parametrize("path", ["/ws/signaling/", "/ws/mcp"])
async def test_a_page_of_a_forbidden_origin_is_told_so(server: Server, path: str) -> None:
    code, reason = await refused(server, path, **EVIL)
    assert code == 4506
    assert reason is not None
    assert reason.startswith("forbidden: Pages of 'http://evil.example' may not use this server")
    await (await server.client(path, Origin="http://app.example")).close()


@pytest.mark.settings(refuse_with_close=True, allowed_hosts=["call.example"])
async def test_a_client_that_calls_the_server_by_a_forbidden_name_is_told_so(server: Server) -> None:
    url = urlsplit(server.url("/ws/signaling/"))
    named = url._replace(netloc=f"other.example:{url.port}").geturl()
    secure: dict[str, Any] = (
        {} if server.trusting is None else {"ssl": server.trusting, "server_hostname": url.hostname}
    )
    client = Client(await connect(named, host=url.hostname, port=url.port, proxy=None, **secure))
    with pytest.raises(Closed) as closed:
        await client.hear()
    reason = "forbidden: Host 'other.example' is not allowed here; add that name to ALLOWED_HOSTS."
    assert (closed.value.code, closed.value.reason) == (4506, reason)


@pytest.mark.settings(refuse_with_close=True, address_connection_rate=0.1, address_connection_burst=2)
async def test_an_address_that_connects_too_often_is_told_so_and_when_to_try_again(server: Server) -> None:
    for _ in range(2):
        await (await server.peer()).close()
    code, reason = await refused(server)
    assert code == 4004
    assert reason is not None
    assert reason.startswith("rate-limited: Address 127.0.0.1 connects too often. Try again in ")


@pytest.mark.settings(refuse_with_close=True, max_address_connections=1)
async def test_an_address_with_too_many_connections_is_told_so_until_it_has_fewer(server: Server) -> None:
    first = await server.peer()
    for _ in range(3):
        assert (await refused(server))[0] == 4004
    await first.close()
    await until(lambda: not len(server.app.connections), "the first connection is gone")
    await (await server.peer()).join("r", "a")


@pytest.mark.settings(refuse_with_close=True, max_connections=1)
async def test_a_full_or_stopping_server_says_so(server: Server, expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.connection", "as many connections as it may")
    expected_logs("mcp_actors.connection", "The server is stopping")
    first = await server.peer()
    assert await refused(server) == (
        1013, "try-again-later: The server holds as many connections as it may; try again later.",
    )  # fmt: skip
    await first.join("r", "a")
    server.app.connections.stop_accepting()
    assert await refused(server) == (1013, "try-again-later: The server is stopping; try again in a moment.")


@pytest.mark.settings(**FORBIDDEN)
async def test_a_refused_client_has_no_session_and_counts_as_a_handshake_until_it_answers(server: Server) -> None:
    socket = Socket(*await asyncio.open_connection("127.0.0.1", server.port, ssl=server.trusting))
    socket.writer.write(HANDSHAKE[:-2] + b"Origin: http://evil.example\r\n\r\n" + text(JOIN % b"a"))
    answer = await asyncio.wait_for(socket.reader.readuntil(b"\r\n\r\n"), DEADLINE)
    assert answer.startswith(b"HTTP/1.1 101")
    first, payload = await socket.frame()
    assert (first, payload[:2]) == (0x88, (4506).to_bytes(2, "big"))
    assert (server.http_server.handshakes, len(server.app.connections), len(server.app.sessions.by_id)) == (1, 0, 0)
    socket.writer.write(text(JOIN % b"b") * 20 + b"\x88\x82\0\0\0\0" + (4506).to_bytes(2, "big"))
    assert await socket.ended()
    await until(lambda: not server.http_server.handshakes, "the handshake is over")
    assert (len(server.app.connections), len(server.app.sessions.by_id)) == (0, 0)
    await socket.close()


@pytest.mark.settings(**FORBIDDEN)
@pytest.mark.parametrize("behind", [b"", b"\x81\xfe\xff\xff" + b"x" * MAX_UNREAD * 2, b"\xff" * 100, b"\x81\x01x"])
async def test_a_refused_client_that_does_not_close_is_hung_up_on(
    server: Server, behind: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upgrade, "REFUSED_TIMEOUT", 0.2)
    socket = Socket(*await asyncio.open_connection("127.0.0.1", server.port, ssl=server.trusting))
    socket.writer.write(HANDSHAKE[:-2] + b"Origin: http://evil.example\r\n\r\n" + behind)
    with suppress(ConnectionResetError):  # by what was not read
        async with asyncio.timeout(DEADLINE):
            await socket.reader.read()
    await until(lambda: not server.http_server.handshakes, "the handshake is over")
    await socket.close()


@pytest.mark.settings(**FORBIDDEN)
async def test_a_refused_client_that_vanishes_leaves_nothing_behind(server: Server) -> None:
    clients = [await server.peer(**EVIL) for _ in range(3)]
    for client in clients:
        client.vanish()
    await until(lambda: not server.http_server.handshakes, "the handshakes are over")


@pytest.mark.settings(**FORBIDDEN)
async def test_a_subprotocol_is_chosen_for_a_refused_client_too(server: Server) -> None:
    """A browser would else take the connection for broken."""
    offered = [Subprotocol("mcp-actors"), Subprotocol("mcp-actors.token.x")]
    url = server.url("/ws/signaling/")
    async with connect(url, additional_headers=EVIL, subprotocols=offered, ssl=server.trusting, proxy=None) as socket:
        assert socket.subprotocol == "mcp-actors"
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 4506


@pytest.mark.settings(**FORBIDDEN)
async def test_a_request_that_is_no_handshake_is_refused_with_its_status(server: Server) -> None:
    ca = None if server.trusting is None else str(server.certificate)
    client = AsyncHTTPClient()
    for method in ("GET", "HEAD"):
        response = await client.fetch(
            server.url("/ws/signaling/", "http" if ca is None else "https"),
            method=method, headers=EVIL, raise_error=False, ca_certs=ca,
        )  # fmt: skip
        assert response.code == 403


@pytest.mark.settings(cors_allowed_origins=["http://app.example"])
async def test_by_default_a_handshake_is_refused_with_its_status(server: Server) -> None:
    with pytest.raises(InvalidStatus) as found:
        await server.peer(**EVIL)
    assert found.value.response.status_code == 403


def test_a_long_reason_is_cut_to_what_a_close_frame_holds() -> None:
    frame = close_frame(Refusal(403, "é" * 200, CloseCode.FORBIDDEN))
    assert len(frame) <= 2 + 125
    assert frame[4:].decode().startswith("forbidden: é")
