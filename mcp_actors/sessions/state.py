"""The states of a session, and the transitions between them."""

from enum import Enum


class State(Enum):
    """The states of a session, and where messages for its client go in each. Ended and revoked are final."""

    ATTACHED = "attached"  # writes them to the connection, and keeps them until they are acknowledged
    DETACHED = "detached"  # keeps them until the client comes back or the resume window is over
    MIGRATING_IN = "migrating in"  # keeps them to follow those that the previous node hands over
    MIGRATING_OUT = "migrating out"  # keeps them for the node that has claimed the session
    ENDED = "ended"  # refuses them: the client left or timed out, a room was lost, or another node has the session
    REVOKED = "revoked"  # refuses them: moderators removed the client from its last room


TRANSITIONS: dict[State, set[State]] = {
    # another connection replaces the first; the connection breaks
    State.ATTACHED: {State.ATTACHED, State.DETACHED, State.MIGRATING_OUT, State.ENDED, State.REVOKED},
    State.DETACHED: {State.ATTACHED, State.MIGRATING_OUT, State.ENDED, State.REVOKED},
    # the state from the previous node is here; a third node claims the session before
    State.MIGRATING_IN: {State.DETACHED, State.MIGRATING_OUT, State.ENDED, State.REVOKED},
    State.MIGRATING_OUT: {State.ENDED},
    State.ENDED: set(),
    State.REVOKED: set(),
}


class IllegalTransition(Exception):
    """A bug: a session was asked to do what its state does not allow."""
