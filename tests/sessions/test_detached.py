"""The detached sessions are bounded in all and by address, and the address with most of them pays."""

from __future__ import annotations

from random import Random

from mcp_actors.sessions.detached import DetachedSessions


class Detached:
    """A session of an address."""

    def __init__(self, address: str) -> None:
        self.address = address


def filled(sessions: DetachedSessions[Detached], *addresses: str) -> list[Detached]:
    found = [Detached(address) for address in addresses]
    for session in found:
        sessions.add(session, session.address)
    return found


def test_sessions_are_added_and_removed_once() -> None:
    sessions = DetachedSessions[Detached](9, 9)
    one, two = filled(sessions, "a", "b")
    sessions.add(one, "a")
    assert (len(sessions), list(sessions)) == (2, [one, two])
    sessions.discard(one, "a")
    sessions.discard(one, "a")
    assert (len(sessions), list(sessions)) == (1, [two])


def test_nothing_is_surplus_below_the_limits() -> None:
    sessions = DetachedSessions[Detached](3, 2)
    filled(sessions, "a", "b")
    assert sessions.surplus("a") is None


def test_the_oldest_of_an_address_with_its_share_is_surplus() -> None:
    sessions = DetachedSessions[Detached](9, 2)
    first, *_ = filled(sessions, "a", "a", "b")
    assert (sessions.surplus("a"), sessions.surplus("b")) == (first, None)


def test_the_oldest_of_the_address_with_most_is_surplus_when_all_together_are_too_many() -> None:
    sessions = DetachedSessions[Detached](4, 0)
    _, first, _, _ = filled(sessions, "a", "b", "b", "c")
    assert sessions.surplus("d") is first
    sessions.discard(first, "b")
    assert sessions.surplus("d") is None


def test_the_address_with_most_is_known_whatever_comes_and_goes() -> None:
    random, here = Random(1), list[Detached]()  # noqa: S311 - to be repeated, not to be secret
    sessions = DetachedSessions[Detached](1, 10_000)
    for _ in range(3000):
        if here and random.random() < 0.45:
            gone = here.pop(random.randrange(len(here)))
            sessions.discard(gone, gone.address)
        else:
            here += filled(sessions, f"address {int(random.expovariate(0.4))}")
        counts = [sum(one.address == address for one in here) for address in {one.address for one in here}]
        surplus = sessions.surplus("another")
        assert len(sessions) == len(here)
        if here:
            assert surplus is not None
            assert sum(one.address == surplus.address for one in here) == max(counts)
