"""Lets a process end with the one that started it, however that one ends."""

from __future__ import annotations

import subprocess


class Guard:
    """Kills a process as soon as this one is gone, by a shell that waits for the end of a pipe."""

    def __init__(self, pid: int) -> None:
        self._shell = subprocess.Popen(  # noqa: S603 - our own command
            ["/bin/sh", "-c", f"read line; kill -9 {pid}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )

    def release(self) -> None:
        """The process has ended; its id may be another's soon."""
        self._shell.kill()
        self._shell.wait()
        if self._shell.stdin is not None:
            self._shell.stdin.close()
