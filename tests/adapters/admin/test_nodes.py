"""The processes of the cluster in the admin API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.admin import get

if TYPE_CHECKING:
    from tests.support.server import Server


async def test_all_processes_are_listed_with_their_leases(servers: list[Server]) -> None:
    here, there = servers
    nodes = (await get(there, "/nodes"))["nodes"]
    assert {one["node"] for one in nodes} == {here.app.node.id, there.app.node.id}
    assert [one["node"] for one in nodes if one["answers"]] == [there.app.node.id]
    assert all(one["alive"] for one in nodes)
    assert all((one["lease_seconds"] is None) is (here is there) for one in nodes)
