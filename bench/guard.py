"""Kills a child process when this process ends, however it ends."""

from __future__ import annotations

import subprocess


class Guard:
    """A shell that waits for the end of a pipe from this process, and then kills another one."""

    def __init__(self, pid: int) -> None:
        self._shell = subprocess.Popen(  # noqa: S603 - our own command
            ["/bin/sh", "-c", f"read line; kill -9 {pid}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )

    def release(self) -> None:
        """Stop guarding, before the pid is reused."""
        self._shell.kill()
        self._shell.wait()
        if self._shell.stdin is not None:
            self._shell.stdin.close()
