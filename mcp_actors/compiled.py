"""Whether the modules on the path of a message are compiled with mypyc, as in wheels for a platform."""

from __future__ import annotations

from importlib.util import find_spec

MODULE = "mcp_actors.ws.frames"
"""One of them; all are compiled, or none is."""


def is_compiled() -> bool:
    """Whether these modules are extensions."""
    spec = find_spec(MODULE)
    return spec is not None and spec.origin is not None and not spec.origin.endswith(".py")


def variant() -> str:
    """A word for it, in `mcp-actors --version`, metrics and results of the bench suite."""
    return "compiled" if is_compiled() else "pure Python"
