"""Bans in the admin API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.admin import ask, get, post

if TYPE_CHECKING:
    from tests.support.server import Server


async def test_bans_are_listed_and_lifted_for_all_processes(servers: list[Server]) -> None:
    here, there = servers
    for name, seconds in (("a", 600), ("b", 60)):
        await post(there, f"/rooms/r/members/peer/{name}/kick", {"ban_seconds": seconds, "message": "Stop it."})
    listed = await get(here, "/rooms/r/bans")
    assert (listed["room"], [(ban["id"], ban["message"]) for ban in listed["bans"]]) == (
        "r",
        [("b", "Stop it."), ("a", "Stop it.")],
    )
    for lifted in (True, False):
        answer = await ask(there, "DELETE", "/rooms/r/bans/peer/a")
        assert answer.content == {"room": "r", "kind": "peer", "id": "a", "lifted": lifted}
    await (await here.peer()).join("r", "a")
    assert [ban["id"] for ban in (await get(here, "/rooms/r/bans"))["bans"]] == ["b"]
