"""The command `heal`."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import msgspec

from bench import machine
from bench.heal import browser, namespace, process, report, verdict
from bench.heal.faults import FAULTS, QUICK

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from bench.heal.run import Options
    from bench.heal.verdict import Verdict

RESULTS = Path(__file__).parent.parent / "results"
PAGES, QUICK_PAGES = 8, 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    add("--fault", choices=["all", *FAULTS], default="all", metavar="NAME", help=f"all (default), {', '.join(FAULTS)}")
    add("--seconds", type=float, help="length of each fault (default: set by the fault)")
    add("--seed", type=int, default=1, metavar="N", help="seed of all random choices (default: 1)")
    add("--pages", type=int, metavar="N", help=f"pages in the mesh (default: {PAGES}; with --quick {QUICK_PAGES})")
    add("--quick", action="store_true", help=f"short and small: {', '.join(QUICK)}; times are not judged")
    add("--out", type=Path, default=RESULTS, metavar="DIR", help="default: bench/results")


def heal(chosen: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Run the faults. Return 0, or 1 if a pair did not heal, a goal was missed or something is missing."""
    reason = namespace.missing() or browser.missing() or process.missing()
    if reason is not None:
        say(f"bench heal cannot run here. {reason}")
        return 1
    from bench.heal.run import ConnectError, run  # noqa: PLC0415 - imports the driver of browsers

    options, where = _options(chosen), machine.describe()
    say(machine.summary(where))
    directory = chosen.out / "heal"
    directory.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="bench-heal-") as scratch:
        try:
            verdicts = verdict.summarize(run(options, Path(scratch), say))
        except (ConnectError, namespace.NamespaceError, process.ProcessError) as error:
            say(str(error))
            return 1
    text = "\n".join([machine.summary(where), _setting(options), *report.lines(verdicts, timed=not options.quick)])
    _write(directory, where, options, verdicts, text)
    say(f"\n{text}\n\nwritten to {directory}: results.json, report.txt")
    return 1 if verdict.breaches(verdicts, timed=not options.quick) else 0


def _options(chosen: argparse.Namespace) -> Options:
    from bench.heal.run import Options  # noqa: PLC0415 - as above

    every = tuple(QUICK if chosen.quick else FAULTS)
    return Options(
        pages=chosen.pages or (QUICK_PAGES if chosen.quick else PAGES),
        seed=chosen.seed,
        seconds=chosen.seconds,
        quick=chosen.quick,
        faults=every if chosen.fault == "all" else (chosen.fault,),
    )


def _setting(options: Options) -> str:
    return f"{options.pages} pages in networks of their own, seed {options.seed}; {report.goal()}"


def _write(directory: Path, where: dict[str, object], options: Options, verdicts: list[Verdict], text: str) -> None:
    encoded = msgspec.json.encode({"machine": where, "options": options, "verdicts": verdicts})
    (directory / "results.json").write_bytes(msgspec.json.format(encoded, indent=2) + b"\n")
    (directory / "report.txt").write_text(text + "\n")
