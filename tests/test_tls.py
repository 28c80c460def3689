"""TLS by settings: real certificates and handshakes, and renewal while connections stay open."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import ssl
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from bench.engine import Engine
from mcp_actors.app import StartError
from mcp_actors.auth.secret import make
from mcp_actors.tls import Certificate, TlsError
from tests.support.certificate import make_certificate
from tests.support.client import DEADLINE, Client
from tests.support.server import Process, Server

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from tornado.ioloop import IOLoop

    from tests.conftest import ExpectedLogs

    Serve = Callable[..., Awaitable[Server]]

PATIENCE = 30.0


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    """A key and its certificate, in one file."""
    return make_certificate(tmp_path / "server.pem")


@pytest.fixture
def serve(io_loop: IOLoop, tmp_path: Path) -> Iterator[Serve]:
    """Start servers in the test's own loop, by settings; they stop with the test."""
    servers: list[Server] = []

    async def serve_it(**settings: Any) -> Server:
        server = Server(tmp_path, **settings)
        servers.append(server)
        await server.start()
        return server

    yield serve_it
    for server in servers:
        io_loop.run_sync(server.stop)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Start processes that end with the test."""
    with ExitStack() as running:

        def start_it(pem: Path, *arguments: str, **environ: str) -> Process:
            process = Process(tmp_path, "--port", "0", *arguments, MCP_ACTORS_TLS_CERT_FILE=str(pem), **environ)
            return running.enter_context(process).wait_until_serving()

        yield start_it


async def open_peer(port: int, trusted: Path, **headers: str) -> Client:
    context = ssl.create_default_context(cafile=str(trusted))
    url = f"wss://127.0.0.1:{port}/ws/signaling/"
    async with asyncio.timeout(DEADLINE):
        return Client(await connect(url, ssl=context, compression=None, proxy=None, additional_headers=headers))


def served_by(port: int, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> bytes:
    """Return the certificate that a new connection gets."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as plain, context.wrap_socket(plain) as tls:
        return tls.getpeercert(binary_form=True) or b""


def certificate_in(pem: Path) -> bytes:
    text = pem.read_text()
    return ssl.PEM_cert_to_DER_cert(text[text.index("-----BEGIN CERT") :])


def replace(pem: Path) -> None:
    """Replace a certificate, as tools that renew them do."""
    make_certificate(pem.with_suffix(".new")).replace(pem)


async def until_served(port: int, pem: Path) -> None:
    """Wait until new connections get the certificate of a file."""
    async with asyncio.timeout(PATIENCE):
        while await asyncio.to_thread(served_by, port) != certificate_in(pem):
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("split", [False, True])
async def test_peers_meet_over_tls(serve: Serve, tmp_path: Path, split: bool) -> None:
    pem, key = tmp_path / "chain.pem", tmp_path / "key.pem" if split else None
    make_certificate(pem, key)
    server = await serve(tls_cert_file=str(pem), tls_key_file=str(key or ""))
    peers = [await open_peer(server.port, pem) for _ in range(2)]
    await peers[0].join("r", "a")
    await peers[1].join("r", "b")
    await peers[0].expect("peer-joined", peer_id="b")
    await peers[0].say("signal", "r", {"target_peer_id": "b", "data": "x" * 60_000}, id=1)
    await peers[1].expect("signal", data="x" * 60_000)
    await peers[0].expect("ack")
    for peer in peers:
        await peer.close()


async def test_a_page_of_the_same_https_origin_may_connect_and_another_may_not(serve: Serve, pem: Path) -> None:
    server = await serve(tls_cert_file=str(pem), allowed_hosts=["127.0.0.1"])
    origin = f"https://127.0.0.1:{server.port}"
    await (await open_peer(server.port, pem, Origin=origin)).end()
    with pytest.raises(InvalidStatus):
        await open_peer(server.port, pem, Origin="https://evil.example")


async def test_a_new_certificate_is_used_for_new_connections_and_closes_none(serve: Serve, pem: Path) -> None:
    server = await serve(tls_cert_file=str(pem))
    old = certificate_in(pem)
    peers = [await open_peer(server.port, pem) for _ in range(2)]
    await peers[0].join("r", "a")
    await peers[1].join("r", "b")
    await peers[0].expect("peer-joined")
    assert await asyncio.to_thread(served_by, server.port) == old
    replace(pem)
    await until_served(server.port, pem)
    assert certificate_in(pem) != old
    newcomer = await open_peer(server.port, pem)
    assert len((await newcomer.join("r", "c"))["peers"]) == 3
    for peer in peers:
        await peer.expect("peer-joined", peer_id="c")
    await newcomer.close()
    for peer in peers:
        await peer.close()


async def test_an_unusable_certificate_is_ignored_and_the_next_one_is_used(
    tmp_path: Path, expected_logs: ExpectedLogs
) -> None:
    pem, key = make_certificate(tmp_path / "chain.pem", tmp_path / "key.pem"), tmp_path / "key.pem"
    certificate = Certificate(str(pem), str(key))
    certificate.load()
    taken: list[ssl.SSLContext] = []
    following = asyncio.create_task(certificate.follow(taken.append))
    expected_logs("mcp_actors", "does not match")
    make_certificate(tmp_path / "new.pem", tmp_path / "new.key")
    (tmp_path / "new.pem").replace(pem)  # as between the two writes of a renewal
    async with asyncio.timeout(PATIENCE):
        while not expected_logs.records:
            await asyncio.sleep(0.05)
    assert not taken
    (tmp_path / "new.key").replace(key)
    async with asyncio.timeout(PATIENCE):
        while not taken:
            await asyncio.sleep(0.05)
    following.cancel()
    assert len(expected_logs.records) == 1


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_tls_1_2_and_1_3_are_supported(serve: Serve, pem: Path, version: ssl.TLSVersion) -> None:
    server = await serve(tls_cert_file=str(pem))
    assert await asyncio.to_thread(served_by, server.port, version) == certificate_in(pem)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_older_versions_and_plain_http_are_refused(serve: Serve, pem: Path, expected_logs: ExpectedLogs) -> None:
    expected_logs("tornado.general", "SSL Error")
    server = await serve(tls_cert_file=str(pem))
    with pytest.raises(ssl.SSLError):
        await asyncio.to_thread(served_by, server.port, ssl.TLSVersion.TLSv1_1)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    answer, *_ = await asyncio.gather(asyncio.wait_for(reader.read(), DEADLINE), return_exceptions=True)
    assert answer == b"" or isinstance(answer, ConnectionError)
    writer.close()


async def test_a_stalled_handshake_is_closed(serve: Serve, pem: Path) -> None:
    server = await serve(tls_cert_file=str(pem), request_timeout=0.2)
    for beginning in (b"", b"\x16\x03\x01\x02\x00\x01"):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(beginning)
        assert await asyncio.wait_for(reader.read(), DEADLINE) == b""
        writer.close()


async def test_a_process_announces_https_and_uses_a_new_certificate(pem: Path, start: Callable[..., Process]) -> None:
    process = start(pem)
    assert process.process.stdout is not None
    peer = await open_peer(process.port, pem)
    await peer.join("r", "a")
    replace(pem)
    await until_served(process.port, pem)
    await (await open_peer(process.port, pem)).end()
    assert len(await peer.drain("r")) == 0
    await peer.end()
    process.process.send_signal(signal.SIGTERM)
    status, _, err = await asyncio.to_thread(process.finish)
    assert status == 0
    assert "certificate loaded" in [json.loads(line)["event"] for line in err.splitlines()]
    assert all("https://" in line or "wss://" in line for line in process.greeting if "://" in line)
    assert sum("://" in line for line in process.greeting) == 3


async def test_each_of_several_processes_uses_a_new_certificate(pem: Path, start: Callable[..., Process]) -> None:
    with Engine() as engine:
        shared = {"REDIS_URL": engine.url, "MCP_ACTORS_SECRET_KEY": make(), "MCP_ACTORS_DRAIN_SECONDS": "0"}
        process = start(pem, "--processes", "2", **shared)
        replace(pem)
        await until_served(process.port, pem)
        for _ in range(20):  # more than two, as the kernel chooses which process gets one
            await until_served(process.port, pem)
        process.process.send_signal(signal.SIGTERM)
        status, _, err = await asyncio.to_thread(process.finish)
    assert status == 0
    loaded = [json.loads(line) for line in err.splitlines() if "certificate loaded" in line]
    assert sorted(line["process"] for line in loaded) == [1, 2]


def mismatched(directory: Path) -> tuple[Path, Path]:
    make_certificate(directory / "other.pem", directory / "other.key")
    return make_certificate(directory / "c.pem", directory / "c.key"), directory / "other.key"


def encrypted(directory: Path) -> tuple[Path, Path]:
    return make_certificate(directory / "c.pem", directory / "c.key", b"secret"), directory / "c.key"


def no_certificate(directory: Path) -> tuple[Path, Path]:
    make_certificate(directory / "c.pem", directory / "c.key")
    (directory / "c.pem").write_text("nothing of the kind")
    return directory / "c.pem", directory / "c.key"


def no_key(directory: Path) -> tuple[Path, Path]:
    pem = make_certificate(directory / "c.pem", directory / "c.key")
    return pem, pem


BROKEN = {
    "does not match": mismatched,
    "is encrypted": encrypted,
    "not a usable certificate and key": no_certificate,
    "in PEM format": no_key,
}


@pytest.mark.parametrize("words", BROKEN)
def test_an_unusable_certificate_is_named_at_start(tmp_path: Path, words: str) -> None:
    cert, key = BROKEN[words](tmp_path)
    environ = {"MCP_ACTORS_TLS_CERT_FILE": str(cert), "MCP_ACTORS_TLS_KEY_FILE": str(key)}
    status, out, err = Process(tmp_path, "--port", "0", **environ).finish()
    assert (status, out) == (1, "")
    assert words in err
    assert str(key) in err
    assert "Traceback" not in err
    with pytest.raises(StartError, match=words):
        Server(tmp_path, tls_cert_file=str(cert), tls_key_file=str(key))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TlsError, match=r"gone\.pem cannot be read: No such file"):
        Certificate(str(tmp_path / "gone.pem")).load()
