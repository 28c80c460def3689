"""The generations of a session: its connections in order, each with a resume token of its own."""

from __future__ import annotations

from math import inf


class Generations:
    """The generations whose resume tokens are accepted, from `oldest` to `latest`.

    The client may not have received the later ones. `is_reserved`: the latest has no connection yet, as when a node
    takes the session over.
    """

    __slots__ = ("_is_reserved", "_sent_in", "latest", "oldest")

    def __init__(self, *, is_reserved: bool = False) -> None:
        self.latest = self.oldest = 1
        self._is_reserved = is_reserved
        self._sent_in: float = 0

    def begin(self) -> None:
        """Begin the generation of a new connection, whose token was not sent yet."""
        if not self._is_reserved:
            self.latest += 1
        self._is_reserved = False
        self._sent_in = inf

    def token_sent(self, number: int) -> None:
        """Note the number of the message that tells the client the latest token."""
        self._sent_in = number

    def acknowledge(self, received: int) -> bool:
        """Accept no earlier token if the messages up to this number include the latest; whether that is new."""
        if self.oldest >= self.latest or received < self._sent_in:
            return False
        self.oldest = self.latest
        return True

    def accepts(self, generation: int) -> bool:
        """Whether the token of a generation is accepted."""
        return self.oldest <= generation <= self.latest
