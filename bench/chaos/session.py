"""What a member keeps from one connection to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.chaos.member import now
from bench.chaos.record import Event

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.chaos.record import Link, Stay

AGAIN = True
"""Whether the server takes `again`, with which unanswered messages are sent once more."""

RELAYED = ("signal", "message")


class Session:
    """Its token, how far it has heard, what it has got, and what it said without an answer yet."""

    def __init__(self) -> None:
        self.received = 0
        self.token = ""
        self._at: dict[str, str] = {}
        self._unanswered: dict[str, dict[str, Any]] = {}
        self._got: set[tuple[str, str]] = set()

    def credentials(self) -> dict[str, Any]:
        """What a join says to come back; nothing the first time."""
        if not self.token:
            return {}
        return {"resume": self.token, "received": self.received} | ({"at": self._at} if self._at else {})

    def asks(self, message: dict[str, Any]) -> None:
        """Remember a message until it is answered."""
        if message["type"] in RELAYED:
            self._unanswered[message["id"]] = message

    def is_answered(self, name: str) -> None:
        """Forget it."""
        self._unanswered.pop(name, None)

    def unanswered(self) -> Iterator[dict[str, Any]]:
        """What is to be sent again."""
        for message in list(self._unanswered.values()) if AGAIN else ():
            yield message | {"again": True}

    def advances(self, link: Link, message: dict[str, Any]) -> bool:
        """Whether no other connection has brought a message already."""
        number = message.get("delivery")
        if number is None:
            return True
        link.count(number)
        new: bool = number > self.received
        if new and "at" in message:
            self._at[message["room"]] = message["at"]
        self.received = max(self.received, number)
        return new

    def is_copy(self, message: dict[str, Any]) -> bool:
        """Whether a message of another member says that it was sent again, and has come before."""
        key = message["sender"], message.get("id", "")
        known = key in self._got
        self._got.add(key)
        return known and bool(message.get("again"))


def compare(stay: Stay, link: Link, roster: dict[str, int]) -> None:
    """Check the roster that a member is shown when it is back, or go by it if something was missed."""
    less = sorted(stay.roster.items() - roster.items())
    more = sorted(roster.items() - stay.roster.items())
    if link.complete:
        link.differs = f"less {less}, more {more}" if less or more else ""
        return
    for peer, _ in less:
        stay.hear(Event(now(), joined=False, peer=peer))
    for peer, order in more:
        stay.hear(Event(now(), joined=True, peer=peer, order=order))
