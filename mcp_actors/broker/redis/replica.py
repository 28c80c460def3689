"""A room as Redis told it to this node, and what this node asks for it: pure, so that each mishap can be tested.

Members come and go here only by what is read from the node's inbox. One request at a time is under way per room, so
that a leave never overtakes its join. What is returned are the events the room is to hear.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from msgspec import structs

from mcp_actors.broker.redis import questions
from mcp_actors.broker.redis.channels import Channels
from mcp_actors.broker.redis.entries import Closed, Gone, Locked, Marked, Moved
from mcp_actors.broker.redis.questions import NOT_BEFORE_ALL_IS_KNOWN, OF_MODERATORS, Ask, Own, Request
from mcp_actors.protocol.errors import ErrorCode
from mcp_actors.protocol.events import (
    BY_MODERATORS,
    ClaimRefused,
    HandedOver,
    JoinRefused,
    Kind,
    LeaveReason,
    MemberJoined,
    MemberLeft,
    MemberMarked,
    MemberMoved,
    Moderated,
    RoomClosed,
    RoomLocked,
    Vacated,
    placed,
)
from mcp_actors.protocol.identifiers import Incarnation, NodeId

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp_actors.broker.redis.entries import Change, Changes, Frame, Snapshot
    from mcp_actors.broker.redis.questions import Question
    from mcp_actors.protocol.events import Event, Member
    from mcp_actors.protocol.identifiers import PeerId, RoomId, UserId

REFUSALS = {b"TAKEN": ErrorCode.PEER_ID_TAKEN, b"FULL": ErrorCode.ROOM_FULL, b"LOCKED": ErrorCode.ROOM_LOCKED}

OWN_GRACE = 1.0
"""Seconds after a restart in which the other nodes announce their members, and will then hear of a leave."""

INFINITY = 2**63
"""Above all versions."""


class Fenced(Exception):
    """Redis refuses this node, which was declared dead."""


class Replica:
    """One room on one node. Times are seconds of any one clock."""

    def __init__(self, room: RoomId, node: NodeId) -> None:
        self.room = room
        self.node = node
        self.version: int | None = None
        """None until a snapshot came."""
        self.members: dict[Incarnation, Member] = {}
        self.own: dict[Incarnation, Own] = {}
        self.channels = Channels()
        self.early: list[tuple[Frame, bytes]] = []
        """Frames of members not yet known, and their places in the inbox, while a snapshot is awaited."""
        self.syncing_since: float | None = None
        self.provisional = False
        """Some members were let in by this node alone."""
        self.lock = 0
        """The version in which the room was locked, or, negative, unlocked."""
        self._epoch = ""
        self._token = ""
        self._tokens = 0
        self._peers: dict[PeerId | UserId, Incarnation] = {}
        self._nodes: dict[NodeId, int] = {}
        self._suspects: dict[Incarnation, float] = {}
        self._departing: set[Incarnation] = set()  # moved away, and not handed over yet: frames for them may come
        self._unseen: dict[Incarnation, LeaveReason] = {}  # leaves not applied, as changes before them are missing
        self._joins_from = 0.0
        self._refused: list[tuple[int, JoinRefused | Moderated]] = []
        self._requests: deque[Request] = deque()
        self._asked: Request | None = None
        self._undeclared: set[NodeId] = set()
        self._rival: NodeId | None = None

    @property
    def idle(self) -> bool:
        """Whether this node has nothing to do with the room any more."""
        return not (self.own or self._departing or self._requests or self._refused) and self._asked is None

    @property
    def unasking(self) -> bool:
        """Whether nothing is to be asked, or was asked and is not answered."""
        return not self._requests and self._asked is None

    @property
    def held(self) -> bool:
        """Whether something is to be asked that cannot be asked now."""
        return bool(self._requests) and self._asked is None

    @property
    def quiet(self) -> bool:
        """Whether nothing here waits for time to pass."""
        if not self.settled or self._suspects or self.held:
            return False
        return all(self._is_here(one) and own.leaving is None for one, own in self.own.items())

    @property
    def resyncing(self) -> bool:
        """Whether the whole room is being asked for."""
        return self._asked == Request(Ask.RESYNC) or Request(Ask.RESYNC) in self._requests

    def overdue(self, before: float) -> bool:
        """Whether something that was to be read has not come since a time: the room, or that a member is in."""
        if self.syncing_since is not None and self.syncing_since < before:
            return True
        return any(own.joined and own.since < before and not self._is_here(one) for one, own in self.own.items())

    def _is_here(self, incarnation: Incarnation) -> bool:
        """Whether a member is known to be in the room, and at this node."""
        member = self.members.get(incarnation)
        return member is not None and member.node == self.node

    def moves_here(self, incarnation: Incarnation) -> int:
        """By which move a member came here from another node, or is to come; 0 if it did not."""
        own = self.own.get(incarnation)
        return own.member.moves if own is not None and own.claimed else 0

    @property
    def settled(self) -> bool:
        """Whether what is known here is what Redis knows, as far as this node can tell."""
        return self.version is not None and self.syncing_since is None

    # --------------------------------------------------------------------------------------------- asked by the room

    def join(self, member: Member, capacity: int, now: float, *, moderator: bool = False) -> None:
        """Ask for a member of this node to be let in."""
        if member.incarnation not in self.own:
            self.own[member.incarnation] = Own(member, capacity, now, moderator=moderator)
            self._requests.append(Request(Ask.JOIN, (member.incarnation,)))

    def claim(self, member: Member, now: float) -> None:
        """Ask for a member of another node to be this node's; `member` is as it will be."""
        if member.incarnation not in self.own:
            self.own[member.incarnation] = Own(member, 0, now, claimed=True)
            self._requests.append(Request(Ask.CLAIM, (member.incarnation,)))

    def leave(self, incarnation: Incarnation, reason: LeaveReason) -> None:
        """Ask for a member of this node to be taken out."""
        own = self.own.get(incarnation)
        if own is not None and own.leaving is None:
            own.leaving = reason
            self._requests.append(Request(Ask.LEAVE, (incarnation,)))

    def moderate(self, by: Incarnation, ask: Ask, whom: str) -> bool:
        """Ask for what a member of this node wants, if it is in the room."""
        if not self._is_here(by):
            return False
        self._requests.append(Request(ask, (by,), whom))
        return True

    def mark(self, incarnation: Incarnation, *, away: bool) -> None:
        """Ask for a member of this node to be known as away, or back."""
        own = self.own.get(incarnation)
        if own is not None and own.leaving is None:
            own.away = away
            self._requests.append(Request(Ask.AWAY if away else Ask.BACK, (incarnation,)))

    def give_up(self, before: float) -> list[Event]:
        """Refuse the joins asked for before a time and not heard of since; should one get in, it leaves at once.

        Claims wait: who asked for one keeps it, so that the session is not lost.
        """
        refused: list[Event] = []
        for incarnation, own in list(self.own.items()):
            if self._is_here(incarnation) or own.claimed or own.since >= before or own.leaving is not None:
                continue
            refused.append(JoinRefused(incarnation, ErrorCode.UNAVAILABLE))
            if own.asked:
                own.refused = True
                self.leave(incarnation, LeaveReason.DISCONNECTED)
            else:
                self._requests.remove(Request(Ask.JOIN, (incarnation,)))
                del self.own[incarnation]
        return refused

    def admit(self, before: float) -> list[Event]:
        """Let in, by this node alone, the joins asked for before a time and not heard of since.

        They are `provisional`: to be made known when Redis is back. An id or an order that is taken there ends them.
        """
        events: list[Event] = []
        for incarnation, own in list(self.own.items()):
            if own.joined or own.claimed or own.since >= before or own.leaving is not None:
                continue
            self._requests = deque(one for one in self._requests if one != Request(Ask.JOIN, (incarnation,)))
            code = self._refusal(own)
            if code is not None:
                del self.own[incarnation]
                events.append(JoinRefused(incarnation, code))
                continue
            self.version = self.version or 0
            self.provisional = True
            orders = [member.order for member in self.members.values() if member.kind is own.member.kind]
            events += self._add(structs.replace(own.member, order=max(orders, default=0) + 1))
        return events

    def part(self) -> list[Event]:
        """Let go, by this node alone, those of its members who asked for it; of others nobody here would know."""
        events: list[Event] = []
        if self._anybody_stays():
            for incarnation, own in list(self.own.items()):
                if own.leaving is not None and incarnation in self.members:
                    self.provisional = True
                    events += self._remove(incarnation, own.leaving)
        return events

    def _refusal(self, own: Own) -> ErrorCode | None:
        member = own.member
        if self.lock > 0 and not own.moderator:
            return ErrorCode.ROOM_LOCKED
        if member.kind is Kind.PEER and member.id in self._peers:
            return ErrorCode.PEER_ID_TAKEN
        present = sum(other.kind is member.kind for other in self.members.values())
        return ErrorCode.ROOM_FULL if present >= own.capacity else None

    # -------------------------------------------------------------------------------------------------- asking Redis

    def ask(self, now: float) -> Question | None:
        """The next question, if none is under way."""
        while self._asked is None and self._requests:
            if self._requests[0].ask in NOT_BEFORE_ALL_IS_KNOWN and now < self._joins_from:
                return None
            request = self._requests.popleft()
            question = self._question(request)
            if question is not None:
                self._asked = request
                return question
        return None

    def _question(self, request: Request) -> Question | None:
        others = {*self._nodes, *self._undeclared} - {self.node}
        nodes = [self.node, *sorted(others)]
        if request.ask is Ask.RESYNC:
            self._tokens += 1
            self._token = str(self._tokens)
            return questions.resync(nodes, self._token, self.lock, self.own, self.members)
        if request.ask is Ask.EXPIRE:
            gone = [self.members[one] for one in request.about if one in self.members]
            return questions.expiry(request, nodes, gone)
        own = self.own.get(request.about[0])
        if own is None:
            return None
        return questions.about_member(request, nodes, own, self._rival, whole=self.version is None)

    def unanswered(self) -> None:
        """The connection broke: what was asked is asked again first, as it may have been done or not."""
        if self._asked is not None:
            self._requests.appendleft(self._asked)
            self._asked = None

    def answered(self, reply: list[bytes], now: float) -> list[Event]:
        """Take the reply to what was asked. Raises `Fenced`."""
        request, self._asked = self._asked, None
        if request is None:
            return []
        word = reply[0]
        if word == b"FENCED":
            self._requests.appendleft(request)
            raise Fenced
        if self._must_ask_again(word, reply[1:], now):
            self._requests.appendleft(request)
            return []
        self._undeclared.clear()
        self._rival = None
        match request.ask:
            case Ask.JOIN:
                self._join_answered(request.about[0], reply, now)
            case Ask.CLAIM:
                return self._claim_answered(request.about[0], reply, now)
            case Ask.LEAVE:
                self._leave_answered(request.about[0], word, now)
            case Ask.RESYNC:
                events = [event for lost in reply[1:] for event in self._displaced(lost.decode())]
                return events + self._vacated()
            case Ask.KICK | Ask.LOCK | Ask.UNLOCK | Ask.CLOSE:
                version, done = int(reply[1]) if reply[1] else 0, word == b"OK"
                self._refused.append((version, Moderated(request.about[0], done=done)))
        return self._refusals() if self._refused else []

    def _must_ask_again(self, word: bytes, rest: list[bytes], now: float) -> bool:
        """Whether Redis wants to be asked once more: later, or with keys it named."""
        match word:
            case b"LATER":
                self._joins_from = now + int(rest[0]) / 1000
            case b"RIVAL":
                self._rival = NodeId(rest[0].decode())
            case b"KEYS":
                self._undeclared.update(NodeId(node.decode()) for node in rest)
            case _:
                return False
        return True

    def failed(self) -> list[Event]:
        """What was asked cannot be done: a join is refused, a leave is done without Redis, all else is let be."""
        request, self._asked = self._asked, None
        if request is None or not request.about:
            return []
        incarnation = request.about[0]
        own = self.own.get(incarnation)
        if request.ask in (Ask.JOIN, Ask.CLAIM) and own is not None:
            del self.own[incarnation]
            return [] if own.refused else [_refusal(incarnation, own)]
        if request.ask in OF_MODERATORS:
            return [Moderated(incarnation, done=False, failed=True)]
        if request.ask is Ask.LEAVE and own is not None:
            self.own.pop(incarnation, None)
            return self._remove(incarnation, own.leaving or LeaveReason.DISCONNECTED) + self._vacated()
        return []

    def _join_answered(self, incarnation: Incarnation, reply: list[bytes], now: float) -> None:
        own = self.own.get(incarnation)
        if own is None:
            return
        code = REFUSALS.get(reply[0])
        if code is None:
            own.joined = True
            own.since = now
            return
        del self.own[incarnation]
        if not own.refused:
            self._refused.append((int(reply[1]), JoinRefused(incarnation, code)))

    def _claim_answered(self, incarnation: Incarnation, reply: list[bytes], now: float) -> list[Event]:
        own = self.own.get(incarnation)
        if own is None:
            return []
        if reply[0] in (b"NOOP", b"OUT"):
            del self.own[incarnation]
            return [_refusal(incarnation, own, LeaveReason(reply[1].decode()) if reply[0] == b"OUT" else None)]
        own.joined = True
        own.since = now
        dead = reply[2:] == [b"0"]
        return [HandedOver(incarnation, b"")] if dead else []

    def _refusals(self) -> list[Event]:
        """The refusals whose reason is known here: a reply may be faster than what was written to the inbox before."""
        awaited = any(own.joined and one not in self.members for one, own in self.own.items())
        known = self.version or (0 if awaited else INFINITY)
        told = [refusal for version, refusal in self._refused if version <= known]
        self._refused = [one for one in self._refused if one[0] > known]
        return list(told)

    def _leave_answered(self, incarnation: Incarnation, word: bytes, now: float) -> None:
        own = self.own.get(incarnation)
        if own is None:
            return
        if self.version is None and own.abandoned:
            del self.own[incarnation]  # nothing of the room is applied here, this leave neither
        elif word == b"NOOP":
            # Redis has lost it, so that no change may come that says so; or its join and leave are on their way, and it
            # must not be asked in again, unless they are overdue.
            self._resync_again(now)

    def _displaced(self, lost: str) -> list[Event]:
        """Another has the place of a member of this node; or a moderator put it out, as is said then behind a space."""
        incarnation, _, how = lost.partition(" ")
        return self._remove(Incarnation(incarnation), LeaveReason(how or LeaveReason.NODE_LOST))

    # -------------------------------------------------------------------------------------------- read from the inbox

    def changed(self, news: Changes, now: float, at: Callable[[int], bytes] = lambda _index: b"") -> list[Event]:
        """Apply changes, if they are the next; ask for the whole room if some are missing.

        `at`: the place of a change, by its index.
        """
        if self.version is None or news.version <= self.version:
            return []
        if news.after != self.version:
            self._unseen |= {gone.incarnation: gone.reason for gone in news.changes if isinstance(gone, Gone)}
            self.resync(now)
            return []
        self.version = news.version
        events: list[Event] = []
        for index, change in enumerate(news.changes):
            events += [placed(event, at(index)) for event in self._applied(change)]
        return events + self._refusals() + self._vacated()

    def _applied(self, change: Change) -> list[Event]:
        match change:
            case Gone():
                return self._remove(change.incarnation, change.reason)
            case Marked():
                return self._mark(change.incarnation, away=change.away)
            case Moved():
                return self._move(change.incarnation, change.node, change.moves, change.silent)
            case Locked():
                return self._lock(self.version or 0, change.by, locked=change.locked)
            case Closed():
                return self._close(change.by)
            case _:
                return self._add(change)

    def _lock(self, version: int, by: Incarnation | None = None, *, locked: bool) -> list[Event]:
        news = by is not None or locked is not (self.lock > 0)
        self.lock = version if locked else -version
        return [RoomLocked(self.version or 0, locked, by)] if news else []

    def _close(self, by: Incarnation) -> list[Event]:
        """All have left; one event stands for that."""
        gone = [event for one in list(self.members) for event in self._remove(one, LeaveReason.ROOM_CLOSED)]
        refused = [event for event in gone if isinstance(event, ClaimRefused)]
        return [*refused, RoomClosed(self.version or 0, by)]

    def told(self, whole: Snapshot, now: float, suspect_until: float, at: bytes = b"") -> list[Event]:
        """Take the room as a whole, and say what is different.

        A member that is missing has left, unless Redis lost its data since: then its node has until `suspect_until` to
        announce it again, and should it not, all nodes learn of its leave at once. One of this node is announced again.
        `at`: the place of the whole.
        """
        another = whole.token == self._token and whole.epoch != self._epoch  # whose clock may be behind
        if self.version is not None and whole.version < self.version and not another:
            return []
        if whole.token == self._token:
            self.syncing_since = None
            self.provisional = False
        if self.version is None and not any(member.incarnation in self.own for member in whole.members):
            if any(own.joined and own.leaving is None for own in self.own.values()):
                self.resync(now)
            return []
        lost_data = bool(self._epoch) and self._epoch != whole.epoch
        self.version, self._epoch = whole.version, whole.epoch
        present = {member.incarnation: member for member in whole.members}
        events = self._lock(abs(whole.lock), locked=whole.lock > 0)
        for incarnation in [one for one in self.members if one not in present]:
            events += self._missing(incarnation, now, suspect_until, lost_data=lost_data)
        newcomers = [member for member in whole.members if member.incarnation not in self.members]
        newcomers.sort(key=lambda member: (member.node == self.node, member.order))
        for member in present.values():
            self._confirm(member)
            events += self._move(member.incarnation, member.node, member.moves)
            own = self.own.get(member.incarnation)
            if own is None:
                events += self._mark(member.incarnation, away=member.away)
            elif own.away is not member.away:  # this node knows better
                self.mark(member.incarnation, away=own.away)
        arrivals = [event for member in newcomers for event in self._add(member)]
        events += sorted(arrivals, key=_is_move)  # who moves here need not be told of others who do: it knows them
        self._unseen.clear()
        return [placed(event, at) for event in events] + self._refusals() + self._vacated()

    def _missing(self, incarnation: Incarnation, now: float, suspect_until: float, *, lost_data: bool) -> list[Event]:
        if incarnation in self._unseen:
            return self._remove(incarnation, self._unseen[incarnation])
        own = self.own.get(incarnation)
        if own is not None and own.leaving is None:
            self.resync(now)
            return []
        if own is not None and not self._anybody_stays():
            return self._remove(incarnation, own.leaving or LeaveReason.DISCONNECTED)
        if lost_data or incarnation in self._suspects:
            until = suspect_until if own is None else min(suspect_until, now + OWN_GRACE)
            self._suspects.setdefault(incarnation, until)
            return []
        return self._remove(incarnation, LeaveReason.DISCONNECTED)

    def _anybody_stays(self) -> bool:
        """Whether this node goes on hearing of the room, so that it may learn of a leave when all others do."""
        return any(own.joined and own.leaving is None for own in self.own.values())

    def _add(self, member: Member) -> list[Event]:
        own = self.own.get(member.incarnation) if member.node == self.node else None  # else it is only claimed
        if own is not None:
            own.joined = True
        if member.incarnation in self.members:
            self._confirm(member)
            return []
        events: list[Event] = []
        if member.kind is Kind.PEER:
            rival = self._peers.get(member.id)
            if rival is not None:
                events += self._remove(rival, LeaveReason.NODE_LOST)
            self._peers[member.id] = member.incarnation
        if own is not None and not own.claimed:
            # with the metadata that is there already, not a second copy
            member = structs.replace(own.member, order=member.order, away=member.away)
        self.members[member.incarnation] = member
        self._nodes[member.node] = self._nodes.get(member.node, 0) + 1
        if own is None or not own.refused:
            events.append(MemberJoined(self.version or 0, member))
        if own is not None and own.claimed:  # the others knew it before
            events.append(self._moved(member, own.old or member.node, others=tuple(self._nodes)))
        return events

    def _move(self, incarnation: Incarnation, node: NodeId, moves: int, silent: tuple[NodeId, ...] = ()) -> list[Event]:
        member = self.members.get(incarnation)
        if member is None or moves <= member.moves:
            return []
        others = tuple(one for one in self._nodes if one not in silent)
        self._count_node(member.node, -1)
        self._count_node(node, 1)
        self.members[incarnation] = moved = structs.replace(member, node=node, moves=moves)
        if node == self.node and incarnation not in self.own:
            own = self.own[incarnation] = Own(moved, 0, 0.0, claimed=True)  # it was given up; nobody waits for it here
            own.joined = True
            self.leave(incarnation, LeaveReason.DISCONNECTED)
        if member.node == self.node and node != self.node:
            gone = self.own.pop(incarnation, None)
            if gone is not None and gone.leaving is None:  # else nobody here waits for what comes for it
                self._departing.add(incarnation)
        return [self._moved(moved, member.node, others)]

    def _moved(self, member: Member, old: NodeId, others: tuple[NodeId, ...]) -> MemberMoved:
        own = self.own.get(member.incarnation)
        if own is not None:
            own.joined = True
            if member.away and not own.away:
                self.mark(member.incarnation, away=False)
        return MemberMoved(self.version or 0, member.incarnation, old, member.node, member.moves, others)

    def departed(self, incarnation: Incarnation) -> list[Event]:
        """A member that moved away was handed over."""
        self._departing.discard(incarnation)
        return self._vacated()

    def _count_node(self, node: NodeId, by: int) -> None:
        self._nodes[node] = self._nodes.get(node, 0) + by
        if self._nodes[node] <= 0:
            del self._nodes[node]

    def _mark(self, incarnation: Incarnation, *, away: bool) -> list[Event]:
        member = self.members.get(incarnation)
        if member is None or member.away is away:
            return []
        self.members[incarnation] = structs.replace(member, away=away)
        return [MemberMarked(self.version or 0, incarnation, away)]

    def _confirm(self, member: Member) -> None:
        """A member is there, as known; one that was told another order of itself has to join again."""
        self._suspects.pop(member.incarnation, None)
        known = self.members.get(member.incarnation)
        if known is not None and known.order != member.order and known.node == self.node:
            self.leave(member.incarnation, LeaveReason.DISCONNECTED)

    def _remove(self, incarnation: Incarnation, reason: LeaveReason) -> list[Event]:
        member = self.members.pop(incarnation, None)
        if member is None:
            return []
        self._suspects.pop(incarnation, None)
        self._departing.discard(incarnation)
        own = self.own.pop(incarnation, None)
        if member.kind is Kind.PEER and self._peers.get(member.id) == incarnation:
            del self._peers[member.id]
        self._count_node(member.node, -1)
        left = MemberLeft(self.version or 0, incarnation, reason)
        if own is None:
            return [left]
        if own.claimed and member.node != self.node:  # the claim comes too late
            return [ClaimRefused(incarnation, reason if reason in BY_MODERATORS else None), left]
        events: list[Event] = [] if own.refused else [left]
        if self._asked == Request(Ask.JOIN, (incarnation,)):
            self._keep_out(own, reason)
        return events

    def _keep_out(self, own: Own, reason: LeaveReason) -> None:
        """Have a member leave again that has left and is being asked in again: what told of it came late."""
        own.joined, own.refused, own.leaving = False, True, None
        incarnation = own.member.incarnation
        self._requests = deque(one for one in self._requests if incarnation not in one.about)
        self.own[incarnation] = own
        self.leave(incarnation, reason)

    def _vacated(self) -> list[Event]:
        """Forget all if this node has no member in the room: it hears no more of it."""
        if self.version is None or self._departing or self.node in self._nodes:
            return []
        self._begin_anew()
        late, self._refused = self._refused, []
        return [Vacated(), *(refusal for _, refusal in late)]

    def _begin_anew(self) -> None:
        self.version = None
        self.members.clear()
        self._peers.clear()
        self._nodes.clear()
        self._suspects.clear()
        self._departing.clear()
        self._unseen.clear()
        self.channels = Channels()
        self.syncing_since = None
        self.provisional = False
        self.lock = 0
        self._epoch = ""

    # ------------------------------------------------------------------------------------------------------- mishaps

    def resync(self, now: float) -> None:
        """Ask for the whole room, once."""
        if self.syncing_since is None:
            self.syncing_since = now
            self._requests.appendleft(Request(Ask.RESYNC))

    def resync_anew(self, now: float) -> None:
        """Ask for the whole room, whatever was asked before: the server is another, or lost its data, or is late."""
        self._ask_again()
        self._resync_again(now)

    def _resync_again(self, now: float) -> None:
        self._requests = deque(request for request in self._requests if request.ask is not Ask.RESYNC)
        if self.version is not None:
            self.syncing_since = None
            self.resync(now)

    def doubt(self) -> None:
        """The data are gone, though the server is the same: who is missing now may only have been forgotten."""
        self._epoch = "another"

    def _ask_again(self) -> None:
        """Ask again for those who were let in and not heard of since: what would have told of them may be lost."""
        for incarnation, own in self.own.items():
            if own.joined and not self._is_here(incarnation):
                own.joined = False
                self._requests = deque(one for one in self._requests if incarnation not in one.about)
                self._requests.append(Request(Ask.CLAIM if own.claimed else Ask.JOIN, (incarnation,)))
                if own.leaving is not None:
                    self._requests.append(Request(Ask.LEAVE, (incarnation,)))

    def expire(self, now: float, again: float) -> None:
        """Ask for the suspects whose time is over to be declared gone; until `again` that is asked once."""
        due = tuple(one for one, until in self._suspects.items() if until <= now)
        if due:
            self._suspects |= dict.fromkeys(due, again)
            self._requests.append(Request(Ask.EXPIRE, due))

    def extend_suspicion(self, now: float, until: float) -> None:
        """Give the suspects' nodes time from now: Redis was away. That its own have left a node knows itself."""
        own = min(until, now + OWN_GRACE)
        self._suspects = {one: own if one in self.own else until for one in self._suspects}

    def lost(self) -> list[Event]:
        """This node was declared dead: the others have been told that its members left. Joins under way go on."""
        events: list[Event] = []
        for incarnation in [one for one in self.own if self._is_here(one)]:
            events += self._remove(incarnation, LeaveReason.NODE_LOST)
        self._departing.clear()
        events += self._vacated()
        events += [refusal for _, refusal in self._refused]
        self._refused.clear()
        self._begin_anew()
        self._requests.clear()
        for own in self.own.values():
            own.joined = True
        self._ask_again()
        return events

    def abandon(self) -> None:
        """The room failed: its members leave, and whoever joins it anew is told all of it."""
        for incarnation, own in self.own.items():
            own.abandoned = True
            self.leave(incarnation, LeaveReason.DISCONNECTED)
        self._begin_anew()


def _is_move(event: Event) -> bool:
    return isinstance(event, MemberMoved)


def _refusal(incarnation: Incarnation, own: Own, reason: LeaveReason | None = None) -> Event:
    return ClaimRefused(incarnation, reason) if own.claimed else JoinRefused(incarnation, ErrorCode.UNAVAILABLE)
