"""Revoked access tokens: /api/v1/revocations."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct

from mcp_actors.adapters.admin.api_error import ApiError
from mcp_actors.adapters.admin.api_page import Operation
from mcp_actors.broker.revocations import Claim, Revocation, by_end

if TYPE_CHECKING:
    from mcp_actors.adapters.admin.api_page import Call
    from mcp_actors.broker.revocations import Revocations as Store

MONTH = 30 * 86_400
YEAR = 366 * 86_400
"""Seconds of the longest revocation: tokens of the command line last no longer."""

Value = Annotated[str, Meta(min_length=1, max_length=512)]


class RevocationEntry(Struct, frozen=True):
    """Tokens that count no more: the one with this `jti`, or those of this `sub`.

    `until`: when that ends. `issued_before`: of a `sub`, only tokens that were issued earlier, or do not say when; 0
    for all. Times are seconds since 1970.
    """

    claim: Claim
    value: str
    until: float
    issued_before: float


class RevocationList(Struct, frozen=True):
    """All revocations, those that end first before others."""

    revocations: list[RevocationEntry]


class RevocationRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Revokes the token with a `jti`, or those of a `sub`; one of them is set.

    `seconds`: for how long, which should be as long as the tokens last. `issued_before`: as in `RevocationEntry`.
    """

    jti: Value | None = None
    sub: Value | None = None
    seconds: Annotated[int, Meta(ge=1, le=YEAR)] = MONTH
    issued_before: Annotated[float, Meta(ge=0)] = 0.0


class Lifted(Struct, frozen=True):
    """`lifted` is false if there was no such revocation."""

    claim: Claim
    value: str
    lifted: bool


class Revocations:
    """The revocations of all processes."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def all(self) -> dict[str, Operation]:
        """The operations of /revocations."""
        return {
            "GET": Operation("List revocations", self._list, RevocationList),
            "POST": Operation(
                "Revoke access tokens, and close their connections",
                self._revoke,
                RevocationEntry,
                body=RevocationRequest,
                logged="tokens revoked by operator",
            ),
        }

    @property
    def single(self) -> dict[str, Operation]:
        """The operations of /revocations/{claim}/{value}."""
        return {"DELETE": Operation("Lift a revocation", self._lift, Lifted, logged="revocation lifted by operator")}

    async def _list(self, _call: Call) -> RevocationList:
        return RevocationList([_entry(one) for one in by_end(self._store.table)])

    async def _revoke(self, call: Call) -> RevocationEntry:
        asked: RevocationRequest = call.body
        if (asked.jti is None) is (asked.sub is None):
            raise ApiError(HTTPStatus.BAD_REQUEST, "Name either a `jti` or a `sub`.")
        if asked.jti is not None and asked.issued_before:
            raise ApiError(HTTPStatus.BAD_REQUEST, "`issued_before` is for a `sub`.")
        claim: Claim = "sub" if asked.jti is None else "jti"
        value = asked.sub if asked.jti is None else asked.jti
        revocation = Revocation(claim, str(value), time.time() + asked.seconds, asked.issued_before)
        if not await self._store.revoke(revocation):
            text = "There are as many revocations as there may be (MCP_ACTORS_MAX_REVOCATIONS); lift some first."
            raise ApiError(HTTPStatus.CONFLICT, text)
        return _entry(revocation)

    async def _lift(self, call: Call) -> Lifted:
        claim: Claim = "jti" if call.parameters["claim"] == "jti" else "sub"
        value = call.parameters["value"]
        return Lifted(claim, value, await self._store.lift(claim, value))


def _entry(one: Revocation) -> RevocationEntry:
    return RevocationEntry(one.claim, one.value, one.until, one.issued_before)
