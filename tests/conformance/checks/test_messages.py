"""Servers that answer requests wrongly are found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcp_actors.conformance.checks import messages
from mcp_actors.ws.frame_loop import FrameLoop
from tests.conformance.mutants import ask, change, drop, of_module, set_field, survivors

if TYPE_CHECKING:
    import pytest

    from tests.support.server import Server

MUTANTS: dict[str, dict[str, Any]] = {
    "MSG-1": {"received": change("left", lambda message: message.pop("id", None))},
    "MSG-2": {"sent": ask(lambda message: message.pop("further", None))},
    "MSG-3": {"received": change("signal", lambda message: message["payload"].pop("further", None))},
    "MSG-4": {"sent": ask(lambda message: message.update(id="x") if message.get("id", 0) is None else None)},
    "MSG-5": {"received": drop("answer")},
    "MSG-6": {"sent": lambda frame: "{" if str(frame).startswith("\ufeff") else frame},
    "MSG-7": {"sent": lambda frame: None if isinstance(frame, bytes) else frame},
    "MSG-8": {"received": change("error", lambda message: message.update(type="joined"))},
    "MSG-9": {"received": set_field("signal", "data", "\ufffd")},
    "ERR-1": {"received": drop("error")},
    "ERR-2": {"sent": ask(lambda message: message.update(type="join"))},
    "ERR-3": {"received": set_field("error", "details", {}, code="message-too-big")},
    "ERR-4": {"sent": lambda frame: None if frame == "{" else frame},
    "BEAT-1": {"received": drop("pong")},
}


def test_each_requirement_has_a_mutant() -> None:
    assert {*MUTANTS, "BEAT-2"} == of_module(messages)


async def test_each_mutant_is_found(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await survivors(MUTANTS, server.url("", "http"), monkeypatch) == {}


async def test_a_server_that_answers_no_pings_is_found(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FrameLoop, "ping_received", lambda *_: None)
    assert await survivors({"BEAT-2": {}}, server.url("", "http"), monkeypatch) == {}
