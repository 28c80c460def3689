"""Several worker processes of one ASGI server, which cannot share rooms without Redis."""

from __future__ import annotations

import errno
import multiprocessing
import os
import socket
import sys

_claims: dict[int, socket.socket] = {}
"""The claim of this process, by its parent. It ends with the process."""


def is_only_worker() -> bool:
    """Whether no other worker process of the same parent has asked.

    uvicorn, hypercorn and granian start their workers with `multiprocessing`. Elsewhere than on Linux, and for workers
    that are forked in another way, nothing is known and the answer is True.
    """
    parent = multiprocessing.parent_process()
    if parent is None or parent.pid is None or not sys.platform.startswith("linux") or parent.pid in _claims:
        return True
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind(f"\0mcp-actors-worker-{os.getuid()}-{parent.pid}")  # a name of the kernel's, which leaves no file
    except OSError as error:
        claim.close()
        return error.errno != errno.EADDRINUSE
    _claims[parent.pid] = claim
    return True
