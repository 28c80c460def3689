"""The access log: one line for the life of each connection, when it is over, and one for each refused handshake.

Requests of agents over plain HTTP have one line each.

It is off by default, and can be turned on and off at any time. Its lines have a budget of their own; see `line_limit`.
"""

from __future__ import annotations

import structlog

log = structlog.get_logger("mcp_actors.access")


class AccessLog:
    """Writes the lines while it is `enabled`."""

    __slots__ = ("enabled",)

    def __init__(self, *, enabled: bool = False) -> None:
        self.enabled = enabled

    def refused(self, endpoint: str, address: str, status: int, reason: str) -> None:
        """Log a handshake that was refused with an HTTP status, or with a close frame that says the same."""
        if self.enabled:
            log.info("handshake refused", endpoint=endpoint, address=address, status=status, reason=reason)

    def request(self, endpoint: str, address: str, *, user: str, method: str, status: int, seconds: float) -> None:
        """Log a request over plain HTTP, for a JSON-RPC `method`. `user`: the verified id of the client, or empty.

        `status`: 0 if the client disconnected before it was answered.
        """
        if self.enabled:
            log.info(
                "request",
                endpoint=endpoint,
                address=address,
                ids=user,
                method=method,
                status=status,
                seconds=round(seconds, 3),
            )

    def closed(
        self,
        endpoint: str,
        connection: int,
        address: str,
        *,
        ids: tuple[str, ...],
        seconds: float,
        received: tuple[int, int],
        sent: tuple[int, int],
        code: int,
        reason: str,
    ) -> None:
        """Log the end of a connection.

        `ids`: those of the client. `received` and `sent`: messages, and bytes of frames.
        """
        if self.enabled:
            log.info(
                "connection closed",
                endpoint=endpoint,
                connection=connection,
                address=address,
                ids=", ".join(ids),
                seconds=round(seconds, 3),
                messages_received=received[0],
                bytes_received=received[1],
                messages_sent=sent[0],
                bytes_sent=sent[1],
                code=code,
                reason=reason,
            )
