"""Reaching a server: its name, its port, TLS and HTTP."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from mcp_actors.probe import reach
from mcp_actors.probe.reach import Place, check_reach
from tests.support.certificate import make_certificate
from tests.support.server import Server
from tests.web.network_path import NetworkPath

if TYPE_CHECKING:
    from pathlib import Path

    from mcp_actors.probe.report import Check


async def found(url: str) -> list[Check]:
    return [check async for check in check_reach(Place.of(url))]


def outcomes(checks: list[Check]) -> list[tuple[str, str]]:
    return [(check.name, str(check.outcome)) for check in checks]


def test_a_place_is_read_from_the_url_of_an_endpoint() -> None:
    assert Place.of("ws://example.org/ws/signaling/") == ("example.org", 80, False, "/ws/signaling/")
    assert Place.of("wss://[::1]:8443/a?b=c") == ("::1", 8443, True, "/a?b=c")
    for wrong in ("ftp://example.org/", "ws:///x", "ws://example.org:port/"):
        with pytest.raises(ValueError, match=r"URL|[Pp]ort"):
            Place.of(wrong)


async def test_a_server_is_reached_over_http(server: Server) -> None:
    checks = await found(server.url("/ws/signaling/"))
    assert outcomes(checks) == [("address", "ok"), ("TLS", "skipped"), ("HTTP", "ok")]
    assert "at /ws/signaling/" in checks[2].text


async def test_a_port_where_nobody_listens_is_told(server: Server) -> None:
    path = NetworkPath(server.port)
    path.cut()
    [check] = await found(f"ws://127.0.0.1:{path.port}/ws/signaling/")
    assert (check.name, check.outcome) == ("address", "failed")
    assert "mcp-actors serve" in check.advice


async def test_a_name_that_does_not_exist_is_told() -> None:
    [check] = await found("ws://no-such-host.invalid/")
    assert (check.outcome, check.advice) == ("failed", "check the host name, and its record in DNS")


async def test_a_certificate_that_is_not_trusted_is_told(tmp_path: Path) -> None:
    certificate = tmp_path / "certificate.pem"
    make_certificate(certificate)
    server = Server(tmp_path, tls_cert_file=str(certificate))
    await server.start()
    checks = await found(server.url("/ws/signaling/"))
    assert outcomes(checks) == [("address", "ok"), ("TLS", "failed")]
    assert "not trusted" in checks[1].text
    await server.stop()


async def test_a_port_without_tls_is_told(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "TIMEOUT", 0.5)  # for which the server waits for the rest of a request
    checks = await found(server.url("/ws/signaling/", "wss"))
    assert outcomes(checks) == [("address", "ok"), ("TLS", "failed")]
    assert "does not speak TLS" in checks[1].advice


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (b"220 mail.example.org\r\n\r\n", "another program"),
        (b"HTTP/1.1 502 Bad Gateway\r\nServer: Proxy\r\n\r\n", "the proxy does not reach the server"),
    ],
)
async def test_another_program_or_a_proxy_without_a_server_is_told(answer: bytes, word: str) -> None:
    async def reply(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(reply, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        checks = await found(f"ws://127.0.0.1:{port}/")
    assert outcomes(checks) == [("address", "ok"), ("TLS", "skipped"), ("HTTP", "failed")]
    assert word in checks[2].advice
