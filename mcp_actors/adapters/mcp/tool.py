"""A tool: its name and description, the types that it takes and returns, and their JSON schemas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mcp_actors.adapters.mcp.caller import Caller


class ToolError(Exception):
    """A call that cannot be carried out. `str(error)` tells a model what is wrong and what to do next."""


class BadArguments(Exception):
    """Arguments that do not fit the schema of the tool; `str(error)` says which, and why."""


class Tool(NamedTuple):
    """`run` takes the caller and its arguments, and returns a result, both of the given types. May raise `ToolError`.

    `changes`: whether a call changes anything. `for_operators`: only they see it and may call it.
    """

    name: str
    description: str
    arguments: type[Struct]
    result: type[Struct]
    run: Callable[[Caller, Any], Awaitable[Any]]
    changes: bool = True
    for_operators: bool = False

    def read(self, arguments: dict[str, Any]) -> Struct:
        """Return arguments as the type that the tool takes. Raises `BadArguments`."""
        try:
            return msgspec.convert(arguments, self.arguments)
        except msgspec.ValidationError as error:
            raise BadArguments(f"The arguments of {self.name} cannot be used: {error}.") from None


def schema_of(kind: type[Struct]) -> dict[str, Any]:
    """Return the JSON schema of a type, with an object at its root."""
    found = msgspec.json.schema(kind)
    definitions = found["$defs"]
    root = definitions.pop(kind.__name__)
    root.pop("title", None)
    return {**root, "$defs": definitions} if definitions else root
