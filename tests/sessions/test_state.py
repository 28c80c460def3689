"""The state machine of a session: each event in each state."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from mcp_actors.protocol.errors import CloseCode
from mcp_actors.protocol.events import LeaveReason, Removal
from mcp_actors.protocol.handover import SessionState
from mcp_actors.sessions.state import TRANSITIONS, IllegalTransition, State
from tests.support.sessions import MESSAGE, ROOM, FakeConnection, FakeMembership, cut, joined, migrating

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp_actors.node import Membership
    from mcp_actors.sessions import Session

ATTACHED, DETACHED, ENDED, REVOKED = State.ATTACHED, State.DETACHED, State.ENDED, State.REVOKED
IN, OUT = State.MIGRATING_IN, State.MIGRATING_OUT


async def session_in(state: State) -> tuple[Session, FakeConnection]:
    """A session in one room that is in this state, and the connection that it had or has."""
    if state is State.MIGRATING_IN:
        return migrating(), FakeConnection()
    session, connection, _ = await joined()
    match state:
        case State.DETACHED:
            cut(session, connection)
        case State.MIGRATING_OUT:
            session.moved(ROOM)
        case State.ENDED:
            session.end(LeaveReason.TIMEOUT)
        case State.REVOKED:
            session.removed(ROOM, Removal(LeaveReason.KICKED))
    return session, connection


def activate(session: Session) -> None:
    session.activate({ROOM: cast("Membership", FakeMembership())}, SessionState(0, []), [], lossy=False)


def remove_and_activate(session: Session) -> None:
    session.removed(ROOM, Removal(LeaveReason.KICKED))
    activate(session)


EVENTS: dict[str, Callable[[Session, FakeConnection], object]] = {
    "another connection": lambda session, _: session.attach(FakeConnection(), 0),
    "connection lost": lambda session, old: session.connection_lost(old, LeaveReason.DISCONNECTED, final=False),
    "client left": lambda session, old: session.connection_lost(old, LeaveReason.DISCONNECTED, final=True),
    "connection closed by a room": lambda session, _: session.close(CloseCode.ROOM_LOST),
    "end": lambda session, _: session.end(LeaveReason.TIMEOUT),
    "removed from the last room": lambda session, _: session.removed(ROOM, Removal(LeaveReason.KICKED)),
    "claimed by another node": lambda session, _: session.moved(ROOM),
    "complete here": lambda session, _: activate(session),
    "nothing left here": lambda session, _: session.activate({}, SessionState(0, []), [], lossy=False),
    "removed while migrating": lambda session, _: remove_and_activate(session),
}

TABLE: dict[str, dict[State, State | type[IllegalTransition]]] = {
    "another connection": {ATTACHED: ATTACHED, DETACHED: ATTACHED}
    | dict.fromkeys((IN, OUT, ENDED, REVOKED), IllegalTransition),
    "connection lost": {ATTACHED: DETACHED, DETACHED: DETACHED, IN: IN, OUT: OUT, ENDED: ENDED, REVOKED: REVOKED},
    "client left": {ATTACHED: ENDED, DETACHED: DETACHED, IN: IN, OUT: OUT, ENDED: ENDED, REVOKED: REVOKED},
    "connection closed by a room": {ATTACHED: ENDED, DETACHED: ENDED, IN: ENDED, OUT: ENDED, REVOKED: REVOKED},
    "end": {ATTACHED: ENDED, DETACHED: ENDED, IN: ENDED, OUT: ENDED, ENDED: ENDED, REVOKED: REVOKED},
    "removed from the last room": {ATTACHED: REVOKED, DETACHED: REVOKED, IN: IN, OUT: OUT, ENDED: ENDED},
    "claimed by another node": {ATTACHED: OUT, DETACHED: OUT, IN: OUT, OUT: OUT, ENDED: ENDED, REVOKED: REVOKED},
    "complete here": {IN: DETACHED, ENDED: ENDED, REVOKED: REVOKED},
    "nothing left here": {IN: ENDED},
    "removed while migrating": {IN: REVOKED},
}


@pytest.mark.parametrize(
    ("event", "state", "expected"),
    [(event, state, expected) for event, row in TABLE.items() for state, expected in row.items()],
    ids=lambda value: value.value if isinstance(value, State) else getattr(value, "__name__", value),
)
async def test_each_event_leads_to_the_expected_state(
    event: str, state: State, expected: State | type[IllegalTransition]
) -> None:
    session, connection = await session_in(state)
    assert session.state is state
    if isinstance(expected, State):
        EVENTS[event](session, connection)
        assert session.state is expected
    else:
        with pytest.raises(expected):
            EVENTS[event](session, connection)
        assert session.state is state


def test_every_transition_is_caused_by_an_event() -> None:
    caused = {(state, after) for row in TABLE.values() for state, after in row.items() if isinstance(after, State)}
    allowed = {(state, after) for state, following in TRANSITIONS.items() for after in following}
    assert allowed <= caused
    assert caused - allowed == {(state, state) for state in State if state is not ATTACHED}


@pytest.mark.parametrize("state", State)
async def test_only_an_attached_session_has_a_client_and_only_final_states_refuse_messages(state: State) -> None:
    session, _ = await session_in(state)
    assert session.detached is (state is not ATTACHED)
    assert session.ended is (state in (ENDED, REVOKED))
    assert session.send(MESSAGE) is not session.ended
