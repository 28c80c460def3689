"""Settings that a running server reads again: the log level and the access log. Others need a restart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from mcp_actors.settings import GROUPS, PREFIX, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp_actors.connection.access_log import AccessLog
    from mcp_actors.logs import LogControl
    from mcp_actors.settings import Settings

log = structlog.get_logger("mcp_actors")

RELOADED = {"log_level", "access_log", "access_log_rate"}


class Reloading:
    """Reads the settings with `read`, as at the start, and applies what has changed to `logs` and to an access log."""

    def __init__(self, read: Callable[[], Settings], settings: Settings, logs: LogControl) -> None:
        self._read = read
        self._settings = settings
        self._logs = logs

    def run(self, access_log: AccessLog | None = None) -> None:
        """Read and apply. Settings that cannot be read change nothing, which is logged."""
        try:
            found = self._read()
        except SettingsError as error:
            log.warning("settings cannot be read, keeping the present ones", reason=str(error))
            return
        server = found.server
        self._logs.set(level_of(found), server.access_log_rate)
        if access_log is not None:
            access_log.enabled = server.access_log
        log.info("settings loaded", log_level=level_of(found), access_log=server.access_log)
        unused = [name for name in changed(self._settings, found) if name not in RELOADED]
        if unused:
            log.warning("settings changed that need a restart", settings=[PREFIX + name.upper() for name in unused])


def level_of(settings: Settings) -> str:
    """Return the log level."""
    return "debug" if settings.server.debug else settings.server.log_level


def changed(before: Settings, after: Settings) -> list[str]:
    """Return the names of the settings that differ."""
    return [
        name
        for group in GROUPS
        for field, name in zip(GROUPS[group].__struct_fields__, GROUPS[group].__struct_encode_fields__, strict=True)
        if getattr(getattr(before, group), field) != getattr(getattr(after, group), field)
    ]
