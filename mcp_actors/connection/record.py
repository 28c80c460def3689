"""The record of one connection: what is counted and logged of its life."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp_actors.connection.counters import LOST, NO_CODE

if TYPE_CHECKING:
    from mcp_actors.connection.access_log import AccessLog
    from mcp_actors.connection.counters import ConnectionCounters
    from mcp_actors.connection.identity import Identity
    from mcp_actors.connection.transport import Transport
    from mcp_actors.protocol.errors import CloseCode
    from mcp_actors.sessions import Session


class Record:
    """Counts a connection while it is open, and logs it when it is over. Times are seconds of any one clock."""

    __slots__ = (
        *("_access_log", "_address", "_code", "_counted", "_counters", "_endpoint", "_ids", "_opened_at", "_reason"),
        *("_transport", "controls", "id"),
    )

    def __init__(
        self,
        counters: ConnectionCounters,
        access_log: AccessLog,
        transport: Transport,
        endpoint: str,
        address: str,
        now: float,
    ) -> None:
        self.id = counters.count_opened(endpoint)
        """The number of the connection in this process, in all lines of the log about it."""
        self.controls = 0
        """Frames of the client that were no messages."""
        self._counters = counters
        self._access_log = access_log
        self._transport = transport
        self._endpoint = endpoint
        self._address = address
        self._opened_at = now
        self._counted = (0, 0)  # bytes received and sent
        self._code, self._reason = LOST, "lost"
        self._ids: tuple[str, ...] = ()

    def closing(self, code: CloseCode) -> None:
        """Note that the server closes."""
        self._code, self._reason = int(code), code.reason

    def closed_by_client(self, code: int | None) -> None:
        """Note that the client closes, or that the transport does because the client broke its rules."""
        self._code, self._reason = NO_CODE if code is None else code, "closed-by-client"

    def identify(self, identity: Identity, session: Session | None) -> None:
        """Note the ids of the client, as far as they are known: of a peer without a token, those in its rooms."""
        if not self._access_log.enabled:
            return
        if identity.grant is not None:
            self._ids = (identity.grant.sub,)
        elif session is not None:
            own = dict.fromkeys(str(one.member_id) for one in session.rooms.values())
            self._ids = (session.identity,) if session.identity else tuple(own)

    def count_bytes(self) -> tuple[int, int]:
        """Count the bytes since the last time; return all that were received and sent."""
        before, counters = self._counted, self._counters
        self._counted = received, sent = self._transport.received, self._transport.written
        counters.received_bytes += received - before[0]
        counters.sent_bytes += sent - before[1]
        return self._counted

    def over(self, now: float, *, frames: int, sent: int) -> None:
        """Count and log the end. `frames`: received, with those that were no messages; `sent`: messages."""
        bytes_received, bytes_sent = self.count_bytes()
        seconds = now - self._opened_at
        self._counters.count_closed(self._endpoint, self._code, seconds)
        self._access_log.closed(
            self._endpoint,
            self.id,
            self._address,
            ids=self._ids,
            seconds=seconds,
            received=(frames - self.controls, bytes_received),
            sent=(sent, bytes_sent),
            code=self._code,
            reason=self._reason,
        )
