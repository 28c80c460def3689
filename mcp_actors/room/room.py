"""The rules of a room: an event or a message in, effects out.

Membership changes only when the broker says so (`heard`); what a member asked for meanwhile is remembered as pending.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

from msgspec import UNSET, structs

from mcp_actors.protocol import messages as wire
from mcp_actors.protocol.codec import encode, error_frame, located, offer_stamp, sender_stamp, stamp
from mcp_actors.protocol.errors import (
    BadMessage,
    ErrorCode,
    NotInRoom,
    PeerIdTaken,
    PeerNotFound,
    RoomFull,
    RoomLocked,
    SignalingError,
    StaleNegotiation,
    Unavailable,
)
from mcp_actors.protocol.events import Kind, LeaveReason, Member, MemberJoined, MemberLeft, Step
from mcp_actors.protocol.handover import MemberState, Offers, Pending
from mcp_actors.protocol.identifiers import PeerId, UserId, shown
from mcp_actors.room import moderation
from mcp_actors.room.effects import Publish, Relay, Send
from mcp_actors.room.moderation import Moderation
from mcp_actors.room.moves import Moves
from mcp_actors.room.negotiation import Negotiations
from mcp_actors.room.roster import Roster

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mcp_actors.protocol import events
    from mcp_actors.protocol.events import (
        Announced,
        JoinRefused,
        MemberMarked,
        MemberMoved,
        Missed,
        Moderated,
        Receipt,
        Signalled,
        Switched,
    )
    from mcp_actors.protocol.identifiers import Incarnation, NodeId, RequestId, RoomId


class Greeting(NamedTuple):
    """What the reply to a join says beside the room: the request, ICE servers, and the session.

    `resume` is the token to come back with, empty where there is none; `resumed` says that the client came back, and
    `complete` whether it has or gets every frame that was for it.
    """

    request_id: RequestId | None = None
    ice_servers: Sequence[dict[str, Any]] = ()
    resume: str = ""
    resumed: bool = False
    complete: bool = False

    def session(self) -> dict[str, Any]:
        """What it says of the session."""
        if not self.resume:
            return {}
        found: dict[str, Any] = {"resume": self.resume, "resumed": self.resumed}
        return found | {"complete": self.complete} if self.resumed else found


class Entry(NamedTuple):
    """A join under way: who asked, what its reply says beside the room, and whether it wants to know who is away."""

    member: Member
    greeting: Greeting
    presence: bool = False


class Departure(NamedTuple):
    """A leave under way; `replied` if the leaver waits for an answer."""

    request_id: RequestId | None
    replied: bool


class Unanswered(NamedTuple):
    """A message with an `id` that went to other nodes: who is answered, and whose receipts are awaited for that.

    `room` and `id` are the message's, `target` is the peer it is for, None for one to all users.
    """

    sender: Incarnation
    room: RoomId
    id: RequestId
    target: PeerId | None
    awaited: set[Incarnation]
    step: Step | None


class Room:
    """One room as this node sees it: its roster, and what its members may do.

    Of the roster, those are *here* who entered on this node. `max_unanswered`: messages with an `id` that may wait for
    receipts of other nodes.
    """

    __slots__ = (
        "_capacity",
        "_claimed",
        "_entering",
        "_here",
        "_leaving",
        "_max_unanswered",
        "_moderation",
        "_moves",
        "_negotiations",
        "_ticket",
        "_unanswered",
        "_watching",
        "id",
        "locked",
        "roster",
        "version",
    )

    def __init__(self, room_id: RoomId, capacity: int, max_unanswered: int) -> None:
        self.id = room_id
        self.roster = Roster()
        self.version = 0
        self.locked = False
        self._capacity = capacity
        self._max_unanswered = max_unanswered
        self._entering: dict[Incarnation, Entry] = {}
        self._leaving: dict[Incarnation, Departure] = {}
        self._here: dict[Incarnation, bytes] = {}  # with the stamp of each
        self._claimed: frozenset[tuple[Incarnation, int]] = frozenset()  # who is to move here, and by which move
        self._moves: Moves | None = None  # most rooms never need it, nor these:
        self._moderation: Moderation | None = None
        self._unanswered: dict[tuple[Incarnation, int], Unanswered] | None = None  # by sender and ticket
        self._watching: frozenset[Incarnation] = frozenset()  # who wants to know who is away
        self._ticket = 0
        self._negotiations: Negotiations | None = None

    @property
    def empty(self) -> bool:
        """Whether nobody is here and nobody is on the way in."""
        return not (self._here or self._entering or self._claimed or (self._moves and self._moves.departing))

    # ------------------------------------------------------------------------------------------------------ membership

    def enter(self, entry: Entry) -> None:
        """Remember a join that the broker is being asked for."""
        self._entering[entry.member.incarnation] = entry

    def leave(self, incarnation: Incarnation, departure: Departure) -> bool:
        """Remember a leave that the broker is to be asked for; False if there is nothing to ask.

        From here on the leaver is found by nobody, though the others hear of it only when the broker says so.
        """
        if incarnation in self._leaving or (incarnation not in self.roster and incarnation not in self._entering):
            return False
        self._leaving[incarnation] = departure
        return True

    def heard(self, event: MemberJoined | MemberLeft) -> list[Send]:
        """Apply what the broker says, and say who is to hear of it."""
        self.version = event.version
        if isinstance(event, MemberJoined):
            return self._joined(event.member, event.at)
        return self._left(event)

    # ------------------------------------------------------------------------------------------------------- moderation

    def moderate(self, by: Incarnation, request: wire.Moderation) -> bool:
        """Remember what the broker is to be asked for a moderator; False for what is sent again and under way.

        Raises `NotInRoom`, `PeerNotFound` and `Unavailable`.
        """
        self._present(by)
        self._moderation = self._moderation or Moderation()
        return self._moderation.ask(by, request, self.roster)

    def lock(self, event: events.RoomLocked) -> list[Send]:
        """Tell all who are here that the room is locked or unlocked, if that is news."""
        self.version = event.version
        if self.locked is event.locked:
            return []
        self.locked = event.locked
        return self._tell_moderated(event, lambda one: moderation.locked(self.id, one, locked=event.locked))

    def close(self, event: events.RoomClosed) -> list[Send]:
        """Tell all who are here that the room is closed; nobody is in it any more."""
        sends = self._tell_moderated(event, lambda one: moderation.closed(self.id, one))
        self.version = event.version
        self._here = {}
        self._leaving = {one: departure for one, departure in self._leaving.items() if one in self._entering}
        self._unanswered = self._moderation = None
        self._watching = frozenset()
        self.vacated()
        return sends

    def moderated(self, event: Moderated) -> list[Send]:
        """Answer a moderator who was not yet. Raises `PeerNotFound` and `Unavailable`."""
        asked = self._moderation.take(event.by) if self._moderation else None
        if asked is None:
            return []
        answer = moderation.outcome(self.id, asked, event)
        return [] if answer is None or event.by not in self._here else [Send((event.by,), encode(answer))]

    def _tell_moderated(
        self,
        event: events.RoomLocked | events.RoomClosed,
        say: Callable[[RequestId | None], wire.ServerMessage],
    ) -> list[Send]:
        """Tell all who are here, and let who asked know that by the `id` of its request."""
        request_id = self._moderation.answered(event.by) if self._moderation else None
        asker = event.by if request_id is not None and event.by in self._here else None
        sends = self._tell([one for one in self._here if one != asker], say(None), event.at)
        return sends if asker is None else [*sends, *self._tell([asker], say(request_id), event.at)]

    def _kicked(self, member: Member, event: MemberLeft, departure: Departure | None) -> list[Send]:
        """Tell a member of this node that it was kicked; not one that is told that it has left, as it wanted."""
        if departure is not None and departure.replied:
            return []
        request_id = self._moderation.kicks_itself(member) if self._moderation else None
        return self._tell([member.incarnation], moderation.kicked(self.id, member, request_id), event.at)

    # ------------------------------------------------------------------------------------------------------------ moves

    def claim(self, incarnation: Incarnation, moves: int) -> None:
        """Remember that a member of another node is to be here: the broker is being asked for that move of it."""
        self._claimed |= {(incarnation, moves)}

    def give_up_claim(self, incarnation: Incarnation) -> None:
        """The broker did not give it."""
        self._claimed = frozenset(one for one in self._claimed if one[0] != incarnation)

    def is_here(self, incarnation: Incarnation) -> bool:
        """Whether a member's session is at this node."""
        return incarnation in self._here

    def moved(self, event: MemberMoved) -> None:
        """Note at which node the session of a member goes on. Nobody is told: it is in the room as before."""
        self.version = event.version
        incarnation = event.incarnation
        member = self.roster.move(incarnation, event.node, event.moves)
        if member is None:
            return
        self._moves = self._moves or Moves()
        if (incarnation, event.moves) in self._claimed:
            self.give_up_claim(incarnation)
            self._here[incarnation] = sender_stamp(member.id)
            self._moves.arrive(event)
        elif incarnation in self._here:
            del self._here[incarnation]
            self._leaving.pop(incarnation, None)  # it came too late
            self._moves.leave(event, watching=incarnation in self._watching)
            self._watching -= {incarnation}

    def switched(self, event: Switched) -> None:
        """Another node has heard of a move."""
        if self._moves:
            self._moves.switched(event.incarnation, event.node, event.moves)

    def is_complete(self, incarnation: Incarnation) -> bool:
        """Whether nothing more comes for a member that was here, and goes on elsewhere."""
        return self._moves is not None and self._moves.is_complete(incarnation)

    def depart(self, incarnation: Incarnation) -> MemberState:
        """Let go of a member that goes on elsewhere, and return what is known of it."""
        departing = self._moves.departing.pop(incarnation, None) if self._moves else None
        offers = self._negotiations.of(incarnation) if self._negotiations else []
        pending: list[Pending] = []
        for key, one in list((self._unanswered or {}).items()):
            if one.sender == incarnation:
                pending.append(Pending(key[1], one.id, one.target, list(one.awaited), one.step))
                self.forget_receipts(*key)
        watching = incarnation in self._watching or (departing is not None and departing.watching)
        return MemberState(watching, [Offers(*offer) for offer in offers], pending)

    def adopt(self, incarnation: Incarnation, state: MemberState) -> list[Send]:
        """Take what another node knew of a member that is here now."""
        if incarnation not in self._here:
            return []
        if state.watching:
            self._watching |= {incarnation}
        for offers in state.offers:
            self._learn(incarnation, offers)
        sends: list[Send] = []
        for one in state.pending:
            sends += self._adopt_pending(incarnation, one)
        for receipt in self._moves.receipts.pop(incarnation, ()) if self._moves else ():
            sends += self.receipt(receipt)
        return sends

    def _learn(self, incarnation: Incarnation, offers: Offers) -> None:
        if offers.other not in self.roster:
            return
        negotiations = self._negotiations = self._negotiations or Negotiations()
        own, others = negotiations.latest(incarnation, offers.other)
        if offers.own > own:
            negotiations.learned(incarnation, offers.other, offers.own)
        if offers.others > others:
            negotiations.learned(offers.other, incarnation, offers.others)

    def _adopt_pending(self, incarnation: Incarnation, one: Pending) -> list[Send]:
        self._unanswered = self._unanswered or {}
        self._ticket = max(self._ticket, one.ticket)
        awaited = set(one.awaited)
        self._unanswered[incarnation, one.ticket] = Unanswered(
            incarnation, self.id, one.id, one.target, awaited, one.step
        )
        sends: list[Send] = []
        for gone in [other for other in one.awaited if other not in self.roster]:
            sends += self._gone(gone)
        return sends

    def vacated(self) -> None:
        """Forget those on other nodes: with nobody here, this node hears no more of them."""
        self.roster = Roster()
        self.locked = False
        self._negotiations = None
        self._moves = None

    def refused(self, event: JoinRefused) -> SignalingError | None:
        """Forget a join the broker refused; the error is for whoever asked, if anybody still does."""
        entry = self._entering.pop(event.incarnation, None)
        if entry is None:
            return None
        self._leaving.pop(event.incarnation, None)
        return self._refusal(event.code, entry.member).about(self.id, entry.greeting.request_id)

    def _refusal(self, code: ErrorCode, member: Member) -> SignalingError:
        match code:
            case ErrorCode.PEER_ID_TAKEN:
                return PeerIdTaken(f"Peer id {shown(member.id)} is in use in this room; join under another one.")
            case ErrorCode.ROOM_FULL:
                text = f"The room is full: it holds {self._capacity} {member.kind}s."
                return RoomFull(text, limit=self._capacity)
            case ErrorCode.ROOM_LOCKED:
                return RoomLocked("The room is locked; a moderator can unlock it.")
        return Unavailable("The room cannot be joined now; try again.")

    def _joined(self, member: Member, at: bytes) -> list[Send]:
        if member.incarnation in self.roster:
            return []
        self.roster.add(member)
        sends = self._tell(self._audience(member), self._arrival(member), at)
        entry = self._entering.pop(member.incarnation, None)
        if entry is not None:
            self._here[member.incarnation] = sender_stamp(member.id)
            if entry.presence:
                self._watching |= {member.incarnation}
            sends.insert(0, Send((member.incarnation,), self._welcome(member, entry.greeting, at)))
        return sends

    def returned(self, incarnation: Incarnation, greeting: Greeting, at: bytes = b"") -> list[Send]:
        """Welcome a member that came back, who was here all the time. `at`: the last place, see `Signalled`."""
        member = self.roster.member(incarnation)
        if member is None or incarnation not in self._here:
            return []
        return [Send((incarnation,), self._welcome(member, greeting, at))]

    def marked(self, event: MemberMarked) -> list[Send]:
        """Note that a member is away or back, and tell those who want to know; users are told nothing of users."""
        self.version = event.version
        member = self.roster.mark(event.incarnation, away=event.away)
        if member is None or member.kind is Kind.USER or not self._watching:
            return []
        news = self._presence(PeerId(member.id), away=event.away)
        return self._tell([one for one in self._watching if one != event.incarnation], news, event.at)

    def _presence(self, peer: PeerId, *, away: bool) -> wire.ServerMessage:
        kind = wire.PeerAway if away else wire.PeerBack
        return kind(room=self.id, payload=wire.LeftPayload(peer))

    def missed(self, incarnation: Incarnation, news: Missed) -> bytes | None:
        """News for a member that was not told of it at the node that it was at; None if it need not be."""
        if news.locked is not None:
            return encode(moderation.locked(self.id, locked=news.locked))
        if news.member is not None:
            return encode(wire.PeerJoined(room=self.id, payload=_peer_entry(news.member)))
        if news.reason is not None:
            return encode(wire.PeerLeft(room=self.id, payload=wire.PeerLeftPayload(news.peer, news.reason)))
        return encode(self._presence(news.peer, away=news.away)) if incarnation in self._watching else None

    def _left(self, event: MemberLeft) -> list[Send]:
        member = self.roster.remove(event.incarnation)
        departure = self._leaving.pop(event.incarnation, None)
        if member is None:
            return []
        was_here = self._here.pop(event.incarnation, None) is not None
        if self._moves:
            self._moves.forget(event.incarnation)
        if event.incarnation in self._watching:
            self._watching -= {event.incarnation}
        sends = self._tell(self._audience(member), self._farewell(member, event), event.at)
        if event.reason is LeaveReason.KICKED and was_here:
            sends += self._kicked(member, event, departure)
        if self._moderation:
            self._note_gone(member, event)
        if self._unanswered:
            sends += self._gone(event.incarnation)
        if self._negotiations and member.kind is Kind.PEER:
            self._negotiations.forget(event.incarnation, (peer.incarnation for peer in self.roster.peers()))
            self._negotiations = self._negotiations or None
        if departure is not None and departure.replied:
            sends.insert(0, Send((member.incarnation,), encode(self._goodbye(member, departure))))
        return sends

    def _note_gone(self, member: Member, event: MemberLeft) -> None:
        moderators = cast("Moderation", self._moderation)
        if event.reason is LeaveReason.KICKED:
            moderators.kicked(member)
        moderators.take(member.incarnation)
        self._moderation = moderators or None

    @staticmethod
    def _tell(to: list[Incarnation], news: wire.ServerMessage | None, at: bytes) -> list[Send]:
        return [Send(to, located(encode(news), at))] if to and news is not None else []

    def _audience(self, member: Member) -> list[Incarnation]:
        """Who hears of a member's coming and going: of peers everybody here, of users the users."""
        if member.kind is Kind.PEER:
            return [one for one in self._here if one != member.incarnation]
        return [one for one in self._users_here() if one != member.incarnation]

    def _users_here(self) -> list[Incarnation]:
        kind_of = self.roster.kind
        return [one for one in self._here if kind_of(one) is Kind.USER]

    def _arrival(self, member: Member) -> wire.ServerMessage | None:
        if member.kind is Kind.PEER:
            return wire.PeerJoined(room=self.id, payload=_peer_entry(member))
        user = UserId(member.id)
        if self.roster.connections_of(user) > 1:
            return None
        return wire.UserJoined(room=self.id, payload=wire.UserEntry(user))

    def _farewell(self, member: Member, event: MemberLeft) -> wire.ServerMessage | None:
        if member.kind is Kind.PEER:
            return wire.PeerLeft(room=self.id, payload=wire.PeerLeftPayload(PeerId(member.id), event.reason))
        user = UserId(member.id)
        if self.roster.connections_of(user):
            return None
        return wire.UserLeft(room=self.id, payload=wire.UserLeftPayload(user, event.reason))

    def _welcome(self, member: Member, greeting: Greeting, at: bytes) -> bytes:
        return located(encode(self._whole(member, greeting)), at)

    def _whole(self, member: Member, greeting: Greeting) -> wire.ServerMessage:
        present = structs.replace(member, away=False)  # though the broker may not have said so yet
        known = [present if peer is member else peer for peer in self.roster.peers()]
        peers = [_peer_entry(peer) for peer in sorted(known, key=_order)]
        request_id = UNSET if greeting.request_id is None else greeting.request_id
        if member.kind is Kind.USER:
            users = [wire.UserEntry(user) for user in self.roster.users()]
            whole = wire.RoomJoinedPayload(users, peers, self.locked or UNSET)
            return wire.RoomJoined(room=self.id, id=request_id, payload=whole)
        ice_servers = list(greeting.ice_servers)
        payload = wire.JoinedPayload(
            PeerId(member.id), member.order, peers, ice_servers, locked=self.locked or UNSET, **greeting.session()
        )
        return wire.Joined(room=self.id, id=request_id, payload=payload)

    def _goodbye(self, member: Member, departure: Departure) -> wire.ServerMessage:
        request_id = UNSET if departure.request_id is None else departure.request_id
        if member.kind is Kind.USER:
            return wire.RoomLeft(room=self.id, id=request_id, payload=wire.UserEntry(UserId(member.id)))
        return wire.Left(room=self.id, id=request_id, payload=wire.LeftPayload(PeerId(member.id)))

    # -------------------------------------------------------------------------------------------------------- messages

    def relay(self, sender: Incarnation, message: wire.Targeted, frame: bytes) -> Relay | Publish | None:
        """Send a peer's own text, stamped with its id and an offer with its number, to one other peer.

        None for one that its sender sends again, though it is under way.
        Raises `NotInRoom`, `PeerNotFound`, `StaleNegotiation`, `Unavailable`, or `BadMessage` for a message to oneself.
        """
        source = self._present(sender)
        if message.again and self._is_under_way(sender, message):
            return None
        target = self.roster.peer(message.payload.target_peer_id)
        if target is None or target.incarnation in self._leaving:
            raise peer_not_found(message)
        if target.incarnation == sender:
            field = "payload.target_peer_id"
            raise BadMessage(f"`{field}` is your own peer id; name another peer.", field=field)
        step = None
        if message.negotiation is not None:
            step = self._step(sender, target.incarnation, message)
            if step.kind == "offer":
                source = offer_stamp(source, step.number)
        if target.incarnation in self._here:
            return Relay(sender, target.incarnation, stamp(source, frame), message, step)
        to = (target,)
        ticket = self._await_receipts(sender, message, to, step)
        return Publish(sender, to, stamp(source, frame), message, ticket, step)

    def _step(self, sender: Incarnation, target: Incarnation, message: wire.Targeted) -> Step:
        """Number an offer, or let what belongs to one pass that is not overtaken.

        A number counts though its offer may not arrive: who has made a newer one cannot use an answer to an older.
        """
        if isinstance(message, wire.Offer):
            if self._negotiations is None:
                self._negotiations = Negotiations()
            return Step("offer", self._negotiations.offered(sender, target, elsewhere=target not in self._here))
        step = Step("answer" if isinstance(message, wire.Answer) else "ice-candidate", cast("int", message.negotiation))
        newest = self._negotiations.overtaken(sender, target, step) if self._negotiations else 0
        if newest:
            raise _stale_negotiation(newest)
        return step

    def broadcast(self, sender: Incarnation, message: wire.Message, frame: bytes) -> list[Send | Publish]:
        """Send a user's own text, stamped with its id, to every other user connection.

        Raises `NotInRoom` and `Unavailable`.
        """
        source = self._present(sender)
        if message.again and self._is_under_way(sender, message):
            return []
        stamped = stamp(source, frame)
        effects: list[Send | Publish] = [Send([one for one in self._users_here() if one != sender], stamped)]
        elsewhere = self._users_elsewhere()
        if elsewhere:
            ticket = self._await_receipts(sender, message, elsewhere)
            effects.insert(0, Publish(sender, elsewhere, stamped, message, ticket))
        elif message.id is not None:
            effects.append(Send((sender,), ack(message)))
        return effects

    def _users_elsewhere(self) -> list[Member]:
        """One user of each other node that has users in the room."""
        if len(self.roster) == len(self._here):
            return []
        found: dict[NodeId, Member] = {}
        for member in self.roster.members():
            if member.kind is Kind.USER and member.incarnation not in self._here:
                found.setdefault(member.node, member)
        return list(found.values())

    # --------------------------------------------------------------------------------------------------- other nodes

    def signalled(self, target: Incarnation) -> bool:
        """Whether a frame of another node for a member can be written to it."""
        if target in self._here:
            return target not in self._leaving
        return self.is_departing(target)

    def is_departing(self, incarnation: Incarnation) -> bool:
        """Whether a member was here, goes on elsewhere, and was not let go of yet."""
        return self._moves is not None and incarnation in self._moves.departing

    def overtaken(self, event: Signalled) -> int:
        """Learn the number of an offer of another node, or judge what belongs to one: see `Negotiations.overtaken`."""
        step = event.step
        if step is None or event.sender not in self.roster:
            return 0
        if step.kind != "offer":
            return self._negotiations.overtaken(event.sender, event.target, step) if self._negotiations else 0
        if self._negotiations is None:
            self._negotiations = Negotiations()
        self._negotiations.learned(event.sender, event.target, step.number)
        return 0

    def announced(self, event: Announced) -> Send:
        """Write a frame of another node to all users here, as its node saw who is here."""
        to = [one for one in self._users_here() if one != event.sender]
        if self._moves:
            sender, moves = self.roster.member(event.sender), self._moves
            node = None if sender is None else sender.node
            to = [one for one in to if moves.comes_here(one, node)]
            to += [one for one in moves.still_for(node) if self.roster.kind(one) is Kind.USER]
        return Send(to, located(event.frame, event.at))

    def receipt(self, receipt: Receipt) -> list[Send]:
        """Answer the sender of what went to another node, once all that is awaited has come."""
        if not receipt.ticket:
            here = receipt.sender in self._here or self.is_departing(receipt.sender)
            return [self._not_delivered(receipt.sender, None, None, receipt.overtaken)] if here else []
        unanswered = (self._unanswered or {}).get((receipt.sender, receipt.ticket))
        if unanswered is None:
            return self._early(receipt)
        if not receipt.delivered and unanswered.target is not None:
            refusal = self._not_delivered(unanswered.sender, unanswered.id, unanswered.target, receipt.overtaken)
            return self._settled((receipt.sender, receipt.ticket), refusal)
        unanswered.awaited.discard(receipt.target)
        if unanswered.awaited:
            return []
        answer = ack(unanswered, "queued" if receipt.queued else "delivered", unanswered.step)
        return self._settled((receipt.sender, receipt.ticket), Send((unanswered.sender,), answer))

    def _early(self, receipt: Receipt) -> list[Send]:
        """Keep a receipt for what a member sent from the node that it was at, which has not said yet what that was."""
        early = self._moves.receipts.get(receipt.sender) if self._moves else None
        if early is not None and len(early) < self._max_unanswered:
            early.append(receipt)
        return []

    def forget_receipts(self, sender: Incarnation, ticket: int) -> None:
        """What the receipts were for could not be sent."""
        if self._unanswered is not None:
            self._unanswered.pop((sender, ticket), None)

    def _await_receipts(
        self,
        sender: Incarnation,
        message: wire.Targeted | wire.Message,
        to: Sequence[Member],
        step: Step | None = None,
    ) -> int:
        if message.id is None:
            return 0
        if self._unanswered is None:
            self._unanswered = {}
        if len(self._unanswered) >= self._max_unanswered:
            text = f"{self._max_unanswered} messages of this room wait for other servers' answers; try again later."
            raise Unavailable(text)
        self._ticket += 1
        target = None if isinstance(message, wire.Message) else message.payload.target_peer_id
        awaited = {member.incarnation for member in to}
        self._unanswered[sender, self._ticket] = Unanswered(sender, self.id, message.id, target, awaited, step)
        return self._ticket

    def _is_under_way(self, sender: Incarnation, message: wire.Targeted | wire.Message) -> bool:
        """Whether the sender will be told what became of a message that it sent before."""
        pending = (self._unanswered or {}).values()
        return any(one.sender == sender and one.id == message.id for one in pending)

    def _gone(self, incarnation: Incarnation) -> list[Send]:
        """Answer what waited for a member that has left, and forget what it waited for itself."""
        sends: list[Send] = []
        for key, unanswered in list((self._unanswered or {}).items()):
            if unanswered.sender == incarnation:
                self.forget_receipts(*key)
            elif incarnation in unanswered.awaited:
                unanswered.awaited.discard(incarnation)
                if unanswered.target is not None:
                    refusal = self._not_delivered(unanswered.sender, unanswered.id, unanswered.target)
                    sends += self._settled(key, refusal)
                elif not unanswered.awaited:
                    sends += self._settled(key, Send((unanswered.sender,), ack(unanswered)))
        return sends

    def _settled(self, key: tuple[Incarnation, int], answer: Send) -> list[Send]:
        self.forget_receipts(*key)
        return [answer]

    def _not_delivered(
        self, sender: Incarnation, request_id: RequestId | None, target: PeerId | None, overtaken: int = 0
    ) -> Send:
        error: SignalingError
        if overtaken:
            error = _stale_negotiation(overtaken)
        elif target is None:
            error = PeerNotFound("The peer you sent a message to has just left this room.")
        else:
            error = _no_peer(target)
        return Send((sender,), error_frame(error.about(self.id, request_id)))

    def _present(self, incarnation: Incarnation) -> bytes:
        """The stamp of a member who is here, and not leaving."""
        source = self._here.get(incarnation)
        if source is None or incarnation in self._leaving:
            raise NotInRoom("You are not in this room any more; join it first.")
        return source


def ack(
    message: wire.Targeted | wire.Message | Unanswered,
    status: Literal["delivered", "queued"] = "delivered",
    step: Step | None = None,
) -> bytes:
    """The answer to a relayed message that has an `id`; to an offer, with its number."""
    number = step.number if step is not None and step.kind == "offer" else UNSET
    payload = wire.AckPayload(status, number)
    return encode(wire.Ack(room=message.room, id=cast("RequestId", message.id), payload=payload))


def peer_not_found(message: wire.Targeted) -> PeerNotFound:
    """The answer to a message whose target is not here, or is going."""
    return _no_peer(message.payload.target_peer_id)


def _no_peer(target: PeerId) -> PeerNotFound:
    return PeerNotFound(f"No peer {shown(target)} in this room.")


def _stale_negotiation(newest: int) -> StaleNegotiation:
    text = f"This belongs to an offer that a newer one has overtaken; the newest is {newest}. You need do nothing."
    return StaleNegotiation(text, negotiation=newest)


def _order(member: Member) -> int:
    return member.order


def _peer_entry(member: Member) -> wire.PeerEntry:
    return wire.PeerEntry(PeerId(member.id), member.metadata, member.order, member.away or UNSET)
