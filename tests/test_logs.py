"""Logs: JSON lines or text, and one level for all loggers."""

from __future__ import annotations

import json
import subprocess
import sys

SCRIPT = """
import logging, structlog
from mcp_actors.logs import set_up
set_up({level!r}, {style!r})
log = structlog.get_logger("mcp_actors.room")
log.debug("quiet", room="r")
log.info("room lost", room="r", peer="p")
logging.getLogger("tornado.general").warning("a %s of Tornado", "warning")
logging.getLogger("tornado.general").info("Malformed HTTP message from %s: %s", "a client", "Bearer T0KEN")
logging.getLogger("mcp.server.runner").warning("dropped %r: malformed params", "what an agent sent")
logging.getLogger("tornado.general").warning("SSL Error on %s %s: %s", 7, "a client", "nonsense")
def fail(sdp):
    return 1 / 0

try:
    fail("v=0 " + "SEC" + "RET")
except ZeroDivisionError:
    log.error("failed", exc_info=True)
"""


def logged(level: str, style: str) -> list[str]:
    script = SCRIPT.format(level=level, style=style)
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout == ""
    return run.stderr.splitlines()


def test_json_has_one_object_per_line_with_level_event_and_fields() -> None:
    lines = [json.loads(line) for line in logged("info", "json")]
    assert [line["event"] for line in lines] == ["room lost", "a warning of Tornado", "failed"]
    assert [line["level"] for line in lines] == ["info", "warning", "error"]
    assert (lines[0]["room"], lines[0]["peer"], lines[0]["logger"]) == ("r", "p", "mcp_actors.room")
    assert "ZeroDivisionError" in lines[2]["exception"]
    assert all("timestamp" in line for line in lines)


def test_auto_is_json_where_standard_error_is_not_a_terminal() -> None:
    assert all(line.startswith("{") for line in logged("warning", "auto"))


def test_text_shows_events_fields_and_tracebacks() -> None:
    lines = logged("debug", "text")
    assert "quiet" in lines[0]
    assert "room=r" in lines[0]
    assert any("ZeroDivisionError" in line for line in lines)


def test_values_of_variables_are_never_logged() -> None:
    for style in ("text", "json"):
        assert not any("SECRET" in line for line in logged("debug", style))


def test_failed_tls_handshakes_are_not_logged() -> None:
    assert not any("SSL Error" in line for line in logged("debug", "json"))


def test_malformed_requests_are_logged_at_no_level() -> None:
    for level in ("info", "debug"):
        assert not any("T0KEN" in line for line in logged(level, "json"))


def test_the_level_applies_to_libraries() -> None:
    assert [json.loads(line)["event"] for line in logged("error", "json")] == ["failed"]


CHANGED = """
import structlog
from mcp_actors.logs import set_up
control = set_up("info", "json")
log = structlog.get_logger("mcp_actors.room")
for level in ("info", "debug", "error", "info"):
    control.set(level, 100.0)
    log.debug("a", now=level)
    log.info("b", now=level)
    log.error("c", now=level)
"""


def test_the_level_changes_while_the_process_runs_also_for_loggers_that_were_used_before() -> None:
    run = subprocess.run([sys.executable, "-c", CHANGED], capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in run.stderr.splitlines()]
    told: dict[str, str] = {}
    for line in lines:
        told[line["now"]] = told.get(line["now"], "") + line["event"]
    assert told == {"info": "bcbc", "debug": "abc", "error": "c"}


ACCESS = """
import time, structlog
from mcp_actors.logs import set_up
set_up("info", "json", 5.0)
log = structlog.get_logger("mcp_actors.access")
for number in range(100):
    log.info("connection closed", number=number)
    log.info("handshake refused", number=number)
structlog.get_logger("mcp_actors").info("something else")
"""


def test_a_flood_of_connections_has_the_budget_of_the_access_log_and_no_more() -> None:
    run = subprocess.run([sys.executable, "-c", ACCESS], capture_output=True, text=True, check=True)
    events = [json.loads(line)["event"] for line in run.stderr.splitlines()]
    assert events.pop() == "something else"
    assert 50 <= len(events) <= 60  # ten seconds' worth of 5 a second, and what the time of the run adds
    assert events[:4] == ["connection closed", "handshake refused"] * 2
