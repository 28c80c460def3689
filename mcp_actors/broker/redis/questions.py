"""What can be asked of Redis about a room, and how: each question is a script with its arguments.

`Own` is what a node knows of a member of its own beyond what all know of it: how far its join, move or leave is.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from mcp_actors.broker.redis.entries import field_of, member_text, user_text
from mcp_actors.broker.redis.scripts import CLAIM, CLOSE, EXPIRE, JOIN, KICK, LEAVE, LOCK, MARK, RESYNC
from mcp_actors.protocol.events import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mcp_actors.broker.redis.scripts import Script
    from mcp_actors.protocol.events import LeaveReason, Member
    from mcp_actors.protocol.identifiers import Incarnation, NodeId

Argument = str | bytes | int


class Ask(Enum):
    """What can be asked of Redis about a room."""

    JOIN = auto()
    CLAIM = auto()
    LEAVE = auto()
    AWAY = auto()
    BACK = auto()
    KICK = auto()
    LOCK = auto()
    UNLOCK = auto()
    CLOSE = auto()
    RESYNC = auto()
    EXPIRE = auto()


OF_MODERATORS = (Ask.KICK, Ask.LOCK, Ask.UNLOCK, Ask.CLOSE)

NOT_BEFORE_ALL_IS_KNOWN = (Ask.JOIN, Ask.KICK, Ask.CLOSE)
"""What waits, after a restart of Redis, until all nodes have announced their members."""


class Request(NamedTuple):
    """One request; `about` is whom a join, a leave or an expiry is about, or the moderator who asks.

    `whom`: whom to kick, as "p" or "u" and an id.
    """

    ask: Ask
    about: tuple[Incarnation, ...] = ()
    whom: str = ""


class Question(NamedTuple):
    """A request as Redis is asked it: a script, the nodes whose inboxes it may write to, and its own arguments.

    `rival`: the node of a peer that is away, whose place a join takes, or that of a member that is claimed.
    """

    request: Request
    script: Script
    nodes: list[NodeId]
    arguments: list[Argument]
    rival: NodeId | None = None


class Own:
    """A member of this node: what it was asked in with, and how far that is.

    `claimed`: it was at another node, and this one asked for it. `moderator`: it gets in though the room is locked.
    """

    __slots__ = (
        *("abandoned", "asked", "away", "capacity", "claimed", "joined"),
        *("leaving", "member", "moderator", "old", "refused", "since"),
    )

    def __init__(
        self, member: Member, capacity: int, since: float, *, claimed: bool = False, moderator: bool = False
    ) -> None:
        self.member = member
        self.capacity = capacity
        self.moderator = moderator
        self.since = since
        self.claimed = claimed
        self.old: NodeId | None = None
        """Where it was, if it was claimed."""
        self.asked = False
        """Redis was asked for it: it may be there, though no reply says so."""
        self.away = False
        self.abandoned = False
        """Its room failed, and nobody waits to hear of it."""
        self.joined = False
        """Redis let it in, once: should Redis forget it, it is announced again."""
        self.leaving: LeaveReason | None = None
        self.refused = False
        """Its room was told that it did not get in, or left. Should it get in after all, the room hears nothing."""


def resync(
    nodes: list[NodeId], token: str, lock: int, own: Mapping[Incarnation, Own], known: Mapping[Incarnation, Member]
) -> Question:
    """Ask for the whole room: announce this node's members, as they are known, and how the room was locked.

    `token`: comes back with the answer.
    """
    announced = [part for incarnation, one in own.items() for part in _announced(incarnation, one, known)]
    return Question(Request(Ask.RESYNC), RESYNC, nodes, [token, lock, *announced])


def _announced(incarnation: Incarnation, own: Own, members: Mapping[Incarnation, Member]) -> Iterator[Argument]:
    known = members.get(incarnation, own.member)
    to_be = own.joined and own.leaving is None
    kind = "p" if known.kind is Kind.PEER else "u"
    away, state = "1" if own.away else "0", "in" if to_be else "if"
    moves = max(known.moves, own.member.moves) if own.joined else known.moves
    yield from (field_of(known), incarnation, kind, known.order, member_text(known), away, moves, state)


def expiry(request: Request, nodes: list[NodeId], gone: Iterable[Member]) -> Question | None:
    """Ask for members of other nodes to be declared gone; None where there are none."""
    pairs = [part for one in gone for part in (field_of(one), one.incarnation)]
    return Question(request, EXPIRE, nodes, [*pairs]) if pairs else None


def about_member(request: Request, nodes: list[NodeId], own: Own, rival: NodeId | None, *, whole: bool) -> Question:
    """Ask for something about a member of this node, or as a moderator that it is.

    `whole`: whether this node is to be told all of the room, of which it knows nothing yet.
    """
    member = own.member
    who: list[Argument] = [field_of(member), member.incarnation]
    all_of_it = "1" if whole else ""
    match request.ask:
        case Ask.JOIN:
            own.asked = True
            how: list[Argument] = [
                member_text(member),
                own.capacity,
                all_of_it,
                rival or "",
                "1" if own.moderator else "",
            ]
            return Question(request, JOIN, nodes, [*who, *how], rival)
        case Ask.CLAIM:
            own.asked = True
            own.old = rival or own.old
            return Question(request, CLAIM, nodes, [*who, member.moves, all_of_it, rival or ""], rival)
        case Ask.LEAVE:
            return Question(request, LEAVE, nodes, [*who, str(own.leaving)])
        case Ask.KICK:
            whom = (request.whom, "") if request.whom[0] == "p" else ("", user_text(request.whom[1:]))
            return Question(request, KICK, nodes, [*who, *whom])
        case Ask.CLOSE:
            return Question(request, CLOSE, nodes, who)
        case Ask.LOCK | Ask.UNLOCK:
            return Question(request, LOCK, nodes, [*who, "1" if request.ask is Ask.LOCK else "0"])
        case _:
            return Question(request, MARK, nodes, [*who, "1" if request.ask is Ask.AWAY else "0"])
