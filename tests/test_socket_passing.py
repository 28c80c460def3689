"""Passing connections between processes, here in one: to those that serve, and to those that are full, busy or gone."""

from __future__ import annotations

import socket
from collections import deque
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from mcp_actors.loopback import UNIX
from mcp_actors.socket_passing import SocketPassing
from tests.support.client import DEADLINE
from tests.support.loop import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import ExpectedLogs

MOST = 5000
"""More connections than the kernel keeps for a process that reads none."""


class Worker:
    """One process, and the connections that it serves with the addresses of their clients."""

    def __init__(self, directory: Path, number: int) -> None:
        self.passing = SocketPassing(str(directory), number)
        self.served: deque[tuple[socket.socket, Any]] = deque()
        self.full = False

    def listen(self) -> None:
        self.passing.listen(lambda connection, address: self.served.append((connection, address)), lambda: self.full)

    async def next_served(self) -> tuple[socket.socket, Any]:
        await until(lambda: self.served, "a connection is served")
        return self.served.popleft()

    def stop(self) -> None:
        self.passing.stop()
        while self.served:
            self.served.popleft()[0].close()


class Workers(ExitStack):
    """Two processes, and the sockets of a test, which are closed at its end."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = directory

    def worker(self, number: int) -> Worker:
        """A process that does not listen yet."""
        made = Worker(self._directory, number)
        self.callback(made.stop)
        return made

    def listening(self) -> tuple[Worker, Worker]:
        """The processes 1 and 2."""
        found = self.worker(1), self.worker(2)
        for one in found:
            one.listen()
        return found


def accepted(stack: ExitStack, words: bytes = b"hello") -> tuple[socket.socket, socket.socket]:
    """A client that has sent some words, and its connection at the server, which is to be closed there."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = stack.enter_context(socket.create_connection(listening.getsockname(), timeout=DEADLINE))
        connection, _ = listening.accept()
    client.sendall(words)
    return client, stack.enter_context(connection)


async def test_a_connection_goes_on_at_the_other_process_with_its_address_and_what_was_not_read(tmp_path: Path) -> None:
    with Workers(tmp_path) as stack:
        first, second = stack.listening()
        for words in (b"one", b"two"):
            client, connection = accepted(stack, words)
            assert first.passing.pass_on(connection, 2)
            assert connection.fileno() == -1
            moved, address = await second.next_served()
            stack.enter_context(moved)
            assert address == client.getsockname()
            assert not moved.get_inheritable()
            moved.setblocking(True)
            assert moved.recv(16) == words
            moved.sendall(b"welcome")
            assert client.recv(16) == b"welcome"


async def test_what_a_full_process_cannot_serve_comes_back_and_is_served(tmp_path: Path) -> None:
    with Workers(tmp_path) as stack:
        first, second = stack.listening()
        second.full = first.full = True  # also if nobody can serve it: then the client is told so
        client, connection = accepted(stack)
        assert first.passing.pass_on(connection, 2)
        returned, address = await first.next_served()
        stack.enter_context(returned)
        assert address == client.getsockname()
        assert not second.served


async def test_a_process_that_is_gone_or_not_there_yet_gets_none_and_its_successor_gets_them_again(
    tmp_path: Path,
) -> None:
    with Workers(tmp_path) as stack:
        first, second = stack.worker(1), stack.worker(2)
        first.listen()
        _, connection = accepted(stack)
        assert not first.passing.pass_on(connection, 2)
        second.listen()
        assert first.passing.pass_on(connection, 2)
        stack.enter_context((await second.next_served())[0])
        second.stop()
        _, other = accepted(stack)
        assert not first.passing.pass_on(other, 2)
        successor = stack.worker(2)
        successor.listen()
        assert first.passing.pass_on(other, 2)
        stack.enter_context((await successor.next_served())[0])


async def test_a_process_that_reads_nothing_gets_no_more_than_the_kernel_keeps(tmp_path: Path) -> None:
    with Workers(tmp_path) as stack:
        first = stack.worker(1)
        first.listen()
        hanging = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        hanging.bind(str(tmp_path / "2.connections"))
        hanging.listen()
        client, connection = accepted(stack)
        kept = 0
        while kept < MOST:
            again = stack.enter_context(connection.dup())
            if not first.passing.pass_on(again, 2):
                break
            kept += 1
        assert 0 < kept < MOST
        again.sendall(b"served here")  # it was not given away
        assert client.recv(16) == b"served here"


async def test_a_process_that_has_stopped_passes_nothing_on(tmp_path: Path) -> None:
    with Workers(tmp_path) as stack:
        first, second = stack.worker(1), stack.worker(2)
        second.listen()
        _, connection = accepted(stack)
        assert not first.passing.pass_on(connection, 2)
        first.listen()
        first.stop()
        assert not first.passing.pass_on(connection, 2)
        assert connection.fileno() >= 0


async def test_a_client_that_is_gone_is_served_nowhere(tmp_path: Path) -> None:
    with Workers(tmp_path) as stack:
        first, second = stack.listening()
        client, connection = accepted(stack)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # closing resets it
        client.close()
        await until(lambda: connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), "the reset has arrived")
        assert first.passing.pass_on(connection, 2)
        _, later = accepted(stack)
        assert first.passing.pass_on(later, 2)
        stack.enter_context((await second.next_served())[0])
        assert not second.served


async def test_connections_of_unix_sockets_are_told_apart_by_numbers_of_their_own(tmp_path: Path) -> None:
    with Workers(tmp_path) as stack:
        first, second = stack.listening()
        for number in (-1, -2):
            _, connection = map(stack.enter_context, socket.socketpair())
            assert first.passing.pass_on(connection, 2)
            moved, address = await second.next_served()
            stack.enter_context(moved)
            assert address == (UNIX, number)


async def test_a_directory_that_is_gone_is_logged_and_connections_stay(
    tmp_path: Path, expected_logs: ExpectedLogs
) -> None:
    with Workers(tmp_path / "gone") as stack:
        expected_logs("mcp_actors", "connections of rooms cannot be passed to this process")
        lonely = stack.worker(1)
        lonely.listen()
        _, connection = accepted(stack)
        assert not lonely.passing.pass_on(connection, 2)
