"""Revocations: the table that each node has, and those of a single process."""

from __future__ import annotations

from mcp_actors.broker.revocations import MemoryRevocations, Revocation, RevocationTable, by_end


class Clock:
    """A clock that stands still."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def table(*revocations: Revocation) -> RevocationTable:
    found = RevocationTable(Clock())
    for one in revocations:
        found.put(one)
    return found


def test_a_token_is_revoked_by_its_id_alone() -> None:
    known = table(Revocation("jti", "t1", 2000))
    assert known.revokes("ada", "t1", None)
    assert not known.revokes("ada", "t2", None)
    assert not known.revokes("t1", "", None)
    assert not known.revokes_all_of("t1")


def test_all_tokens_of_a_sub_are_revoked_or_those_that_were_issued_before() -> None:
    known = table(Revocation("sub", "ada", 2000), Revocation("sub", "ben", 2000, 500))
    assert all(known.revokes("ada", "t", issued) for issued in (None, 1, 999))
    assert [known.revokes("ben", "t", issued) for issued in (None, 499, 500)] == [True, True, False]
    assert [known.revokes_all_of(sub) for sub in ("ada", "ben", "cy")] == [True, False, False]
    assert not known.revokes("cy", "t", None)


def test_a_revocation_ends() -> None:
    clock = Clock()
    known = RevocationTable(clock)
    known.put(Revocation("sub", "ada", 1010))
    known.put(Revocation("sub", "ben", 1020))
    clock.now = 1010
    assert not known.revokes("ada", "", None)
    assert ([one.value for one in known], len(known)) == (["ben"], 1)
    assert not known.put(Revocation("sub", "late", 1010))


def test_a_later_revocation_replaces_an_earlier_one() -> None:
    clock = Clock()
    known = RevocationTable(clock)
    assert known.put(Revocation("sub", "ada", 1010))
    assert known.put(Revocation("sub", "ada", 1030))
    assert not known.put(Revocation("sub", "ada", 1030))
    clock.now = 1020
    assert known.revokes("ada", "", None)
    assert known.lift("sub", "ada")
    assert not known.lift("sub", "ada")
    clock.now = 1040
    assert len(known) == 0


async def test_a_single_process_has_a_limited_number_of_them() -> None:
    told: list[int] = []
    store = MemoryRevocations(2, Clock())
    store.watch(lambda: told.append(len(store.table)))
    first, second = Revocation("sub", "ada", 2000), Revocation("jti", "t", 1500)
    assert [await store.revoke(one) for one in (first, second, Revocation("sub", "ben", 2000), second)] == [
        True,
        True,
        False,
        True,
    ]
    assert told == [1, 2]
    assert list(by_end(store.table)) == [second, first]
    assert await store.lift("sub", "ada")
    assert not await store.lift("sub", "ada")
