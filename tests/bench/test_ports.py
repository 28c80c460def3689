"""Ports for servers that do not listen yet: nobody is given one twice."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from bench.ports import SHARE, free_ports

if TYPE_CHECKING:
    import pytest


def test_a_port_that_nobody_listens_on_yet_is_not_given_again() -> None:
    given = [free_ports() for _ in range(SHARE // 4)]
    assert len(set(given)) == len(given)


def test_processes_have_ports_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    given = set()
    for pid in (1000, 1001, 1002):
        monkeypatch.setattr(os, "getpid", lambda pid=pid: pid)
        given.add(free_ports() // SHARE)
    assert len(given) == 3


def test_ports_in_a_row_are_free() -> None:
    with socket.socket() as taken:
        first = free_ports(3)
        taken.bind(("127.0.0.1", first + 4))
        taken.listen()
        found = free_ports(3)
        assert first + 4 not in range(found, found + 3)
