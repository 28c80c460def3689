"""The state that a member keeps from one connection to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.chaos.member import now
from bench.chaos.record import Event

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.chaos.record import Link, Stay

REPEATED = ("signal", "message", "kick", "lock", "unlock")
"""Requests that are sent again if they are not answered."""

GREETINGS = ("joined", "connected")
"""Messages that bring the next resume token."""


class Session:
    """A session: resume token, last delivery number, received messages and unanswered requests."""

    def __init__(self) -> None:
        self.received = 0
        self.token = ""
        self._at: dict[str, str] = {}
        self._unanswered: dict[str, dict[str, Any]] = {}
        self._got: set[tuple[str, str]] = set()

    def credentials(self) -> dict[str, Any]:
        """Return the fields of a join that resumes the session; none the first time."""
        if not self.token:
            return {}
        return {"resume": self.token, "received": self.received} | ({"at": self._at} if self._at else {})

    def sent(self, message: dict[str, Any]) -> None:
        """Remember a message until it is answered."""
        if message["type"] in REPEATED:
            self._unanswered[message["id"]] = message

    def answered(self, name: str) -> None:
        """Forget an answered request."""
        self._unanswered.pop(name, None)

    def unanswered(self) -> Iterator[dict[str, Any]]:
        """Yield the requests to send again."""
        for message in list(self._unanswered.values()):
            yield message | {"again": True}

    def accept(self, link: Link, message: dict[str, Any]) -> bool:
        """Record a message's delivery number, and the resume token that it brings.

        Return whether no other connection has brought it already.
        """
        number = message.get("delivery")
        if number is None:
            return True
        link.count(number)
        new: bool = number > self.received
        if new and "at" in message:
            self._at[message["room"]] = message["at"]
        if new and message["type"] in GREETINGS:
            self.token = message["payload"].get("resume", self.token)
        self.received = max(self.received, number)
        return new

    def is_copy(self, message: dict[str, Any]) -> bool:
        """Return whether a message is marked as sent again and had arrived before."""
        key = message["sender"], message.get("id", "")
        known = key in self._got
        self._got.add(key)
        return known and bool(message.get("again"))


def compare(stay: Stay, link: Link, roster: dict[str, int]) -> None:
    """Compare the roster in a reply that resumed with the known one, or adopt it after a gap."""
    less = sorted(stay.roster.items() - roster.items())
    more = sorted(roster.items() - stay.roster.items())
    if link.complete:
        link.differs = f"missing {less}, extra {more}" if less or more else ""
        return
    for peer, _ in less:
        stay.hear(Event(now(), joined=False, peer=peer))
    for peer, order in more:
        stay.hear(Event(now(), joined=True, peer=peer, order=order))
