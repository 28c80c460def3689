"""A model of who owns a session: small enough to explore every interleaving of a few steps.

Nodes attach the client, and write records of that which arrive late; any node may acquire the session from what the
directory says; the former owner lets go of it when it learns of that.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Record(NamedTuple):
    """What the directory knows: the node that has the session, after how many moves and how many connections."""

    node: int
    epoch: int
    generation: int


class State(NamedTuple):
    """`sessions`: epoch and generation at each node that has the session. `writes`: records on their way, by node."""

    record: Record
    sessions: tuple[tuple[int, int] | None, ...]
    writes: tuple[tuple[Record, ...], ...]
    token: int
    """The latest generation whose token the client may have."""

    @property
    def at_rest(self) -> bool:
        """Whether nothing is on its way, and all former owners have let go."""
        return not any(self.writes) and sum(one is not None for one in self.sessions) == 1


def by_epoch(old: Record, new: Record) -> bool:
    """Whether save_session.lua accepts a record: not one of an earlier epoch, nor generation."""
    return (new.epoch, new.generation) >= (old.epoch, old.generation)


def by_generation(old: Record, new: Record) -> bool:
    """What it accepted before there were epochs."""
    return new.generation >= old.generation


def start(nodes: int) -> State:
    """The client is at node 0, which has written that."""
    return State(Record(0, 0, 1), ((0, 1), *[None] * (nodes - 1)), ((),) * nodes, 1)


def steps(state: State, accepts: Callable[[Record, Record], bool], connections: int) -> Iterator[State]:
    """All states that may follow; the client opens at most so many connections."""
    for node, session in enumerate(state.sessions):
        if state.writes[node]:
            first, *rest = state.writes[node]
            record = first if accepts(state.record, first) else state.record
            yield state._replace(record=record, writes=_put(state.writes, node, tuple(rest)))
        newest = max(one for one in state.sessions if one is not None)
        if session is not None and session != newest:
            yield state._replace(sessions=_put(state.sessions, node, None))  # it learns that the session has moved
        if state.token >= connections:
            continue
        if session is not None:
            yield _attach(state, node, session)
        elif state.record.node != node:
            yield _acquire(state, node)


def _attach(state: State, node: int, session: tuple[int, int]) -> State:
    epoch, generation = session[0], session[1] + 1
    writes = (*state.writes[node], Record(node, epoch, generation))
    sessions = _put(state.sessions, node, (epoch, generation))
    return state._replace(
        sessions=sessions, writes=_put(state.writes, node, writes), token=max(state.token, generation)
    )


def _acquire(state: State, node: int) -> State:
    record = Record(node, state.record.epoch + 1, state.record.generation + 1)
    sessions = _put(state.sessions, node, (record.epoch, record.generation))
    writes = _put(state.writes, node, (*state.writes[node], record))
    return State(record, sessions, writes, max(state.token, record.generation))


def _put(values: tuple, index: int, value: object) -> tuple:  # type: ignore[type-arg]
    return (*values[:index], value, *values[index + 1 :])


def is_right(state: State) -> bool:
    """Whether the directory names the node that has the session, once all is at rest."""
    return not state.at_rest or state.sessions[state.record.node] is not None


def explore(nodes: int, connections: int, accepts: Callable[[Record, Record], bool]) -> tuple[int, list[State] | None]:
    """Visit every state; return how many there are, and the shortest way to one that is wrong."""
    first = start(nodes)
    came_from: dict[State, State | None] = {first: None}
    queue = deque([first])
    while queue:
        state = queue.popleft()
        if not is_right(state):
            return len(came_from), list(_way(came_from, state))[::-1]
        for following in steps(state, accepts, connections):
            if following not in came_from:
                came_from[following] = state
                queue.append(following)
    return len(came_from), None


def _way(came_from: dict[State, State | None], state: State | None) -> Iterator[State]:
    while state is not None:
        yield state
        state = came_from[state]
