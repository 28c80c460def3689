"""Signaling of clients without a page, whose media is to go over a `UdpPath`."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.sync.server import serve

if TYPE_CHECKING:
    from types import TracebackType

    from websockets.sync.client import ClientConnection
    from websockets.sync.server import ServerConnection

    from tests.web.call.udp_path import UdpPath


class SignalingProxy:
    """Stands before a local server, and puts a path between its clients."""

    def __init__(self, path: UdpPath, target: int) -> None:
        self._path = path
        self._target = target
        self._server = serve(self._handle, "127.0.0.1", 0)
        self.url = f"ws://127.0.0.1:{self._server.socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def _handle(self, near: ServerConnection) -> None:
        assert near.request is not None
        with connect(f"ws://127.0.0.1:{self._target}{near.request.path}", compression=None) as far:
            up = threading.Thread(target=self._carry_up, args=(near, far), daemon=True)
            up.start()
            with suppress(ConnectionClosed):
                for frame in far:
                    near.send(self._path.rewritten(frame))
            near.close()
            up.join()

    @staticmethod
    def _carry_up(near: ServerConnection, far: ClientConnection) -> None:
        with suppress(ConnectionClosed):
            for frame in near:
                far.send(frame)
        far.close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
