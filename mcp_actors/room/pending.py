"""The requests of a room's members that wait for the broker, in one table, and the messages that wait behind a join."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Struct

from mcp_actors.protocol.errors import NotInRoom, Unavailable
from mcp_actors.protocol.events import Member
from mcp_actors.protocol.identifiers import Incarnation, RequestId
from mcp_actors.protocol.messages import Message, ServerRequest, Targeted

if TYPE_CHECKING:
    from collections.abc import Iterator


class Held(Struct, frozen=True, gc=False):
    """A message that its sender sent behind its own join. A `ServerRequest` has a `reply` and no frame.

    `name`: under which it is published, where members have names.
    """

    request: Targeted | Message | ServerRequest
    frame: bytes = b""
    reply: Any = None
    name: str = ""


class Join(Struct, eq=False):
    """A join, with the messages that came behind it. `presence`: the member wants to know of detached peers."""

    member: Member
    presence: bool = False
    reply: Any = None
    held: list[Held] = []


class Leave(Struct, eq=False):
    """A leave. `replied`: the client is to be told; otherwise its connection is gone."""

    request_id: RequestId | None = None
    replied: bool = False
    reply: Any = None


class Claim(Struct, eq=False):
    """A claim of a member of another node, by the ownership epoch that it asks for, and whether it wants presence."""

    epoch: int
    presence: bool = False
    reply: Any = None


class Fence(Struct, eq=False):
    """A wait for the earlier owners of a member that moved here to be fenced."""

    reply: Any = None


class ModerationRequest(Struct, eq=False):
    """An update, or a moderator's request.

    `done`: the room has heard of the change. `answered`: the asker was told. `repeats` are the replies to the same
    request sent again.
    """

    request: ServerRequest
    reply: Any = None
    done: bool = False
    answered: bool = False
    repeats: list[Any] = []


Request = Join | Leave | Claim | Fence | ModerationRequest
R = TypeVar("R", Join, Leave, Claim, Fence, ModerationRequest)


class PendingRequests:
    """The pending requests of one room, by member, in the order in which they came."""

    __slots__ = ("_requests", "max_messages")

    def __init__(self, max_messages: int) -> None:
        self.max_messages = max_messages
        self._requests: dict[Incarnation, list[Request]] = {}

    def __bool__(self) -> bool:
        return bool(self._requests)

    def add(self, incarnation: Incarnation, request: Request) -> None:
        """Add a request of a member."""
        self._requests.setdefault(incarnation, []).append(request)

    def of(self, incarnation: Incarnation, kind: type[R]) -> list[R]:
        """A member's requests of one kind."""
        return [one for one in self._requests.get(incarnation, ()) if isinstance(one, kind)]

    def find(self, incarnation: Incarnation, kind: type[R]) -> R | None:
        """A member's first request of one kind."""
        return next((one for one in self._requests.get(incarnation, ()) if isinstance(one, kind)), None)

    def take(self, incarnation: Incarnation, kind: type[R]) -> R | None:
        """Remove a member's first request of one kind, and return it."""
        found = self.find(incarnation, kind)
        if found is not None:
            requests = self._requests[incarnation]
            requests.remove(found)
            if not requests:
                del self._requests[incarnation]
        return found

    def waits_for(self, *kinds: type[Request]) -> bool:
        """Whether any member has a request of these kinds."""
        return any(isinstance(one, kinds) for requests in self._requests.values() for one in requests)

    def moderation(self) -> Iterator[ModerationRequest]:
        """All requests of moderators."""
        return (one for requests in self._requests.values() for one in requests if isinstance(one, ModerationRequest))

    def hold(self, incarnation: Incarnation, message: Held) -> None:
        """Let a message wait behind the join of its sender. Raises `NotInRoom` and `Unavailable`."""
        join = self.find(incarnation, Join)
        if join is None:
            raise NotInRoom("You are not in this room any more; join it first.")
        if len(join.held) >= self.max_messages:
            text = f"{self.max_messages} of your messages already wait for your join; send more when it is answered."
            raise Unavailable(text)
        join.held.append(message)

    def take_replies(self, incarnation: Incarnation, *kinds: type[Request]) -> list[object]:
        """Remove a member's requests of some kinds, and return their replies."""
        kept: list[Request] = []
        taken: list[Request] = []
        for one in self._requests.pop(incarnation, ()):
            (taken if isinstance(one, kinds) else kept).append(one)
        if kept:
            self._requests[incarnation] = kept
        return [reply for one in taken for reply in _replies(one)]

    def replies(self) -> list[object]:
        """The replies to all requests, those of held messages included."""
        return [reply for requests in self._requests.values() for one in requests for reply in _replies(one)]


def _replies(request: Request) -> Iterator[object]:
    yield request.reply
    if isinstance(request, Join):
        yield from (held.reply for held in request.held)
    elif isinstance(request, ModerationRequest):
        yield from request.repeats
