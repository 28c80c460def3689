"""The wiring of the Model Context Protocol: what is imported, and where it is off."""

from __future__ import annotations

import subprocess
import sys

SHOW = """
import sys
%s
from mcp_actors.app import App
from mcp_actors.environment import load
app = App(load(overrides={"mcp": %r}, environ={}))
sdk = {"mcp", "mcp_types", "anyio", "starlette", "pydantic", "sse_starlette", "httpx"}
print(app.mcp is not None, sorted(sdk & set(sys.modules)), [name for name in sys.modules if "adapters.mcp" in name])
"""
MISSING = """
import importlib.util
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == "mcp" else find_spec(name, package)
"""


def _shown(*, mcp: bool, before: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", SHOW % (before, mcp)], capture_output=True, text=True, check=True)


def test_a_plain_server_imports_nothing_of_it() -> None:
    assert _shown(mcp=False).stdout == "False [] []\n"


def test_a_server_with_agents_imports_the_sdk() -> None:
    assert _shown(mcp=True).stdout.startswith("True ['anyio', 'mcp', 'mcp_types', 'pydantic'")


def test_a_server_without_the_extra_says_what_to_install_and_imports_nothing() -> None:
    shown = _shown(mcp=True, before=MISSING)
    assert shown.stdout.splitlines()[-1] == "False [] []"
    assert "pip install '.[mcp]'" in shown.stdout + shown.stderr
