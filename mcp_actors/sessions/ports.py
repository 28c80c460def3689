"""The connection of a client as its session sees it, and the limits of each session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mcp_actors.protocol.events import LeaveReason

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp_actors.protocol.errors import CloseCode


class ClientCosts(Protocol):
    """Where a client is charged for what it causes."""

    def charge_reply(self, size: int, members: int = 0) -> None:
        """Charge a reply of so many bytes, which names so many members."""

    def charge_delivery(self, receivers: int, size: int) -> None:
        """Charge a message of so many bytes to so many receivers."""

    def charge_waiting(self, size: int) -> None:
        """Charge a message of so many bytes that waits for a receiver that does not keep up."""


class ClientConnection(Protocol):
    """The connection of a client, as its session sees it."""

    @property
    def charged_to(self) -> str:
        """The address that is charged for what is kept for the client."""

    @property
    def costs(self) -> ClientCosts:
        """Where the client is charged for what it causes."""

    @property
    def has_room(self) -> Callable[[int], bool]:
        """Whether one more message of so many bytes of another client may wait to be read."""

    def send(self, prefix: bytes, body: bytes, bulk: bool = False) -> bool:
        """Write one message in two parts; False if the connection is closed. `bulk`: see `ClientPort.send`."""

    def ping(self) -> None:
        """Ask for an acknowledgement; see `Session.acknowledge`."""

    def close(self, code: CloseCode, leave: LeaveReason = LeaveReason.DISCONNECTED) -> None:
        """Close the connection."""


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """Limits of each session; `max_detached` of them wait for their clients at once, for `window` seconds each.

    `max_address_detached`: so many of one address. `comeback_rate`: rooms per second with which sessions
    move here that come back again and again. For both, 0 is no limit. With a `window` of 0 none waits, and messages are
    neither numbered nor kept.
    """

    window: float
    max_frames: int
    max_bytes: int
    max_rooms: int
    max_detached: int
    max_address_detached: int = 0
    comeback_rate: float = 0.0
