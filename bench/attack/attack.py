"""What an attack is; the modules of attacks define some each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from random import Random

    from bench.attack.raw_client import Target


class Attack(ABC):
    """A kind of hostile client. `clients`: how many run at a time; `quick_clients`: the same with --quick.

    `processes`: of the attacked server, which share rooms through Redis if they are two.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    clients: ClassVar[int] = 32
    quick_clients: ClassVar[int] = 8
    processes: ClassVar[int] = 1

    def __init__(self, target: Target, random: Random) -> None:
        self._target = target
        self._random = random

    @abstractmethod
    async def attack_once(self) -> None:
        """Make one attempt. Raises OSError, including TimeoutError, if the server closes the connection first."""
