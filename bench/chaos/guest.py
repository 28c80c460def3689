"""A further room of a member's session: it moves with the session, and is judged like a stay of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from bench.chaos.member import Member, now
from bench.chaos.record import Link, Stay, roster_in
from bench.chaos.session import Session, compare

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.chaos.connection import Connection

MARK = "@"
"""Between the id of a message and its room, as ids are those of the whole session."""


class Host(Protocol):
    """The member whose session it is."""

    session: Session
    newcomer: Callable[[Stay], None]

    def send_request(self, message: dict[str, Any]) -> None:
        """Send a request, again on each new connection until it is answered."""


class Guest(Member):
    """A peer in a further room."""

    def __init__(self, stay: Stay, host: Host) -> None:
        super().__init__(stay, lambda _member: None)
        self._host = host
        self._links: dict[Connection, Link] = {}

    def dialed(self, connection: Connection) -> None:
        """Note that the session has another connection, or is about to."""
        link = self._links[connection] = Link(connection.link.node, now(), since=connection.link.since, expected=True)
        self.stay.links.append(link)

    def enter(self, connection: Connection) -> None:
        """Join over a connection, or tell that this session is back in the room."""
        payload = {"peer_id": self.stay.member, "presence": True} | self._host.session.credentials()
        name = f"{connection.name}{MARK}{self.stay.room}"
        self._links[connection].received = self._host.session.received
        connection.send({"type": "join", "room": self.stay.room, "payload": payload, "id": name})

    def closed(self, connection: Connection) -> None:
        """Note that a connection is closed."""
        link = self._links.pop(connection, None)
        if link is not None:
            link.ended_at = now()

    def end(self) -> None:
        """End with the session."""
        self.stay.ended_at = self.stay.ended_at or now()
        self._gone.set()

    def take(self, connection: Connection, message: dict[str, Any]) -> None:
        """Handle a message about this room."""
        name, mark, _ = str(message.get("id", "")).partition(MARK)
        if mark and message["type"] in ("ack", "error"):
            self._host.session.answered(message["id"])
        if message["type"] == "joined":
            self._entered(connection, message["payload"])
        elif message["type"] == "error" and name == connection.name:
            self._links[connection].refused = message["payload"]["code"]
        elif message["type"] == "signal" and self._host.session.is_copy(message):
            self.stay.dropped += 1
        else:
            self._read(message | ({"id": name} if mark else {}))

    def _entered(self, connection: Connection, payload: dict[str, Any]) -> None:
        link = self._links.get(connection)
        if link is None:
            return
        if self.stay.joined_at is not None and not payload["resumed"]:
            self._enter_as_newcomer(connection, link)
        stay = self.stay
        link.entered_at, link.order, stay.node = now(), payload["order"], link.node
        if stay.joined_at is None:
            self._enter(payload)
            return
        link.resumed, link.complete = True, link.complete and payload["complete"]
        if not link.complete:  # senders of messages after the gap may be unknown
            stay.arrived[:] = [replace(one, known=True) if one.at > link.dialed_at else one for one in stay.arrived]
        compare(stay, link, roster_in(payload))
        stay.away = {peer["peer_id"] for peer in payload["peers"] if peer.get("away")}
        self._learn_metadata(payload)

    def _enter_as_newcomer(self, connection: Connection, link: Link) -> None:
        """Begin another stay: the session has lost the room."""
        lost = self.stay
        lost.gave_up, lost.ended_at = "it was let into a further room as a newcomer", now()
        self.stay = Stay(lost.member, lost.room, link.node, asked_at=now(), links=[link])
        self._links = {connection: link}
        self._host.newcomer(self.stay)

    def _send(self, kind: str, payload: dict[str, Any], name: str) -> None:
        room = self.stay.room
        self._host.send_request({"type": kind, "room": room, "payload": payload, "id": f"{name}{MARK}{room}"})
