"""Accounts for every message of a trial, and for what its sender knows of it."""

from __future__ import annotations

from bench.ledger import Ledger


class Account(Ledger):
    """A ledger that tells messages that are lost silently from those that their senders know to be undelivered.

    A sender knows it from an error, or because its client has no connection to send the message on.
    """

    def __init__(self, senders: int) -> None:
        super().__init__(senders)
        self._told: set[tuple[int, int]] = set()

    def tell(self, sender: int, sent_at: int) -> None:
        """Record that a sender knows of a message that may not arrive. If it arrives all the same, this is ignored."""
        self._told.add((sender, sent_at))

    @property
    def told(self) -> int:
        """Messages that have not arrived, as their senders know."""
        return sum(sent_at in self.missing(sender) for sender, sent_at in self._told)

    @property
    def lost(self) -> int:
        """Messages that have not arrived, without their senders knowing it."""
        return super().lost - self.told

    def balance(self) -> dict[str, float]:
        """See `Ledger`."""
        return super().balance() | {"told": self.told}
