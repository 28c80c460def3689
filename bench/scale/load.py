"""The load process: `python -m bench.scale.load KIND URL SERVER COUNT SECONDS` prints an outcome."""

from __future__ import annotations

import sys

import msgspec
import uvloop

from bench.runner import LoadError, more_files
from bench.scale import connections, room

KINDS = {"connections": connections.measure, "room": room.measure}


def main(kind: str, url: str, server: str, count: str, seconds: str) -> int:
    """Measure. On failure, print a line to standard error and return 1."""
    more_files()
    try:
        outcome = uvloop.run(KINDS[kind](url, int(server), int(count), float(seconds)))
    except LoadError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.buffer.write(msgspec.json.encode(outcome))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
