"""The end of grants, on a clock that a test turns."""

from __future__ import annotations

from mcp_actors.auth.expiry import MAX_WAIT, Expiry
from mcp_actors.auth.grants import Grant
from mcp_actors.protocol.errors import CloseCode
from tests.auth.test_authentication import FakeClient, Fixture


def test_a_grant_without_an_end_has_no_deadline() -> None:
    expiry, client = Expiry(), FakeClient()
    expiry.watch(client, Grant("alice"))
    assert len(expiry) == 0


def test_a_client_is_told_once_a_minute_before_the_end_and_closed_after_the_leeway() -> None:
    fixture = Fixture()
    client = fixture.open("3600")
    fixture.wait(3539)
    assert client.said == []
    fixture.wait(2)
    assert len(client.said) == 1
    fixture.wait(63)
    assert (client.codes, len(client.said)) == ([], 1)
    fixture.wait(2)
    assert client.codes == [CloseCode.TOKEN_EXPIRED]
    assert len(fixture.authentication) == 0


def test_a_short_token_is_announced_when_half_of_its_time_is_left() -> None:
    fixture = Fixture()
    client = fixture.open("20")
    fixture.wait(9)
    assert client.said == []
    fixture.wait(2)
    assert client.said[0].payload.expires_in in (9, 10)


def test_a_new_token_replaces_the_deadline() -> None:
    fixture = Fixture()
    client = fixture.open("100")
    for _ in range(100):
        fixture.authentication.watch(client, fixture.authentication.check("200", None))
    assert len(fixture.authentication) == 1
    fixture.wait(130)
    assert client.said == []
    fixture.wait(15)
    assert len(client.said) == 1


def test_tokens_expire_by_the_new_time_when_the_clock_is_set() -> None:
    fixture = Fixture()
    early, late = fixture.open("300"), fixture.open("30000")
    fixture.set_forward = 1000
    fixture.wait(MAX_WAIT + 1)
    assert (early.codes, late.codes) == ([CloseCode.TOKEN_EXPIRED], [])
    fixture.set_forward = -9000
    fixture.wait(MAX_WAIT + 1)
    assert late.codes == []


def test_the_deadlines_of_closed_connections_are_dropped() -> None:
    fixture = Fixture()
    gone, closed, silent = fixture.open("100"), fixture.open("100"), fixture.open(None)
    fixture.authentication.forget(gone)
    closed.closed = True
    fixture.wait(200)
    assert (gone.codes, closed.codes, silent.codes) == ([], [], [CloseCode.UNAUTHORIZED])
    assert len(fixture.authentication) == 0


def test_a_token_that_never_expires_is_kept() -> None:
    fixture = Fixture()
    clients = [fixture.open("9" * 12) for _ in range(3)]
    fixture.wait(3 * MAX_WAIT)
    assert [client.codes for client in clients] == [[], [], []]
    assert len(fixture.authentication) == 3
