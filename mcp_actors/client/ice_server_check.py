"""Asks one STUN or TURN server whether it works. Needs the extra `aiortc`."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from aioice import stun, turn
from aiortc.rtcicetransport import parse_stun_turn_uri

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from mcp_actors.client.events import Json

ATTEMPT_TIMEOUT = 3.0
"""Seconds for one attempt. Another one comes from another port, as servers may ignore one that they refused lately."""

TIMEOUT_TEXT = "no answer"


class IceServerOutcome(StrEnum):
    """What a server did."""

    WORKS = "works"
    """It told an address, or made an allocation."""
    REFUSED = "refused"
    """It answered with an error code."""
    UNREACHABLE = "unreachable"
    """There was no answer, no such host, or no TLS."""
    UNKNOWN = "unknown"
    """The URL is wrong, or of a kind that cannot be checked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IceServerCheck:
    """The outcome for one URL. `code`: of a refusal, such as 401; `text`: for people."""

    url: str
    outcome: IceServerOutcome
    text: str
    code: int | None = None
    milliseconds: float | None = None

    @property
    def is_turn(self) -> bool:
        """Whether it is a server that relays."""
        return self.url.startswith("turn")


def single_servers(ice_servers: Iterable[Json]) -> list[Json]:
    """One RTCIceServer for each URL."""
    return [server | {"urls": [url]} for server in ice_servers for url in _urls(server)]


async def check_ice_server(server: Json, *, attempts: int = 3) -> IceServerCheck:
    """Ask an RTCIceServer with a single URL for an address or an allocation, which is given up again."""
    [url] = _urls(server)
    try:
        place = parse_stun_turn_uri(url)
    except ValueError as error:
        return IceServerCheck(url=url, outcome=IceServerOutcome.UNKNOWN, text=f"the URL is wrong: {error}")
    if place["scheme"] == "stuns" or place.get("transport") not in (None, "udp", "tcp"):
        return IceServerCheck(url=url, outcome=IceServerOutcome.UNKNOWN, text="this kind of URL cannot be checked")
    ask = _bind if place["scheme"] == "stun" else _allocate
    return await _judge(url, lambda: _ask_again(lambda: ask(place, server), attempts))


async def _judge(url: str, ask: Callable[[], Awaitable[str]]) -> IceServerCheck:
    began = time.monotonic()
    try:
        text = await ask()
    except stun.TransactionFailed as error:
        code, reason = error.response.attributes.get("ERROR-CODE", (0, ""))
        refused = IceServerOutcome.REFUSED
        return IceServerCheck(url=url, outcome=refused, text=f"refused with {code} {reason}".rstrip(), code=code)
    except (stun.TransactionTimeout, TimeoutError):
        return IceServerCheck(url=url, outcome=IceServerOutcome.UNREACHABLE, text=TIMEOUT_TEXT)
    except (OSError, ValueError) as error:
        text = str(error) or type(error).__name__
        return IceServerCheck(url=url, outcome=IceServerOutcome.UNREACHABLE, text=text)
    milliseconds = round((time.monotonic() - began) * 1000, 1)
    return IceServerCheck(url=url, outcome=IceServerOutcome.WORKS, text=text, milliseconds=milliseconds)


async def _ask_again(ask: Callable[[], Awaitable[str]], attempts: int) -> str:
    for left in reversed(range(attempts)):
        try:
            async with asyncio.timeout(ATTEMPT_TIMEOUT):
                return await ask()
        except TimeoutError:
            if not left:
                raise
    raise ValueError("there must be an attempt")


async def _bind(place: dict[str, Any], _server: Json) -> str:
    """Ask a STUN server for the address that it sees."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(_Binding, remote_addr=(place["host"], place["port"]))
    try:
        request = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
        host, port = await protocol.ask(request)
    finally:
        transport.close()
    return f"sees this machine as {host}:{port}"


async def _allocate(place: dict[str, Any], server: Json) -> str:
    """Make an allocation, and give it up."""
    transport, protocol = await turn.create_turn_endpoint(
        _Allocation,
        (place["host"], place["port"]),
        server.get("username"),
        server.get("credential"),
        ssl=place["scheme"] == "turns",
        transport=place["transport"],
    )
    host, port = transport.get_extra_info("sockname")
    transport.close()
    await protocol.ended.wait()
    return f"allocates {host}:{port}"


class _Binding(asyncio.DatagramProtocol):
    """A STUN client; it repeats its request until there is an answer."""

    def __init__(self) -> None:
        self._answers: asyncio.Queue[stun.Message] = asyncio.Queue()
        self._transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, _address: object) -> None:
        self._answers.put_nowait(stun.parse_message(data))

    def error_received(self, error: Exception) -> None:
        """Nobody listens there, perhaps; the request is repeated."""

    async def ask(self, request: stun.Message) -> tuple[str, int]:
        while True:
            self._transport.sendto(bytes(request))
            try:
                async with asyncio.timeout(stun.RETRY_RTO):
                    answer = await self._answers.get()
            except TimeoutError:
                continue
            if answer.transaction_id == request.transaction_id:
                if answer.message_class != stun.Class.RESPONSE:
                    raise stun.TransactionFailed(answer)
                address: tuple[str, int] = answer.attributes["XOR-MAPPED-ADDRESS"]
                return address


class _Allocation(asyncio.DatagramProtocol):
    """The user of an allocation."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    def connection_lost(self, _error: Exception | None) -> None:
        self.ended.set()


def _urls(server: Json) -> list[str]:
    urls = server["urls"]
    return [urls] if isinstance(urls, str) else list(urls)
