"""The reference of settings, from their types and from the explanations in settings/development.env."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, get_args, get_origin

import msgspec

from mcp_actors.environment import ALIASES
from mcp_actors.settings import GROUPS, PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator

PROFILE = Path(__file__).parents[2] / "settings" / "development.env"

_LINE = re.compile(r"([A-Z][A-Z0-9_]*)=(.*)")
_KINDS = {bool: "true or false", int: "integer", float: "number", str: "text"}


class Explained(NamedTuple):
    """Settings that stand together in the file: their names, and its text about them."""

    names: tuple[str, ...]
    text: str


def explained(text: str) -> list[Explained]:
    """The blocks of a settings file: a comment, and the settings below it."""
    found, comment, names = [], [], []
    for line in [*text.splitlines(), ""]:
        setting = _LINE.fullmatch(line)
        if setting:
            names.append(setting[1])
        elif line.startswith("#"):
            comment.append(line.removeprefix("#").strip())
        if not line.strip():
            if names:
                found.append(Explained(tuple(names), " ".join(comment)))
            comment, names = [], []
    return found


def markdown(text: str | None = None) -> str:
    """The reference as Markdown: a section for each group, and an entry for each setting."""
    blocks = {name: block for block in explained(text or PROFILE.read_text(encoding="utf-8")) for name in block.names}
    return "\n".join(line for group in GROUPS.values() for line in _section(group, blocks))


def _section(group: Any, blocks: dict[str, Explained]) -> Iterator[str]:
    title = group.__doc__.split("\n")[0].removesuffix(".")
    yield f"## {title}\n"
    told: set[str] = set()
    for info in msgspec.structs.fields(group):
        name = PREFIX + info.encode_name.upper()
        block = blocks[name]
        yield f"({info.encode_name})=\n"
        yield f"### `{name}`\n"
        yield f"{_facts(info)}\n"
        first = next(iter(block.names))
        if first in told and first != name:
            yield f"Explained with [`{first}`](#{first.removeprefix(PREFIX).lower()}).\n"
        else:
            yield f"{_plain(block.text)}\n"
        told.add(name)
        told.add(first)


def _facts(info: msgspec.structs.FieldInfo) -> str:
    facts = [_type(info.type), f"default {_default(info.default)}"]
    names = [f"`{alias}`" for alias, field in ALIASES.items() if field == info.encode_name]
    facts += [f"also {' and '.join(names)}"] if names else []
    return f"*{'; '.join(facts)}*"


def _type(kind: Any) -> str:
    bounds = ""
    if get_origin(kind) is Annotated:
        kind, *extra = get_args(kind)
        bounds = "".join(_bounds(one) for one in extra if isinstance(one, msgspec.Meta))
    if get_origin(kind) is Annotated:
        return _type(kind) + bounds
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(f"`{choice}`" for choice in get_args(kind))
    if get_origin(kind) is tuple:
        return "JSON" if get_args(kind)[0] is not str else "texts, separated by commas"
    return _KINDS[kind] + bounds


def _bounds(meta: msgspec.Meta) -> str:
    least = "" if meta.ge is None else f" from {meta.ge:,}"
    return least + ("" if meta.le is None else f" to {meta.le:,}")


def _default(value: Any) -> str:
    if value in ("", ()):
        return "empty"
    return f"`{value:g}`" if isinstance(value, float) and value.is_integer() else f"`{value}`"


def _plain(text: str) -> str:
    """The text of comments, in which names of settings stand without marks, as Markdown."""
    text = re.sub(r"(?<![`\w])([*<>])", r"\\\1", text)
    return re.sub(r"(?<![`\w/])(MCP_ACTORS_[A-Z_]+|[A-Z]+(?:_[A-Z]+)+)(?![\w`])", r"`\1`", text)
