"""The certificate of a server that ends TLS itself: read at the start, and again when its files change."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

log = structlog.get_logger("mcp_actors")

LOOK_EVERY = 1.0
"""Seconds between two looks at the files, of some microseconds each: what renews them need tell nobody."""

Stamps = tuple[tuple[int, int, int] | None, ...]


class TlsError(Exception):
    """A certificate that cannot be used; `str(error)` names the files and says why."""


class Certificate:
    """A certificate chain and its key, which may be in the same file."""

    def __init__(self, cert_file: str, key_file: str = "") -> None:
        self._cert, self._key = Path(cert_file), Path(key_file or cert_file)
        self._stamps: Stamps = ()

    def load(self) -> ssl.SSLContext:
        """What to serve new connections with; those that are open keep what they have. Raises `TlsError`."""
        self._stamps = self._look()  # before reading: what changes meanwhile is read again
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION  # which costs a client little, and us much
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(self._cert, self._key, password=self._refuse_password)
        except (OSError, ValueError) as error:
            raise TlsError(self._explain(error)) from None
        return context

    async def follow(self, use: Callable[[ssl.SSLContext], None]) -> None:
        """Load the files whenever they have changed, for ever. What cannot be used changes nothing but the log."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            if self._look() == self._stamps:
                continue
            try:
                use(self.load())
            except TlsError as error:
                log.warning("new certificate not taken; the old one serves on", reason=str(error))
            else:
                log.info("certificate loaded", file=str(self._cert))

    def _look(self) -> Stamps:
        return tuple(_stamp(file) for file in (self._cert, self._key))

    def _refuse_password(self) -> NoReturn:
        raise ValueError("encrypted")

    def _explain(self, error: Exception) -> str:
        for file in (self._cert, self._key):
            try:
                file.read_bytes()
            except OSError as problem:
                return f"TLS file {file} cannot be read: {problem.strerror}."
        reason = getattr(error, "reason", None)
        if str(error) == "encrypted":
            return f"The key in {self._key} is encrypted; a server that starts by itself needs one without a password."
        if reason == "KEY_VALUES_MISMATCH":
            return f"The key in {self._key} does not fit the certificate in {self._cert}; are they of the same pair?"
        if reason == "KEY_TYPE_MISMATCH":
            return f"The key in {self._key} is of another kind than that of the certificate in {self._cert}."
        return (
            f"{self._cert} and {self._key} are no certificate and key in PEM format that can be used "
            f"({reason or error}). The file of the certificate has the chain, with the server's own first."
        )


def _stamp(file: Path) -> tuple[int, int, int] | None:
    """What changes when a file does; links lead to what is meant. None while there is no file."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
