"""Users, and the messages they send to rooms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp_actors.conformance.client import Failed
from mcp_actors.conformance.registry import requirement

if TYPE_CHECKING:
    from mcp_actors.conformance.client import Client
    from mcp_actors.conformance.target import Target

UNA, UTE = "una", "ute"


async def in_room(target: Target, room: str, name: str) -> Client:
    """A user that has joined a room; the reply has been read."""
    user = await target.user(name)
    await user.say("join-room", room, {}, id=1)
    await user.expect("room-joined", 1)
    return user


@requirement("USER-1", "Whatever a user sends before `connect` is answered with `not-connected`.")
async def connect_first(target: Target, room: str) -> None:
    user = await target.user()
    await user.say("join-room", room, {}, id=1)
    await user.expect_error("not-connected", 1)


@requirement("USER-2", "The same `connect` again has no effect; the user of a connection cannot change.")
async def same_user(target: Target, room: str) -> None:
    user = await target.user(UNA)
    await user.say("connect", None, {"user_id": UNA}, id=1)
    await user.expect("connected", 1, user_id=UNA)
    await user.say("connect", None, {"user_id": UTE}, id=2)
    if (await user.hear("`error`"))["type"] != "error":
        raise Failed("an error was expected for a `connect` of another user")


@requirement("USER-3", "`room-joined` has the users of the room, each once, and its peers.")
async def roster(target: Target, room: str) -> None:
    await (await target.peer()).join(room, "ada")
    for _ in range(2):
        await in_room(target, room, UNA)
    user = await target.user(UTE)
    await user.say("join-room", room, {}, id=1)
    payload = (await user.expect("room-joined", 1))["payload"]
    users, peers = [one["user_id"] for one in payload["users"]], [one["peer_id"] for one in payload["peers"]]
    if (sorted(users), peers) != ([UNA, UTE], ["ada"]):
        raise Failed(f"the users {UNA} and {UTE} and the peer ada were expected, not {payload}")


@requirement("USER-4", "A message reaches every other connection of users in the room, also the sender's own.")
async def message(target: Target, room: str) -> None:
    first, tab, other = [await in_room(target, room, name) for name in (UNA, UNA, UTE)]
    await first.expect("user-joined", user_id=UTE)
    await tab.expect("user-joined", user_id=UTE)
    await first.say("message", room, {"content": {"text": "Hello!"}}, id="m-1")
    await first.expect("ack", "m-1")
    for receiver in (tab, other):
        if (await receiver.expect("message", content={"text": "Hello!"})).get("sender") != UNA:
            raise Failed(f"the sender {UNA} was expected")
    await first.expect_nothing()


@requirement("USER-5", "`user-joined` and `user-left` are about users: the first connection, and the last.")
async def connections(target: Target, room: str) -> None:
    watcher = await in_room(target, room, UTE)
    first, second = [await in_room(target, room, UNA) for _ in range(2)]
    await watcher.expect("user-joined", user_id=UNA)
    await first.say("leave-room", room, id=2)
    await first.expect("room-left", 2)
    await watcher.expect_nothing()
    await second.say("leave-room", room, id=2)
    await watcher.expect("user-left", user_id=UNA)


@requirement("USER-6", "Users of a room hear which peers join and leave it.")
async def peers(target: Target, room: str) -> None:
    watcher, peer = await in_room(target, room, UTE), await target.peer()
    await peer.join(room, "ada")
    await watcher.expect("peer-joined", peer_id="ada")
    await peer.say("leave", room)
    await watcher.expect("peer-left", peer_id="ada")
