"""A model of who owns a session, and of the order of a room: small enough to explore every interleaving of a few steps.

Nodes attach the client, and write records of that which arrive late; any node may acquire the session from what the
directory says; the former owner lets go of it when it learns of that. `explore` visits every state of one session.

`Model` accepts or refuses the steps of a run, of all sessions and rooms, by the same rules: see trace.py.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


Node = int | str


class Record(NamedTuple):
    """The directory's record of a session: its node, and the numbers of its moves and connections."""

    node: Node
    epoch: int
    generation: int


def acquired(old: Record, node: Node, token: int) -> Record:
    """The record after a node has acquired a session for a client with the token of a generation."""
    own = old.node == node
    generation = max(old.generation, token) + 1 if not own or token >= old.generation else old.generation
    return Record(node, old.epoch + (not own), generation)


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
    """The rule before there were epochs."""
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
    record = acquired(state.record, node, state.token)
    sessions = _put(state.sessions, node, (record.epoch, record.generation))
    writes = _put(state.writes, node, (*state.writes[node], record))
    return State(record, sessions, writes, max(state.token, record.generation))


def _put(values: tuple, index: int, value: object) -> tuple:  # type: ignore[type-arg]
    return (*values[:index], value, *values[index + 1 :])


def is_right(state: State) -> bool:
    """Whether the directory names the node that has the session, once all is at rest."""
    return not state.at_rest or state.sessions[int(state.record.node)] is not None


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


class Refused(Exception):
    """The model does not allow a step; `str(error)` says why."""


class Acquired(NamedTuple):
    """The reply to a node that acquired a session with a token of a generation."""

    node: Node
    token: int
    epoch: int
    generation: int


class Model:
    """The steps that may come next, of all sessions and rooms. After a loss of data it allows everything once.

    A member's epoch is the generation in which its session was acquired, and 0 before.
    """

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}
        self._granted: dict[str, set[tuple[Node, int]]] = {}
        self._versions: dict[str, int] = {}
        self._places: dict[tuple[str, str], tuple[Node, int]] = {}
        self._gone: dict[tuple[str, str], None] = {}
        self._fences: dict[tuple[str, str, str], int] = {}
        self._delivered: dict[tuple[str, str, str, str], int] = {}
        self._forgets = False

    def lost(self) -> None:
        """Forget what Redis may have lost, and what nodes forget with it."""
        for known in (self._records, self._versions, self._places, self._gone, self._fences, self._delivered):
            known.clear()
        self._forgets = True

    def saved(self, session: str, record: Record, accepted: bool) -> None:
        """The directory accepted or ignored a record."""
        known = self._records.get(session)
        if known is not None and by_epoch(known, record) is not accepted:
            raise Refused(f"session {session}: {record} was {'saved' if accepted else 'ignored'} after {known}")
        if known is not None and known.epoch == record.epoch and known.node != record.node:
            raise Refused(f"session {session}: {record.node} saves in the epoch of {known}")
        if accepted:
            self._records[session] = record

    def acquired(self, session: str, step: Acquired) -> None:
        """The directory gave a session to a node."""
        known = self._records.get(session)
        found = Record(step.node, step.epoch, step.generation)
        self._granted.setdefault(session, set()).add((step.node, step.generation))
        if known is not None and acquired(known, step.node, step.token) != found:
            raise Refused(f"session {session}: {step} does not follow from {known}")
        self._records[session] = found

    def deleted(self, session: str) -> None:
        """A node asked the directory to delete a record of its own."""
        self._records.pop(session, None)

    def shown(self, room: str, version: int) -> None:
        """A node that is new to a room was shown it, perhaps as the first: that version was told to nobody else."""
        self._versions[room] = max(version, self._versions.get(room, 0))

    def changed(self, room: str, after: int, version: int) -> None:
        """A room came from one version to another; 0 is a room that was empty."""
        known = self._versions.get(room)
        self._versions[room] = version
        if known is not None and (version <= known or after not in (known, 0)):
            raise Refused(f"{room} went from version {after} to {version}, after {known}")

    def joined(self, room: str, member: str, node: Node, epoch: int) -> None:
        """A member joined at a node, or was announced again."""
        known = self._places.get((room, member))
        self._places[room, member] = node, epoch
        if known is not None and known[1] > epoch:
            raise Refused(f"{member} joined {room} at {node} in epoch {epoch}, after {known}")
        if (room, member) in self._gone:
            raise Refused(f"{member} joined {room} at {node} although it had left")

    def moved(self, room: str, member: str, node: Node, epoch: int) -> None:
        """A node claimed a member."""
        known = self._places.get((room, member))
        self._places[room, member] = node, epoch
        if known is not None and known[1] >= epoch:
            raise Refused(f"{member} moved to {node} in epoch {epoch}, after {known}")
        if not self._forgets and (node, epoch) not in self._granted.get(member.partition(".")[0], ()):
            raise Refused(f"{member} moved to {node} in epoch {epoch}, which its session was not given")

    def owner_fenced(self, room: str, member: str, epoch: int) -> None:
        """The node of a member goes on without a handover."""
        known = self._places.get((room, member))
        if known is not None and known[1] != epoch:
            raise Refused(f"the owners of {member} before epoch {epoch} were fenced, but it is at {known}")

    def left(self, room: str, member: str, *, node_lost: bool = False) -> None:
        """A member left, or its node was declared dead, which may not have heard that it joined, and repeats that."""
        self._places.pop((room, member), None)
        if not node_lost:
            self._gone[room, member] = None

    def heard_of_fence(self, process: str, room: str, member: str, epoch: int) -> None:
        """A process of a node learned that what a member's nodes before an epoch send is stale."""
        self._fences[process, room, member] = epoch

    def delivered(self, process: str, room: str, source: str, target: str, epoch: int, number: int) -> None:
        """A process delivered a frame that was sent in an epoch of its source."""
        pair = process, room, source, target
        if epoch < self._fences.get((process, room, source), 0):
            raise Refused(f"{process} delivered frame {number} of {source} to {target} from a fenced owner")
        last = self._delivered.get(pair, 0)
        self._delivered[pair] = number
        if number <= last:
            raise Refused(f"{process} delivered frame {number} of {source} to {target} after {last}")
