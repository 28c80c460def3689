"""The TLS certificate of the server: loaded at the start, and again when its files change."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

log = structlog.get_logger("mcp_actors")

CHECK_INTERVAL = 1.0
"""Seconds between two checks for changed files, which take some microseconds."""


class TlsError(Exception):
    """A certificate that cannot be used; `str(error)` names the files and says why."""


class Certificate:
    """A certificate chain and its key, which may be in the same file."""

    def __init__(self, cert_file: str, key_file: str = "") -> None:
        self._cert, self._key = Path(cert_file), Path(key_file or cert_file)
        self._stamps: list[tuple[int, ...]] = []

    def load(self) -> ssl.SSLContext:
        """Return a context for new connections; open ones keep theirs. Raises `TlsError`."""
        self._stamps = self._look()  # before reading, so that a change in between is noticed
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION  # which costs the server much more than the client
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(self._cert, self._key, password=_refuse_password)
        except (OSError, ValueError) as error:
            raise TlsError(self._explain(error)) from None
        return context

    async def follow(self, use: Callable[[ssl.SSLContext], None]) -> None:
        """Load the files whenever they change, for ever; files that cannot be used are logged."""
        while True:
            await asyncio.sleep(CHECK_INTERVAL)
            if self._look() != self._stamps:
                self.reload(use)

    def reload(self, use: Callable[[ssl.SSLContext], None]) -> None:
        """Load the files now; files that cannot be used are logged."""
        try:
            use(self.load())
        except TlsError as error:
            log.warning("new certificate cannot be used, keeping the previous one", reason=str(error))
        else:
            log.info("certificate loaded", file=str(self._cert))

    def _look(self) -> list[tuple[int, ...]]:
        return [_stamp(file) for file in (self._cert, self._key)]

    def _explain(self, error: Exception) -> str:
        for file in (self._cert, self._key):
            try:
                file.read_bytes()
            except OSError as problem:
                return f"TLS file {file} cannot be read: {problem.strerror}."
        reason = getattr(error, "reason", None)
        if str(error) == "encrypted":
            return f"The key in {self._key} is encrypted; the server needs one without a password."
        if reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"):
            return f"The key in {self._key} does not match the certificate in {self._cert}."
        return (
            f"{self._cert} and {self._key} are not a usable certificate and key in PEM format ({reason or error}). "
            "The certificate file must contain the chain, with the certificate of the server first."
        )


def _refuse_password() -> NoReturn:
    raise ValueError("encrypted")


def _stamp(file: Path) -> tuple[int, ...]:
    """Return what changes with the file, or with the target of a link; empty if there is none."""
    try:
        found = file.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_size, found.st_ino
