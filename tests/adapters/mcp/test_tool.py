"""Tools: what they take, and the schemas that describe it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import pytest
from msgspec import Meta, Struct

from mcp_actors.adapters.mcp.tool import BadArguments, Tool, schema_of

if TYPE_CHECKING:
    from mcp_actors.adapters.mcp.caller import Caller


class Part(Struct):
    """A part."""

    name: str


class Arguments(Struct, forbid_unknown_fields=True):
    """What it takes."""

    count: Annotated[int, Meta(ge=1)]
    part: Part | None = None


async def _run(_caller: Caller, _arguments: Arguments) -> Part:
    return Part("x")


TOOL = Tool("make", "Make parts.", Arguments, Part, _run)


def test_arguments_are_read_as_the_type_of_the_tool() -> None:
    assert TOOL.read({"count": 2, "part": {"name": "a"}}) == Arguments(2, Part("a"))


@pytest.mark.parametrize("arguments", [{}, {"count": 0}, {"count": "two"}, {"count": 1, "more": 1}], ids=str)
def test_arguments_that_do_not_fit_are_refused_by_name(arguments: dict[str, object]) -> None:
    with pytest.raises(BadArguments, match="The arguments of make cannot be used: "):
        TOOL.read(arguments)


def test_a_schema_has_an_object_at_its_root() -> None:
    schema = schema_of(Arguments)
    assert (schema["type"], schema["required"], schema["additionalProperties"]) == ("object", ["count"], False)
    assert schema["$defs"]["Part"]["type"] == "object"
