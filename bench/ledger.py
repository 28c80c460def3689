"""Exact books of messages under way: which arrived, which did not, which twice, and which out of turn."""

from __future__ import annotations


class Ledger:
    """Messages of some senders, each with one receiver. A message is known by its sender and when it left.

    `delivered`: those that arrived at least once. `duplicated`: arrivals beyond the first. `reordered`: those that
    arrived after one that their sender sent later.
    """

    def __init__(self, senders: int) -> None:
        self.sent = self.delivered = self.duplicated = self.reordered = 0
        self._under_way: list[set[int]] = [set() for _ in range(senders)]
        self._last_sent = [0] * senders
        self._last_arrived = [0] * senders

    @property
    def lost(self) -> int:
        """Those that did not arrive, so far."""
        return self.sent - self.delivered

    def send(self, sender: int, now: int) -> int:
        """One leaves at `now` ns; the time to write into it, later than that of any before it."""
        left = self._last_sent[sender] = max(now, self._last_sent[sender] + 1)
        self._under_way[sender].add(left)
        self.sent += 1
        return left

    def arrive(self, sender: int, left: int) -> bool:
        """The one that `left` at that time is here; whether for the first time."""
        under_way = self._under_way[sender]
        if left not in under_way:
            self.duplicated += 1
            return False
        under_way.remove(left)
        self.delivered += 1
        if left < self._last_arrived[sender]:
            self.reordered += 1
        else:
            self._last_arrived[sender] = left
        return True

    def balance(self) -> dict[str, float]:
        """All counts, and as `amiss` the sum of those that should be 0."""
        wrong = {"lost": self.lost, "duplicated": self.duplicated, "reordered": self.reordered}
        return {"sent": self.sent, "delivered": self.delivered, **wrong, "amiss": sum(wrong.values())}
