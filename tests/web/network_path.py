"""A TCP proxy that tests can interrupt."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class NetworkPath:
    """A path to a local port, with a port of its own; it can be cut, frozen, mended, and led to another port."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._ends: list[socket.socket] = []
        self._frozen: set[socket.socket] = set()
        self._listener: socket.socket
        self.port = 0
        self.mend()

    def lead_to(self, target: int) -> None:
        """Lead new connections to another port."""
        self._target = target

    def mend(self) -> None:
        """Accept connections."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        """Break all connections, and refuse new ones."""
        self._close(self._listener)
        while self._ends:
            self._close(self._ends.pop())

    def freeze(self) -> None:
        """Let nothing more through on the connections there are, without a sign to either end."""
        self._frozen.update(self._ends)

    def freeze_answers(self) -> None:
        """Let nothing more through that comes from the port."""
        self._frozen.update(self._ends[1::2])

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self._target))
                except OSError:  # nobody listens there
                    self._close(near)
                    continue
                self._ends += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if source not in self._frozen:
                    sink.sendall(data)
        self._close(source)
        self._close(sink)

    @staticmethod
    def _close(end: socket.socket) -> None:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
