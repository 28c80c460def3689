"""The command `cluster`: rooms that span processes, to try out in a browser."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

from bench.cluster import Cluster, ClusterError
from bench.engine import FLAVORS, Engine, missing

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

FAILURE = 1
LEASE = 6.0
SETTINGS = {"MCP_ACTORS_LOG_FORMAT": "text"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    add("--processes", type=int, default=3, metavar="N", help="number of nodes (default: 3)")
    add("--port", type=int, default=8000, help="port of the first node; the others follow (default: 8000)")
    add("--engine", choices=FLAVORS, default="valkey", help="Redis-protocol server (default: valkey)")


def cluster(chosen: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Serve until Ctrl-C. Return 1 if something does not start."""
    reason = missing(chosen.engine)
    if reason is not None:
        say(reason)
        return FAILURE

    def hear(port: int, line: str) -> None:
        say(f"{port} | {line}")

    make = partial(Cluster, chosen.processes, port=chosen.port, hear=hear, lease=LEASE, settings=SETTINGS)
    try:
        with Engine(chosen.engine) as engine, make(urls=engine.url) as nodes:
            for line in _greeting(chosen, engine, nodes):
                say(line)
            _serve(nodes)
    except ClusterError as error:
        say(str(error))
        return FAILURE
    return 0


def _greeting(chosen: argparse.Namespace, engine: Engine, nodes: Cluster) -> list[str]:
    urls = [f"http://localhost:{node.port}/?room=x" for node in nodes.nodes]
    meet = f"Open {urls[0]} and {urls[1 % len(urls)]} in two tabs to start a call."
    return [
        "",
        f"{len(urls)} processes and one {chosen.engine} at {engine.url}.",
        meet,
        "Ctrl-C stops all of them.",
        "",
    ]


def _serve(nodes: Cluster) -> None:
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        return
    finally:
        nodes.stop()
