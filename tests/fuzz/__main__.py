"""Fuzzes one target: `python -m tests.fuzz codec --seconds 60`, with the extra `fuzz` installed.

The fuzzer is guided by coverage. New inputs go to a directory beside the corpus, which is not part of the repository.
An input that breaks a target is kept there as `crash-...`: move it into the corpus, so that `make test` replays it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["mcp_actors", "tests.fuzz.targets"]):
    from tests.fuzz.targets import TARGETS

HERE = Path(__file__).parent


def main() -> None:
    """Fuzz until the time is up. Exits with a non-zero status when a target fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=60, help="default: 60")
    parser.add_argument("--seed", type=int, default=1, help="default: 1")
    parser.add_argument("--found", type=Path, default=HERE / "found", help="directory for new inputs")
    chosen = parser.parse_args()
    found = chosen.found / chosen.target
    found.mkdir(parents=True, exist_ok=True)
    arguments = [
        sys.argv[0],
        str(found),
        str(HERE / "corpus" / chosen.target),
        f"-max_total_time={chosen.seconds}",
        f"-seed={chosen.seed}",
        f"-artifact_prefix={found}/",
        f"-dict={HERE / f'{chosen.target}.dict'}",
        "-max_len=1400",
        "-timeout=10",
        "-rss_limit_mb=1024",
        "-print_final_stats=1",
    ]
    atheris.Setup(arguments, TARGETS[chosen.target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
