"""How often agents may call tools: each caller, and each address with all its callers."""

from __future__ import annotations

from collections import OrderedDict
from math import ceil
from typing import TYPE_CHECKING, NamedTuple

from mcp_actors.connection.ip_limits import group_of

if TYPE_CHECKING:
    from mcp_actors.adapters.mcp.caller import Caller
    from mcp_actors.connection.token_bucket import TokenBucket


TOO_OFTEN = "You call too often; try again in {seconds} s."


class CallRates(NamedTuple):
    """The calls of each caller, and of each address."""

    caller: TokenBucket
    address: TokenBucket


class CallLimits:
    """The buckets that are not full, at most `most` of either kind; a caller without an id is its address."""

    def __init__(self, rates: CallRates, most: int) -> None:
        self._rates = rates
        self._most = most
        self._callers: OrderedDict[str, float] = OrderedDict()
        self._addresses: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._callers) + len(self._addresses)

    def wait(self, caller: Caller, now: float) -> int:
        """Count a call and return 0, or return after how many seconds, rounded up, it may be tried again."""
        address = group_of(caller.address)
        name = f"user {caller.user}" if caller.user else f"address {address}"
        tables = ((self._callers, name, self._rates.caller), (self._addresses, address, self._rates.address))
        waits = [self._spend(table, key, bucket, now) for table, key, bucket in tables]
        longest = max(wait for wait, _ in waits)
        if longest > 0:
            return ceil(longest)
        for (table, key, _), (_, due) in zip(tables, waits, strict=True):
            self._keep(table, key, due, now)
        return 0

    def _spend(self, table: OrderedDict[str, float], key: str, bucket: TokenBucket, now: float) -> tuple[float, float]:
        due = bucket.spend(table.get(key, 0.0), now, 1)
        return bucket.wait(due, now), due

    def _keep(self, table: OrderedDict[str, float], key: str, due: float, now: float) -> None:
        """Keep the state of a bucket that is not full, and forget those that are, the least recently used first."""
        table[key] = due
        table.move_to_end(key)
        while len(table) > self._most or next(iter(table.values())) <= now < due:
            table.popitem(last=False)
