"""Lua scripts on a keyspace, in Lua 5.1, with what Redis gives them."""

from __future__ import annotations

import struct
from hashlib import sha1
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lupa.lua51 import LuaError, LuaRuntime, lua_type

from tests.simulation.redis import commands
from tests.simulation.redis.commands import CommandError, Status

if TYPE_CHECKING:
    from tests.simulation.redis.commands import Keyspace

CMSGPACK = (Path(__file__).parent / "cmsgpack.lua").read_bytes()

PRELUDE = b"""
local call = ...
redis = {
  call = function(...)
    local reply, failed = call(...)
    if failed then error(reply, 0) end
    return reply
  end,
  pcall = function(...) return (call(...)) end,
  error_reply = function(text) return {err = text} end,
  status_reply = function(text) return {ok = text} end,
}
return function(script, keys, arguments)
  KEYS, ARGV = keys, arguments
  local fine, reply = pcall(script)
  if not fine and type(reply) ~= 'table' then reply = {err = 'ERR ' .. tostring(reply)} end
  return reply
end
"""


class Scripts:
    """The loaded scripts, by digest. One Lua state runs the scripts of every keyspace that it is given."""

    def __init__(self) -> None:
        self.loaded: dict[bytes, Any] = {}
        self._compiled: dict[bytes, Any] = {}
        self._lua = LuaRuntime(encoding=None, unpack_returned_tuples=True, register_eval=False, register_builtins=False)
        self._commands: dict[bytes, commands.Command] = {}
        self._keyspace: Keyspace
        self._full = self._written = False
        lua_globals = self._lua.globals()
        lua_globals[b"cmsgpack"] = self._lua.execute(CMSGPACK, _pack_double, _unpack_double)
        self._run = self._lua.execute(PRELUDE, self._call)
        self._load = self._lua.eval(b"loadstring")

    def load(self, text: bytes) -> bytes:
        """Load a script and return its digest."""
        digest = sha1(text, usedforsecurity=False).hexdigest().encode()
        if digest not in self._compiled:
            script = self._load(text, b"@user_script")
            if isinstance(script, tuple):
                raise CommandError(f"ERR Error compiling script (new function): {script[1].decode()}")
            self._compiled[digest] = script
        self.loaded[digest] = self._compiled[digest]
        return digest

    def flush(self) -> None:
        """Forget all scripts."""
        self.loaded.clear()

    def run(self, keyspace: Keyspace, digest: bytes, keys: list[bytes], arguments: list[bytes], *, full: bool) -> Any:
        """Run a script. Raises `CommandError`. `full`: whether the memory is."""
        script = self.loaded.get(digest.lower())
        if script is None:
            raise CommandError("NOSCRIPT No matching script. Please use EVAL.")
        self._keyspace, self._full, self._written = keyspace, full, False
        make = self._lua.table_from
        try:
            return self._reply(self._run(script, make(keys), make(arguments)))
        except LuaError as error:
            raise CommandError(f"ERR {error}") from None

    def _call(self, name: bytes, *arguments: Any) -> Any:
        found = self._commands.get(name) or self._find(name)
        try:
            if self._full and not self._written and found.limited:
                raise CommandError(commands.OUT_OF_MEMORY)  # noqa: TRY301
            given = [one if type(one) is bytes else _argument(one) for one in arguments]
            reply = found.call(self._keyspace, given)
        except CommandError as error:
            return self._lua.table_from({b"err": str(error).encode()}), True
        self._written = self._written or found.writes
        kind = type(reply)
        return reply if kind is bytes or kind is int else self._value(reply)

    def _find(self, name: bytes) -> commands.Command:
        found = self._commands[name] = commands.find(name.decode().upper())
        return found

    def _value(self, reply: Any) -> Any:
        kind = type(reply)
        if kind is bytes or kind is int:
            return reply
        if reply is None:
            return False
        if kind is Status:
            return self._lua.table_from({b"ok": bytes(reply)})
        return self._lua.table_from([one if type(one) is bytes else self._value(one) for one in reply])

    def _reply(self, value: Any) -> Any:
        kind = type(value)
        if kind is bytes:
            return value
        if value is None or value is False:
            return None
        if value is True:
            return 1
        if kind is int or kind is float:
            return int(value)
        if lua_type(value) != "table":
            return None
        if value[b"err"] is not None:
            raise CommandError(value[b"err"].decode("utf-8", "replace"))
        if value[b"ok"] is not None:
            return Status(value[b"ok"])
        found, index = [], 1
        while (one := value[index]) is not None:
            found.append(self._reply(one))
            index += 1
        return found


def _argument(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return b"%.17g" % value
    raise CommandError("ERR Lua redis lib command arguments must be strings or integers")


def _pack_double(number: float, whole: bool) -> bytes:
    if whole:
        return struct.pack(">q", int(number))
    try:
        single = struct.pack(">f", number)
    except OverflowError:
        single = b""
    if single and struct.unpack(">f", single)[0] == number:
        return b"\xca" + single
    return b"\xcb" + struct.pack(">d", number)


_FORMATS = {0xCA: ">f", 0xCB: ">d", 0xD3: ">q"}


def _unpack_double(tag: int, text: bytes) -> float:
    (found,) = struct.unpack(_FORMATS[tag], text)
    return found  # type: ignore[no-any-return]
