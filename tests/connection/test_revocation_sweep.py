"""The sweep over connections whose tokens were revoked; the tests of the admin API have it over the wire."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from mcp_actors.auth.grants import Grant
from mcp_actors.connection import revocation_sweep
from mcp_actors.connection.revocation_sweep import RevocationSweep
from mcp_actors.protocol.errors import CloseCode
from tests.support.loop import until

if TYPE_CHECKING:
    import pytest

    from tests.conftest import ExpectedLogs


class Identity:
    """The identity of a client."""

    def __init__(self, sub: str, in_room: str = "") -> None:
        self.grant = Grant(sub) if sub else None
        self.in_rooms = {"r": Grant(in_room)} if in_room else {}


class Client:
    """A connection."""

    def __init__(self, sub: str, in_room: str = "") -> None:
        self.identity = Identity(sub, in_room)
        self.codes: list[CloseCode] = []

    def close(self, code: CloseCode) -> None:
        self.codes.append(code)


def sweep(clients: list[Client], revoked: set[str]) -> RevocationSweep:
    return RevocationSweep(cast("Any", clients), [], lambda grant: grant.sub in revoked, lambda sub: sub in revoked)


async def test_revoked_clients_are_closed_and_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revocation_sweep, "BATCH", 2)
    clients = [Client("ada"), Client("ben"), Client(""), Client("ada"), Client("ben", "ada")]
    sweep(clients, {"ada"}).start()
    await until(lambda: clients[4].codes, "the last one")
    assert [one.codes for one in clients] == [[CloseCode.TOKEN_REVOKED], [], [], *[[CloseCode.TOKEN_REVOKED]] * 2]


async def test_what_is_revoked_during_a_sweep_is_found_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revocation_sweep, "BATCH", 1)
    clients, revoked = [Client("ada"), Client("ben")], {"ben"}
    one = sweep(clients, revoked)
    one.start()
    await asyncio.sleep(0)
    revoked.add("ada")
    one.start()
    await until(lambda: clients[0].codes, "the second sweep")


async def test_a_sweep_that_fails_is_logged_and_the_next_one_works(expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.connection", "closing revoked connections failed")
    clients: list[Any] = [object()]
    one = sweep(clients, {"ada"})
    one.start()
    await asyncio.sleep(0.01)
    clients[:] = [Client("ada")]
    one.start()
    await until(lambda: clients[0].codes, "the second sweep")


async def test_a_sweep_may_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revocation_sweep, "BATCH", 1)
    clients = [Client("ada") for _ in range(1000)]
    one = sweep(clients, {"ada"})
    await one.stop()
    one.start()
    await asyncio.sleep(0)
    await one.stop()
    assert not clients[-1].codes
