"""The record of a run: every stay of a member in a room, as the member saw it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

Role = Literal["observer", "peer", "churner", "mover", "user", "moderator"]
"""Only peers and churners receive signals. A mover returns repeatedly under one id. Users broadcast."""

EVERYBODY = "*"
"""The target of a broadcast."""


LOCK = "(lock)"
"""Stands in rosters while the room is locked, so that a lock must be seen as joins and leaves are."""


def roster_in(payload: dict[str, Any]) -> dict[str, int]:
    """Return the roster in the reply to a join."""
    peers = {peer["peer_id"]: peer["order"] for peer in payload["peers"]}
    return peers | ({LOCK: 0} if payload.get("locked") else {})


@dataclass(frozen=True, slots=True)
class Event:
    """A join or leave that a member was told of; `order` is 0 for a leave."""

    at: float
    joined: bool
    peer: str
    order: int = 0
    reason: str = ""
    """Of a leave."""
    was_away: bool = False
    """Whether the member knew the peer that left as away."""

    def __str__(self) -> str:
        return f"{'+' if self.joined else '-'}{self.peer}"


@dataclass(frozen=True, slots=True)
class Arrival:
    """A received message: the `number`th from `sender` to `target`."""

    at: float
    sender: str
    target: str
    number: int
    sent_at: float
    known: bool = True
    """Whether the sender was in the receiver's roster, and the receiver was the target."""


@dataclass(frozen=True, slots=True)
class News:
    """A `peer-away` or `peer-back` that a member was told of."""

    at: float
    away: bool
    peer: str


@dataclass(slots=True)
class Link:
    """The record of one connection of a stay, to the node with this index."""

    node: int
    dialed_at: float
    since: float = 0.0
    """When the previous connection broke or was abandoned."""
    received: int = 0
    """The last delivery number, as sent in the join that resumes."""
    entered_at: float | None = None
    resumed: bool = False
    complete: bool = True
    newcomer: bool = False
    """Whether the member was let in as a newcomer, although it asked to resume."""
    order: int = 0
    """The member's order in the reply that resumed."""
    differs: str = ""
    """How the roster in that reply differs from the known one, if the reply said that it is complete."""
    refused: str = ""
    """The error code that the join was answered with."""
    runs: list[list[int]] = field(default_factory=list)
    """The delivery numbers it brought, as runs without a gap: first and last of each."""
    ended_at: float | None = None
    closed: str = ""
    expected: bool = False
    """Whether its end was expected because the member or its node gave it up."""

    def count(self, number: int) -> None:
        """Record a delivery number."""
        if self.runs and number == self.runs[-1][1] + 1:
            self.runs[-1][1] = number
        else:
            self.runs.append([number, number])


@dataclass(slots=True)
class Stay:
    """A member's stay in a room. Times are seconds of the monotonic clock.

    It has one connection, to the node with this index, or several in turn if members resume.
    """

    member: str
    room: str
    node: int
    role: Role = "peer"
    asked_at: float = 0.0
    joined_at: float | None = None
    ended_at: float | None = None
    """When it asked to leave, its connection ended, or its node was killed."""
    left_at: float | None = None
    """When the server confirmed that it left."""
    struck_at: float | None = None
    """When its node was killed or frozen during the stay. From then on, others may be told that it left."""
    kicked_at: float | None = None
    """When a moderator asked to remove it. From then on, others may be told that it left."""
    kick_answer: str = ""
    """The moderator's answer: `kicked` or an error code."""
    removed_at: float | None = None
    """When the moderator was told that it is removed. From then on, it cannot resume."""
    join_error: str = ""
    """The error code that the join was answered with."""
    closed: str = ""
    """How the server closed the connection without being asked to."""
    first_roster: dict[str, int] = field(default_factory=dict)
    roster: dict[str, int] = field(default_factory=dict)
    """Peers and their order: in the reply to the join, and now."""
    events: list[Event] = field(default_factory=list)
    sent: dict[str, list[float]] = field(default_factory=dict)
    """The time each message was sent, by target; message n is entry n - 1."""
    acknowledged: dict[str, dict[int, float]] = field(default_factory=dict)
    """The time of each `ack`, by target and number."""
    refused: dict[str, dict[int, str]] = field(default_factory=dict)
    """Error codes by target and number."""
    arrived: list[Arrival] = field(default_factory=list)
    updates: int = 0
    """How often it updated its metadata."""
    updated: int = 0
    """The last update of which it was told."""
    metadata: dict[str, int] = field(default_factory=dict)
    """The last update of each peer in the roster, as far as it was told; 0 for none."""
    links: list[Link] = field(default_factory=list)
    """Its connections, if members resume."""
    news: list[News] = field(default_factory=list)
    away: set[str] = field(default_factory=set)
    """Peers that are without a connection now."""
    sent_again: int = 0
    """Messages sent again because they had not been answered."""
    dropped: int = 0
    """Messages received again that were marked as sent again."""
    silent: bool = False
    """Whether it dropped its connection without leaving, so that the server kept its session."""
    gave_up: str = ""
    """Why it could not resume."""

    @property
    def may_leave_at(self) -> float | None:
        """From when on others may be told that it left, if at all."""
        times = (self.ended_at, self.struck_at, self.kicked_at)
        return min((at for at in times if at is not None), default=None)

    @property
    def misses(self) -> list[float]:
        """When it was told of a gap."""
        return [link.entered_at for link in self.links if link.entered_at is not None and not link.complete]

    @property
    def struck(self) -> bool:
        """Whether its node was killed or frozen during the stay."""
        return self.struck_at is not None

    @property
    def lives(self) -> bool:
        """Whether it is in the room and has been there, undisturbed, since it joined."""
        return self.joined_at is not None and self.ended_at is None and not self.struck

    @property
    def present(self) -> bool:
        """Whether it is in the room now, so that others must see it."""
        return self.joined_at is not None and self.ended_at is None

    def expects(self) -> dict[str, set[int]]:
        """Return the numbers of accepted messages by target; only acknowledged ones once the connection has ended."""
        said = {target: set(times) for target, times in self.acknowledged.items()}
        if self.ended_at is None:
            said = {target: set(range(1, len(times) + 1)) for target, times in self.sent.items()}
        return {target: numbers - self.refused.get(target, {}).keys() for target, numbers in said.items()}

    def hear(self, event: Event) -> None:
        """Apply a join or leave to the roster."""
        if not event.joined:
            event = replace(event, was_away=event.peer in self.away)
        self.events.append(event)
        if event.joined:
            self.roster[event.peer] = event.order
        else:
            self.roster.pop(event.peer, None)
        self.away.discard(event.peer)

    def learn(self, news: News) -> None:
        """Apply a change of a peer's connection."""
        self.news.append(news)
        (self.away.add if news.away else self.away.discard)(news.peer)

    def __str__(self) -> str:
        return f"{self.member} (node {self.node}, {self.room})"


@dataclass(slots=True)
class Kill:
    """A killed node and the members connected to it."""

    at: float
    node: int
    members: set[str]


@dataclass(frozen=True, slots=True)
class Cut:
    """The time for which a node stood still or was cut off, for less than its lease."""

    node: int
    since: float
    until: float


@dataclass(slots=True)
class Sample:
    """Messages so far, and memory in bytes: pid and RSS by node, and the memory used by Redis (0 if unknown)."""

    at: float
    sent: int = 0
    arrived: int = 0
    nodes: dict[int, tuple[int, int]] = field(default_factory=dict)
    redis: int = 0


@dataclass(slots=True)
class Record:
    """Everything recorded in one run.

    `announce_within`: seconds within which the peers of a killed node must be reported as gone, or None. `data_lost`:
    the Redis server may have lost acknowledged writes, so that only the nodes know them.
    """

    began: float = 0.0
    stays: list[Stay] = field(default_factory=list)
    kills: list[Kill] = field(default_factory=list)
    cuts: list[Cut] = field(default_factory=list)
    announce_within: float | None = None
    data_lost: bool = False
    window: float = 0.0
    """Seconds within which a member must be able to resume."""
    leaked: list[str] = field(default_factory=list)
    """Keys without expiry that remained in Redis."""
    undone: set[str] = field(default_factory=set)
    """Members whose removal by a moderator Redis may have lost, so that they are back."""
    gentle: bool = False
    """Whether nothing happened that may make a session incomplete."""
    bugs: list[str] = field(default_factory=list)
    """Errors in the logs of the nodes."""
    samples: list[Sample] = field(default_factory=list)
    stalled: float = 0.0
    """The longest time, in seconds, that the observing process itself was stalled."""
    timeline: list[str] = field(default_factory=list)

    def observers(self, room: str) -> list[Stay]:
        """Return the observers of a room in the order in which they joined."""
        found = [stay for stay in self.stays if stay.role == "observer" and stay.room == room and stay.joined_at]
        return sorted(found, key=lambda stay: stay.joined_at or 0.0)

    def rooms(self) -> list[str]:
        """Return the names of all rooms."""
        return sorted({stay.room for stay in self.stays})
