"""Mutants of a server: what it receives or sends is changed on the way, so that it breaks one requirement."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from mcp_actors.conformance.client import Client
from mcp_actors.conformance.registry import REQUIREMENTS
from mcp_actors.conformance.runner import Outcome, judge
from mcp_actors.conformance.target import Target

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pytest

Message = dict[str, Any]
Received = Callable[[Message], "Sequence[Message]"]
"""Gives the messages that a client receives in place of one of the server."""

Sent = Callable[[str | bytes], str | bytes | None]
"""Gives the frame that the server receives in place of one of a client; None if there is none."""

PATIENCE = 2.0
"""Seconds for which checks of mutants wait: shorter than usual, as many of them wait in vain."""


class Mutant(Client):
    """A client that sees another server than there is."""

    def __init__(self, socket: Any, *, received: Received | None = None, sent: Sent | None = None) -> None:
        super().__init__(socket)
        self._received, self._sent = received, sent
        self._waiting: deque[str] = deque()

    async def send(self, frame: str | bytes) -> None:
        changed = self._sent(frame) if self._sent else frame
        if changed is not None:
            await super().send(changed)

    async def hear_frame(self, expected: str = "a message") -> str | bytes:
        while not self._waiting:
            frame = await super().hear_frame(expected)
            if self._received is None:
                return frame
            self._waiting.extend(json.dumps(one) for one in self._received(json.loads(frame)))
        return self._waiting.popleft()


def drop(kind: str, **payload: Any) -> Received:
    """The server does not send messages of a type, or those with these fields."""
    return lambda message: [] if _is(message, kind, payload) else [message]


def change(kind: str, to: Callable[[Message], object], **payload: Any) -> Received:
    """The server sends messages of a type otherwise."""

    def received(message: Message) -> Sequence[Message]:
        if _is(message, kind, payload):
            to(message)
        return [message]

    return received


def set_field(kind: str, name: str, value: Any, **payload: Any) -> Received:
    """The server sends another value in the payload of a message."""
    return change(kind, lambda message: message["payload"].__setitem__(name, value), **payload)


def refuse_otherwise(code: str) -> Received:
    """The server answers with another error."""
    return set_field("error", "code", "internal", code=code)


def before(kind: str, other: Message) -> Received:
    """The server sends another message before one of a type."""
    return lambda message: [other, message] if message["type"] == kind else [message]


def swap(kind: str) -> Callable[[], Received]:
    """The server sends the first message of a type after the next message; for each client anew."""

    def make() -> Received:
        held: list[Message] = []
        seen: list[Message] = []

        def received(message: Message) -> Sequence[Message]:
            if message["type"] == kind and not seen:
                seen.append(message)
                held.append(message)
                return []
            return [message, *(held.pop() for _ in held[:])]

        return received

    return make


def ask(to: Callable[[Message], object]) -> Sent:
    """The server receives requests otherwise."""

    def sent(frame: str | bytes) -> str | bytes:
        try:
            message = json.loads(frame)
        except ValueError:
            return frame
        to(message)
        return json.dumps(message)

    return sent


def _is(message: Message, kind: str, payload: Message) -> bool:
    given = message.get("payload", {})
    return message["type"] == kind and all(given.get(name) == value for name, value in payload.items())


async def survivors(
    mutants: Mapping[str, Mapping[str, Any]],
    url: str,
    monkeypatch: pytest.MonkeyPatch,
    *,
    other: str = "",
    secret: str = "",
) -> dict[str, str]:
    """The mutants that their checks do not find, by the ids of the requirements that they break; {} is right.

    `mutants`: by the id, `{"received": ...}` or `{"sent": ...}`; a value with the key `make` is called for each client.
    """
    monkeypatch.setattr("mcp_actors.conformance.client.PATIENCE", PATIENCE)

    async def outcome(name: str) -> str:
        target = Target(url, make_client=partial(_client, mutants[name]), other=other, secret=secret)
        [verdict] = await judge(target, [REQUIREMENTS[name]])
        return verdict.outcome

    outcomes = await asyncio.gather(*map(outcome, mutants))
    return {name: found for name, found in zip(mutants, outcomes, strict=True) if found != Outcome.BROKEN}


def _client(how: Mapping[str, Any], socket: Any) -> Client:
    given = dict(how)
    if make := given.pop("make", None):
        given["received"] = make()
    return Mutant(socket, **given)


def of_module(module: Any) -> set[str]:
    """The ids of the requirements that a module checks."""
    return {one.id for one in REQUIREMENTS.values() if one.check.__module__ == module.__name__}
