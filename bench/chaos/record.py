"""What the observer writes down: every stay of a member in a room, from the member's own side."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Role = Literal["observer", "peer", "churner", "mover", "user"]
"""Observers and movers are sent no signals; a mover comes back again and again under one id; users broadcast."""

EVERYBODY = "*"
"""The target of a broadcast."""


@dataclass(frozen=True, slots=True)
class Event:
    """A coming or going, as a member was told of it; `order` is 0 for who leaves."""

    at: float
    joined: bool
    peer: str
    order: int = 0

    def __str__(self) -> str:
        return f"{'+' if self.joined else '-'}{self.peer}"


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message that a member got: the `number`th of `sender` to `target`, sent and received at these seconds."""

    at: float
    sender: str
    target: str
    number: int
    sent_at: float
    known: bool = True
    """Whether the receiver had been told of its sender, and is the one it was for."""


@dataclass(frozen=True, slots=True)
class News:
    """That a peer had lost its connection, or has one again, as a member was told."""

    at: float
    away: bool
    peer: str


@dataclass(slots=True)
class Link:
    """One of several connections of a stay, to the node with that index."""

    node: int
    dialed_at: float
    since: float = 0.0
    """When the connection before it broke or was given up."""
    received: int = 0
    """The number of the last delivery, as the member said when it came back."""
    entered_at: float | None = None
    resumed: bool = False
    complete: bool = True
    order: int = 0
    """The member's, as it was told when it came back."""
    differs: str = ""
    """How the roster it was told then differs from what it had been told till then, if it said that it is complete."""
    refused: str = ""
    """The code of the error that its join was answered with."""
    runs: list[list[int]] = field(default_factory=list)
    """The numbers of what it brought, as they came: first and last of each run without a gap."""
    ended_at: float | None = None
    closed: str = ""
    expected: bool = False
    """Whether it had to end: the member or its node gave it up."""

    def count(self, number: int) -> None:
        """Note the number of one delivery."""
        if self.runs and number == self.runs[-1][1] + 1:
            self.runs[-1][1] = number
        else:
            self.runs.append([number, number])


@dataclass(slots=True)
class Stay:
    """One member in one room. Times are seconds of one clock.

    It is over one connection, to the node with that index; or, where members come back, over several in turn.
    """

    member: str
    room: str
    node: int
    role: Role = "peer"
    asked_at: float = 0.0
    joined_at: float | None = None
    ended_at: float | None = None
    """When it asked to leave, or its connection ended, or its node was killed."""
    left_at: float | None = None
    """When the server answered that it has left."""
    struck_at: float | None = None
    """When its node was killed or frozen, if it was there then: from here on others may be told that it left."""
    join_error: str = ""
    """The code of the error that its join was answered with."""
    closed: str = ""
    """How the server closed the connection, if the member did not ask for it."""
    first_roster: dict[str, int] = field(default_factory=dict)
    roster: dict[str, int] = field(default_factory=dict)
    """Peers and their order: as told when it joined, and as of now."""
    events: list[Event] = field(default_factory=list)
    sent: dict[str, list[float]] = field(default_factory=dict)
    """By target, when each message was sent; message n is the entry n - 1."""
    acknowledged: dict[str, set[int]] = field(default_factory=dict)
    refused: dict[str, dict[int, str]] = field(default_factory=dict)
    """By target and number: the error's code."""
    arrived: list[Arrival] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    """Its connections, where members come back."""
    news: list[News] = field(default_factory=list)
    away: set[str] = field(default_factory=set)
    """Peers that have no connection now, as told."""
    sent_again: int = 0
    """Messages that were sent again as no answer had come."""
    dropped: int = 0
    """Messages that came again, as was said on them."""
    silent: bool = False
    """Whether it went without a word, so that the server waited for it."""
    gave_up: str = ""
    """Why it could not come back."""

    @property
    def misses(self) -> list[float]:
        """When it was told that it had missed something."""
        return [link.entered_at for link in self.links if link.entered_at is not None and not link.complete]

    @property
    def struck(self) -> bool:
        """Whether its node was killed or frozen while it was there."""
        return self.struck_at is not None

    @property
    def lives(self) -> bool:
        """Whether it is in the room now, and was all the time since it joined."""
        return self.joined_at is not None and self.ended_at is None and not self.struck

    @property
    def present(self) -> bool:
        """Whether it is in the room now, so that others must see it."""
        return self.joined_at is not None and self.ended_at is None

    def expects(self) -> dict[str, set[int]]:
        """By target: the numbers that were accepted. Where the connection has ended, only what was acknowledged."""
        said = self.acknowledged
        if self.ended_at is None:
            said = {target: set(range(1, len(times) + 1)) for target, times in self.sent.items()}
        return {target: numbers - self.refused.get(target, {}).keys() for target, numbers in said.items()}

    def hear(self, event: Event) -> None:
        """Apply what the member was told."""
        self.events.append(event)
        if event.joined:
            self.roster[event.peer] = event.order
        else:
            self.roster.pop(event.peer, None)
        self.away.discard(event.peer)

    def learn(self, news: News) -> None:
        """The same of a peer's connection."""
        self.news.append(news)
        (self.away.add if news.away else self.away.discard)(news.peer)

    def __str__(self) -> str:
        return f"{self.member} (node {self.node}, {self.room})"


@dataclass(slots=True)
class Kill:
    """A node that was killed, and the members that were there."""

    at: float
    node: int
    members: set[str]


@dataclass(slots=True)
class Sample:
    """Messages sent and arrived till then, and memory in bytes: by node its process's id and RSS; 0 for no Redis."""

    at: float
    sent: int = 0
    arrived: int = 0
    nodes: dict[int, tuple[int, int]] = field(default_factory=dict)
    redis: int = 0


@dataclass(slots=True)
class Record:
    """All of one run.

    `announce_within`: how soon a killed node's peers must be seen to leave, or None. `data_lost`: the engine forgot
    what it had acknowledged, so that only the nodes knew it.
    """

    began: float = 0.0
    stays: list[Stay] = field(default_factory=list)
    kills: list[Kill] = field(default_factory=list)
    announce_within: float | None = None
    data_lost: bool = False
    window: float = 0.0
    """Seconds in which a member must be able to come back."""
    leaked: list[str] = field(default_factory=list)
    """Keys without an end that were left in the engine."""
    bugs: list[str] = field(default_factory=list)
    """Errors in the logs of the nodes."""
    samples: list[Sample] = field(default_factory=list)
    stalled: float = 0.0
    """The longest that the observer itself had to wait for its turn, in seconds."""
    timeline: list[str] = field(default_factory=list)

    def observers(self, room: str) -> list[Stay]:
        """Those who were in, the first first."""
        found = [stay for stay in self.stays if stay.role == "observer" and stay.room == room and stay.joined_at]
        return sorted(found, key=lambda stay: stay.joined_at or 0.0)

    def rooms(self) -> list[str]:
        """Their names."""
        return sorted({stay.room for stay in self.stays})
