"""Attacks with plain HTTP requests and with handshakes that are refused."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from typing import TYPE_CHECKING

from bench.attack.attack import Attack
from bench.attack.raw_client import RawClient, get_request, handshake_request

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUNDS = 100
"""Blocks of requests that are sent on one connection, if the server does not close it."""

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"  # noqa: S105 - opens nothing


class HttpAttack(Attack):
    """Sends blocks of requests on one connection without waiting for answers, which it reads."""

    @abstractmethod
    def block(self) -> bytes:
        """Return the next requests."""

    async def attack_once(self) -> None:
        """See `Attack`."""
        client = await RawClient.open(self._target)
        reading = asyncio.ensure_future(client.wait_until_closed())
        try:
            for _ in range(ROUNDS):
                await client.send(self.block())
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            client.close()


class DeepPaths(HttpAttack):
    """Requests whose paths have thousands of segments."""

    name, about = "deep-paths", "requests for paths of 4,000 segments, many on each connection"
    clients, quick_clients = 400, 40

    def block(self) -> bytes:
        """See `HttpAttack`."""
        beginning = self._random.choice(("a/", "//a", "../", "%61/"))
        return get_request(self._target.port, "/" + beginning * (8000 // len(beginning))) * 2


class Requests(HttpAttack):
    """Requests as fast as possible."""

    name, about = "requests", "requests for the page, its files and the health, many on each connection"
    clients, quick_clients = 400, 40

    def block(self) -> bytes:
        """See `HttpAttack`."""
        return get_request(self._target.port, self._random.choice(("/", "/app.js", "/healthz", "/nothing"))) * 20


class Visits(Attack):
    """One request on each of many connections."""

    name, about = "visits", "connections with one request each, as many as possible"
    clients, quick_clients = 200, 20

    async def attack_once(self) -> None:
        """See `Attack`."""
        for _ in range(10):
            client = await RawClient.open(self._target)
            try:
                await client.send(get_request(self._target.port, "/healthz", "Connection: close"))
                await client.receive()
            finally:
                client.close()


class RefusedHandshakes(HttpAttack):
    """Handshakes of forbidden origins and hosts with long names, and with wrong headers."""

    name, about = "refused-handshakes", "handshakes with wrong or forbidden values of 6 KB"
    clients, quick_clients = 200, 20

    def block(self) -> bytes:
        """See `HttpAttack`."""
        return self._random.choice(tuple(self._handshakes())) * 2

    def _handshakes(self) -> Iterator[bytes]:
        request, long = handshake_request(self._target.port), b"a." * 3000
        yield request[:-2] + b"Origin: http://" + long + b"\r\n\r\n"
        yield request[:-2] + b"Origin: " + b"\x80" * 6000 + b"\r\n\r\n"
        yield request.replace(b"Host: ", b"Host: " + long)
        yield request.replace(b"GET /", b"GET http://" + long + b"/")
        yield request.replace(b"Version: 13", b"Version: " + long)
        yield request.replace(b"Key: ", b"Key: " + long)
        yield request.replace(b"GET", b"PUT")


class LogVolume(HttpAttack):
    """Requests of every kind that a server might log."""

    name, about = "log-volume", "wrong requests, bodies and handshakes with a token in the URL, of every kind"
    clients, quick_clients = 100, 10

    def block(self) -> bytes:
        """See `HttpAttack`."""
        return self._random.choice(tuple(self._wrong()))

    def _wrong(self) -> Iterator[bytes]:
        port = self._target.port
        path = f"/?token={TOKEN}{'a' * 4000}"
        form = "Content-Type: application/x-www-form-urlencoded"
        yield get_request(port, path, form, "Content-Length: 2000") + b"a=&" * 667
        yield get_request(port, path, form, "Content-Encoding: x", "Content-Length: 3") + b"a=b"
        yield get_request(port, path, "Content-Type: multipart/form-data; boundary=x", "Content-Length: 3") + b"--x"
        yield get_request(port, path, "Transfer-Encoding: chunked") + b"1\r\na\r\n" * 500
        yield get_request(port, path, f"X: {'y' * 4000}", "no header")
        yield get_request(port, path).replace(b"GET", b"BREW")
        yield get_request(port, path).replace(b"GET /", b"GET nonsense")
        yield get_request(port, path).replace(b"Host: ", b"Host: evil.example, ")
        yield handshake_request(port, f"Origin: http://{'a' * 4000}").replace(b"/ HTTP", path.encode() + b" HTTP")
        yield handshake_request(port) + b"\x81\xfe\x10\x00\0\0\0\0" + b"x" * 4096
