"""Streams of updates: which resources have changed, for callers that may see them."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from mcp import MCPError
from mcp.server.subscriptions import (
    SUBSCRIPTION_ID_META_KEY,
    ListenHandler,
    ResourcesListChanged,
    ResourceUpdated,
    ServerEvent,
)
from mcp_types import (
    INTERNAL_ERROR,
    SubscriptionFilter,
    SubscriptionsListenRequestParams,
    SubscriptionsListenResult,
)

from mcp_actors.adapters.mcp.caller import Caller, current
from mcp_actors.adapters.mcp.room_watch import TooManyRooms
from mcp_actors.adapters.mcp.roster_resources import room_of, uri_of
from mcp_actors.protocol.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from mcp.server.context import ServerRequestContext

    from mcp_actors.adapters.mcp.room_access import RoomAccess
    from mcp_actors.adapters.mcp.room_watch import RoomWatch
    from mcp_actors.protocol.identifiers import RoomId

FULL = "The server watches as many rooms as it may; try again later."


class CallerListener:
    """What one caller listens to: a `RoomListener`, and the `SubscriptionBus` of one stream of the SDK.

    Access is checked with each notice, as the caller's token may be revoked meanwhile.
    """

    def __init__(self, caller: Caller, access: RoomAccess, rooms: Collection[RoomId], *, wants_list: bool) -> None:
        self.rooms = rooms
        self.wants_list = wants_list
        self._caller = caller
        self._access = access
        self._deliver: Callable[[ServerEvent], None] | None = None

    def subscribe(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        """See `SubscriptionBus`."""
        self._deliver = listener
        return self._unsubscribe

    def _unsubscribe(self) -> None:
        self._deliver = None

    async def publish(self, event: ServerEvent) -> None:
        """See `SubscriptionBus`."""
        if self._deliver is not None:
            self._deliver(event)

    def roster_changed(self, room: RoomId) -> None:
        """See `RoomListener`."""
        if self._deliver is not None and self._access.may_see(self._caller, room):
            self._deliver(ResourceUpdated(uri_of(room)))

    def list_changed(self, rooms: Collection[RoomId]) -> None:
        """See `RoomListener`."""
        if self._deliver is not None and any(self._access.may_see(self._caller, room) for room in rooms):
            self._deliver(ResourcesListChanged())


class Listening:
    """Serves subscriptions/listen. At most `max_notices` wait for a client, whose stream ends if there are more."""

    def __init__(self, access: RoomAccess, watch: RoomWatch, max_notices: int) -> None:
        self._access = access
        self._watch = watch
        self._max_notices = max_notices
        self._streams: set[ListenHandler] = set()

    async def __call__(
        self, context: ServerRequestContext[Any], params: SubscriptionsListenRequestParams
    ) -> SubscriptionsListenResult:
        """Serve one stream, until the client ends it, the server stops, or the token of the caller expires."""
        caller, asked = current.get(), params.notifications
        rooms = {room for room in map(room_of, asked.resource_subscriptions or ()) if room is not None}
        rooms = {room for room in rooms if self._access.may_see(caller, room)}
        wants_list = bool(asked.resources_list_changed)
        listener = CallerListener(caller, self._access, rooms, wants_list=wants_list)
        served = SubscriptionFilter(
            resources_list_changed=wants_list or None, resource_subscriptions=sorted(map(uri_of, rooms)) or None
        )
        try:
            async with self._watch.listening(listener), asyncio.timeout(_seconds_left(caller)):
                return await self._serve(listener, context, params.model_copy(update={"notifications": served}))
        except TimeoutError:
            return SubscriptionsListenResult(_meta={SUBSCRIPTION_ID_META_KEY: context.request_id})
        except TooManyRooms:
            raise MCPError(INTERNAL_ERROR, FULL) from None
        except Unavailable as error:
            raise MCPError(INTERNAL_ERROR, str(error)) from None

    async def _serve(
        self, listener: CallerListener, context: ServerRequestContext[Any], params: SubscriptionsListenRequestParams
    ) -> SubscriptionsListenResult:
        stream = ListenHandler(listener, max_buffered_events=self._max_notices)
        self._streams.add(stream)
        try:
            return await stream(context, params)
        finally:
            self._streams.discard(stream)

    def close(self) -> None:
        """End all streams, and tell their clients so."""
        for stream in self._streams:
            stream.close()


def _seconds_left(caller: Caller) -> float | None:
    return None if caller.grant is None else max(0.0, caller.grant.expires - time.time())
