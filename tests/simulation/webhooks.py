"""A receiver of webhooks in the simulated world, and whether it was told the truth."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mcp_actors.webhooks.deliverer import Answer
from mcp_actors.webhooks.reports import report

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from random import Random

    from bench.chaos.record import Record
    from mcp_actors.node import Node
    from mcp_actors.settings import Settings
    from mcp_actors.webhooks.reports import Reports

SETTINGS = {"webhook_url": "http://receiver/", "webhook_secret": ["whsec_" + "A" * 32]}

FAILURES = 0.1
"""The part of requests that fail, before or after the receiver has noted the event."""


@dataclass(frozen=True, slots=True)
class Told:
    """An event of which the receiver was told."""

    id: str
    type: str
    data: Mapping[str, Any]


class SimulatedReceiver:
    """Notes what it is told. It takes a while, and fails now and then."""

    def __init__(self, rng: Random) -> None:
        self.told: list[Told] = []
        self._rng = rng

    def reporting(self, settings: Settings) -> Any:
        """The factory with which a node makes reports to this receiver."""

        def make(node: Node) -> Reports:
            return report(node, settings.webhooks, settings.cluster.node_lease, self)

        return make

    async def __call__(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """See `Post`."""
        rng = self._rng
        await asyncio.sleep(rng.uniform(0.001, 0.05))
        chance = rng.random()
        if chance < FAILURES / 2:
            return Answer(503)
        event = json.loads(body)
        self.told.append(Told(headers["webhook-id"], event["type"], event["data"]))
        await asyncio.sleep(rng.uniform(0.001, 0.05))
        return Answer(0, "lost") if chance < FAILURES else Answer(204)

    def close(self) -> None:
        """See `Post`."""


def untrue(told: list[Told], record: Record) -> Iterator[str]:
    """The faults of all reports, after everybody has left; much is allowed if Redis lost data."""
    unique = list({one.id: one for one in told}.values())  # the first of each: repetitions may come late
    if record.data_lost:
        return
    yield from _out_of_order(unique)
    joined = {str(one.data["id"]) for one in unique if one.type == "member-joined"}
    for stay in record.stays:
        if stay.joined_at is not None and not any(stay.member in name for name in joined):
            yield f"{stay} joined, which was not told"


def _out_of_order(unique: list[Told]) -> Iterator[str]:
    inside: dict[str, set[str]] = {}
    gone: set[str] = set()
    for one in unique:
        room, member = str(one.data.get("room")), str(one.data.get("membership"))
        members = inside.get(room)
        fits = {
            "room-opened": members is None,
            "room-closed": members == set(),
            "member-joined": members is not None and member not in members | gone,
            "member-left": members is not None and member in members,
        }
        if not fits.get(one.type, False):
            yield f"{one.type} {dict(one.data)}, but the room has {members}"
        if one.type == "room-closed":
            inside.pop(room, None)
            continue
        members = inside.setdefault(room, set())
        if one.type == "member-joined":
            members.add(member)
        elif one.type == "member-left":
            members.discard(member)
            gone.add(member)
    for room, members in inside.items():
        yield f"{room} still has {members}"
