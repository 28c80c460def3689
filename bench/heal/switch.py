"""A switch for Ethernet frames that can lose them: the rules, without I/O."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

MAC = bytes.fromhex("0200000000")
"""The first five bytes of all addresses; the sixth is the number of the port."""

PASSED = (b"\x08\x00", b"\x08\x06")
"""The kinds of frames that are forwarded: IPv4 and ARP."""

HEADER = 14


def address(port: int) -> str:
    """Return the Ethernet address of what is behind a port."""
    return (MAC + bytes([port])).hex(":")


class Switch:
    """Ports 0, 1, ..., and what is wrong with them.

    `cut`: ports that nothing reaches or leaves. `severed`: ways from one port to another that nothing takes. `loss`:
    the share of frames that are lost.
    """

    def __init__(self, ports: int, chance: Random) -> None:
        self.ports = range(ports)
        self.cut: set[int] = set()
        self.severed: set[tuple[int, int]] = set()
        self.loss = 0.0
        self._chance = chance

    def sever(self, pairs: Iterable[tuple[int, int]], *, both_ways: bool = True) -> None:
        """Sever the ways from the first to the second of each pair, and those back."""
        for pair in pairs:
            self.severed.update(permutations(pair) if both_ways else [pair])  # type: ignore[arg-type]

    def mend(self) -> None:
        """Forward everything again."""
        self.cut, self.severed, self.loss = set(), set(), 0.0

    def targets(self, frame: bytes, source: int) -> list[int]:
        """Return the ports that a frame goes to."""
        if len(frame) < HEADER or frame[12:14] not in PASSED or source in self.cut:
            return []
        known = frame[:5] == MAC and frame[5] in self.ports
        found = [frame[5]] if known else [port for port in self.ports if port != source]
        return [port for port in found if self._passes(source, port)]

    def _passes(self, source: int, target: int) -> bool:
        if target in self.cut or (source, target) in self.severed:
            return False
        return not self.loss or self._chance.random() >= self.loss
