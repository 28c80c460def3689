"""The requests of members that take effect in the room's order: updates, and those of moderators.

One of each member is carried out at a time, the others wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from mcp_actors.protocol import messages as wire
from mcp_actors.protocol.errors import NotInRoom, PeerNotFound, SignalingError, Unavailable
from mcp_actors.protocol.events import NO_NOTICE, Kind, Notice
from mcp_actors.protocol.identifiers import SERVER, PeerId, UserId, shown
from mcp_actors.protocol.outgoing import Outgoing
from mcp_actors.room import announcements
from mcp_actors.room.announcements import Target
from mcp_actors.room.effects import Done, Moderate, Send
from mcp_actors.room.pending import Held, ModerationRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp_actors.protocol.events import (
        Announced,
        Member,
        MemberLeft,
        MemberUpdated,
        Moderated,
        RoomClosed,
        RoomLocked,
    )
    from mcp_actors.protocol.identifiers import Incarnation, RequestId, RoomId
    from mcp_actors.room.effects import Effect
    from mcp_actors.room.pending import PendingRequests
    from mcp_actors.room.roster import Roster


def target_of(request: wire.Kick | wire.Unban) -> Target:
    """The peer or user that a request names."""
    payload = request.payload
    if payload.peer_id is not None:
        return Target(Kind.PEER, payload.peer_id)
    return Target(Kind.USER, UserId(str(payload.user_id)))


def notice_of(request: wire.Kick | wire.CloseRoom) -> Notice:
    """The words of a moderator to those that it removes."""
    payload = request.payload
    if payload is None:
        return NO_NOTICE
    ban = payload.ban_seconds if isinstance(payload, wire.KickPayload) else None
    return Notice(payload.reason or "", payload.message or "", ban or 0)


class Moderation:
    """The replies of a room to these requests, and the notices to its members."""

    __slots__ = ("_pending", "_room", "_roster")

    def __init__(self, room: RoomId, roster: Roster, pending: PendingRequests) -> None:
        self._room = room
        self._roster = roster
        self._pending = pending

    def request(self, by: Incarnation, request: wire.ServerRequest, reply: object = None) -> list[Effect]:
        """Take a request of a member or of the `SERVER`. Raises `NotInRoom`, `PeerNotFound` and `Unavailable`."""
        if by != SERVER and not self._roster.local.get(by):
            self._pending.hold(by, Held(request, reply=reply))
            return []
        waiting = self._pending.of(by, ModerationRequest)
        if request.again and request.id is not None:
            for one in waiting:
                if one.request.id == request.id:
                    one.repeats.append(reply)
                    return []
        if len(waiting) >= self._pending.max_messages:
            raise Unavailable("Too many of your requests to this room were not answered yet; try again when they are.")
        if not waiting:
            self._expect_target(request)
        self._pending.add(by, ModerationRequest(request, reply))
        return [] if waiting else [Moderate(by, request)]

    def finished(self, event: Moderated) -> list[Effect]:
        """Answer a request that the broker has finished, and make the member's next one."""
        asked = self._pending.find(event.by, ModerationRequest)
        if asked is None:
            return []
        if event.done and not asked.answered and isinstance(asked.request, wire.Update):
            member = self._roster.member(event.by)
            if member is not None and member.metadata != asked.request.payload.metadata:
                return [Moderate(event.by, asked.request)]  # it was lost before this node heard of it
        self._pending.take(event.by, ModerationRequest)
        effects: list[Effect] = []
        try:
            answer = self._outcome(asked, event)
        except SignalingError as error:
            effects.append(Done(asked.reply, error))
        else:
            if answer is not None and event.by in self._roster.local:
                effects.append(Send((event.by,), Outgoing(answer)))
            effects.append(Done(asked.reply))
        effects += [Done(repeat) for repeat in asked.repeats]
        return effects + self._next(event.by)

    def _next(self, by: Incarnation) -> list[Effect]:
        effects: list[Effect] = []
        while (waiting := self._pending.find(by, ModerationRequest)) is not None:
            try:
                self._expect_target(waiting.request)
            except PeerNotFound as error:
                self._pending.take(by, ModerationRequest)
                effects += [Done(waiting.reply, error), *(Done(repeat) for repeat in waiting.repeats)]
            else:
                return [*effects, Moderate(by, waiting.request)]
        return effects

    def updated(self, event: MemberUpdated) -> list[Effect]:
        """Apply an update of metadata, and tell the local members."""
        if not self._roster.update(event.kind, event.id, event.metadata):
            return []
        target = Target(event.kind, event.id)
        effects = self._reply_to_update(target, event)
        peer = self._roster.peer(PeerId(event.id)) if target.kind is Kind.PEER else None
        if peer is None:
            to = self._roster.local_users(except_for=event.by if effects else None)
        else:
            to = self._roster.audience(peer)
        news = announcements.updated(self._room, target, event.metadata)
        return [Send(to, Outgoing(news, event.offset)), *effects] if to else effects

    def _reply_to_update(self, target: Target, event: MemberUpdated) -> list[Effect]:
        asked = None if event.by is None else self._pending.find(event.by, ModerationRequest)
        if asked is None or not isinstance(asked.request, wire.Update) or event.by not in self._roster.local:
            return []
        asked.answered = True
        reply = announcements.update_reply(self._room, target, event.metadata, asked.request.id)
        return [Send((event.by,), Outgoing(reply, event.offset))]

    def locked(self, event: RoomLocked) -> list[Effect]:
        """Tell the local members that the room was locked or unlocked."""
        return self._tell(event, lambda one: announcements.locked(self._room, one, locked=event.locked))

    def announced(self, event: Announced) -> list[Effect]:
        """Tell the local members, or those with an id, what the application says."""
        told = announcements.announced(self._room, event.content)
        to = [one for one in self._roster.local if event.to is None or self._has_id(one, event.to)]
        return [Send(to, Outgoing(told, event.offset))] if to else []

    def _has_id(self, incarnation: Incarnation, target: tuple[Kind, PeerId | UserId]) -> bool:
        member = self._roster.member(incarnation)
        return member is not None and (member.kind, member.id) == target

    def give_up(self) -> list[Effect]:
        """Answer what the application has asked of a room that is closed."""
        effects: list[Effect] = []
        while (asked := self._pending.take(SERVER, ModerationRequest)) is not None:
            is_done = isinstance(asked.request, wire.CloseRoom)
            effects.append(Done(asked.reply, None if is_done else NotInRoom("The room was closed before that.")))
        return effects

    def closed(self, event: RoomClosed) -> list[Effect]:
        """Tell the local members that the room was closed."""
        return self._tell(event, lambda one: announcements.closed(self._room, one, event.notice))

    def note_kick(self, member: Member) -> None:
        """Note that a member was kicked, whoever asked for it."""
        for asked in self._pending.moderation():
            if self._is_for(asked, member):
                asked.done = True

    def kicked(self, member: Member, event: MemberLeft) -> list[Effect]:
        """Tell a local member that it was kicked."""
        own = self._pending.find(member.incarnation, ModerationRequest)
        request_id = own.request.id if own is not None and self._is_for(own, member) else None
        told = announcements.kicked(self._room, Target(member.kind, member.id), request_id, event.notice)
        return [Send((member.incarnation,), Outgoing(told, event.offset))]

    @staticmethod
    def _is_for(asked: ModerationRequest, member: Member) -> bool:
        return isinstance(asked.request, wire.Kick) and target_of(asked.request) == (member.kind, member.id)

    def _tell(
        self, event: RoomLocked | RoomClosed, compose: Callable[[RequestId | None], wire.ServerMessage]
    ) -> list[Effect]:
        """Tell all local members, and the moderator that asked with the `id` of its request."""
        local = self._roster.local
        asked = None if event.by is None else self._pending.find(event.by, ModerationRequest)
        asker = None
        effects: list[Effect] = []
        if asked is not None:
            asked.answered = True
            if asked.request.id is not None and event.by in local:
                asker = event.by
                effects.append(Send((asker,), Outgoing(compose(asked.request.id), event.offset)))
        others = [one for one in local if one != asker]
        return [Send(others, Outgoing(compose(None), event.offset)), *effects] if others else effects

    def _outcome(self, asked: ModerationRequest, event: Moderated) -> wire.ServerMessage | None:
        """The reply to a request; None if it has none, or was told already. Raises `PeerNotFound` and `Unavailable`."""
        request = asked.request
        if event.failed:
            raise Unavailable("The server cannot do that now; try again.")
        if event.full:
            raise Unavailable(
                "This room has as many bans as it may; lift one (`unban`), or kick without `ban_seconds`."
            )
        match request:
            case wire.Kick() if not (event.done or asked.done):
                raise _not_found(target_of(request))
            case wire.Unban() if not event.done:
                target = target_of(request)
                raise PeerNotFound(f"No {target.kind} {shown(target.id)} is banned from this room; see `list-bans`.")
            case wire.Update() | wire.Unban() | wire.ListBans() if not asked.answered:
                return self._reply(request, event)
            case wire.Kick() | wire.Lock() | wire.Unlock() if request.id is not None and not asked.answered:
                return self._reply(request, event, absent=event.absent and not asked.done)
        return None

    def _reply(self, request: wire.ServerRequest, event: Moderated, *, absent: bool = False) -> wire.ServerMessage:
        match request:
            case wire.Update():
                member = cast("Member", self._roster.member(event.by))
                target = Target(member.kind, member.id)
                return announcements.update_reply(self._room, target, request.payload.metadata, request.id)
            case wire.Kick():
                ban = Notice(ban_seconds=request.payload.ban_seconds or 0)
                return announcements.kicked(self._room, target_of(request), request.id, ban, absent=absent)
            case wire.Unban():
                return announcements.unbanned(self._room, target_of(request), request.id)
            case wire.ListBans():
                return announcements.bans(self._room, request.id, event.bans)
        return announcements.locked(self._room, request.id, locked=isinstance(request, wire.Lock))

    def _expect_target(self, request: wire.ServerRequest) -> None:
        """Raise `PeerNotFound` for a kick of a member that is not in the room, unless it is to be banned."""
        if not isinstance(request, wire.Kick) or request.payload.ban_seconds:
            return
        target = target_of(request)
        if target.kind is Kind.PEER:
            found = self._roster.peer(PeerId(target.id)) is not None
        else:
            found = self._roster.connections_of(UserId(target.id)) > 0
        if not found:
            raise _not_found(target)


def _not_found(target: Target) -> PeerNotFound:
    return PeerNotFound(f"No {target.kind} {shown(target.id)} in this room.")
