"""The arguments of the command line, and its help."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import capacity_command, cluster_command
from bench.attack import command as attack_command
from bench.chaos import command as chaos_command
from bench.heal import command as heal_command
from bench.peers import PEERS, SPANNING
from bench.scale import command as scale_command
from bench.scenarios import SCENARIOS
from bench.signaling import command as signaling_command
from bench.soak import command as soak_command
from bench.spanning import PROCESSES

if TYPE_CHECKING:
    from bench.contender import Contender

RESULTS = Path(__file__).parent / "results"
ROUNDS, ROUNDS_WITH_CHECKOUT = 3, 15
EPILOG = """\
examples:
  python -m bench relay --against tornado,ws         CPU per relayed signal, compared with two other servers
  python -m bench relay --against HEAD~1             ... and with an earlier commit of this server, in short rounds
  python -m bench relay --against all --rate 10,50,90  ... and latency at 10, 50 and 90 % of the full throughput
  python -m bench relay --processes 2 --against all  ... and between two processes that share a Redis server
  python -m bench broadcast --against HEAD~1         CPU per delivery of a message to a room of 200
  python -m bench mesh --against y-gateway,y-webrtc  CPU per signal of 30 peers that connect, beside y-webrtc
  python -m bench idle                               memory and heartbeat cost of an idle connection
  python -m bench micro                              CPU of each layer alone, to find out why a scenario is slow
  python -m bench chaos                              inject faults into a cluster and check that nothing is lost
  python -m bench chaos --against control            ... and that a relay on pub/sub, as a control, loses messages
  python -m bench soak                               all faults in turn for ten minutes, watching memory
  python -m bench attack                             many kinds of hostile clients beside calls that must go on
  python -m bench heal                               break the connections of eight browsers, which must heal
  python -m bench signaling                          meshes, rates and faults, beside five other signaling servers
  python -m bench scale                              100,000 connections, 250,000 rooms, and a room of 500
  python -m bench capacity --members 8               processes and Redis servers for up to ten million connections
  python -m bench cluster                            start three processes to try out in a browser
  python -m bench all --quick                        every scenario in a few minutes, to see that all of them work
  python -m bench all --against all --check          every scenario with every contender; fails if a goal is missed

contenders for --against:
{contenders}
  COMMIT          this server at another commit: anything `git rev-parse` accepts, such as HEAD~1, a tag or a branch
  DIRECTORY       this server from a directory that holds mcp_actors/
  all             all of the named ones

contenders for --against of relay --processes 2, where in-process is always included:
{spanning}
  COMMIT, DIRECTORY, all: as above

Each server runs in a process of its own on 127.0.0.1, and the load in another. CPU is the server's CPU time as the
kernel counts it. Contenders are measured in interleaved rounds, in reverse order every other round; figures are medians
over the rounds, and ratios are medians of the ratio within each round. Stop other programs, and use a machine with at
least two idle cores. Reports go to the directory of --out.
"""


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _shares(text: str) -> list[int]:
    shares = [int(share) for share in text.split(",")]
    if not all(0 < share < 100 for share in shares):  # noqa: PLR2004 - percent
        raise argparse.ArgumentTypeError("expected percentages between 1 and 99, such as 10,50,90")
    return shares


def argument_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure the CPU, memory and latency of mcp_actors, alone or compared with other servers.",
        epilog=EPILOG.format(contenders=_listed(PEERS), spanning=_listed(SPANNING)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, scenario in SCENARIOS.items():
        if scenario.command:
            continue
        _arguments(_command(commands, name, scenario.question), name)
    _arguments(_command(commands, "all", "All of the above, with servers of one process."), "all")
    micro = _command(commands, "micro", "CPU of each layer of the server alone.")
    micro.add_argument("--quick", action="store_true", help="measure for a shorter time, less exactly")
    text = "Inject faults into a cluster and check the promises of the server."
    chaos_command.add_arguments(_command(commands, "chaos", text))
    text = "Inject all faults in turn for a long time, and check that memory is stable."
    soak_command.add_arguments(_command(commands, "soak", text))
    text = "Attack a server and check the latency of other clients, and its memory."
    attack_command.add_arguments(_command(commands, "attack", text))
    text = "Break the connections of a mesh of browsers and measure how long they take to heal."
    heal_command.add_arguments(_command(commands, "heal", text))
    text = "Compare signaling servers: time to connect a mesh, latency at fixed rates, messages lost under faults."
    signaling_command.add_arguments(_command(commands, "signaling", text))
    text = "Very many connections and rooms, and a very large room: what they cost, and whether that grows."
    scale_command.add_arguments(_command(commands, "scale", text))
    text = "Calculate how many processes and Redis servers a number of connections needs, from earlier results."
    capacity_command.add_arguments(_command(commands, "capacity", text))
    text = "Start several processes that share a Redis server, to try in a browser."
    cluster_command.add_arguments(_command(commands, "cluster", text))
    return parser


def _command(commands: Any, name: str, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    return parser


def _listed(peers: dict[str, Contender]) -> str:
    return "\n".join(f"  {name:<16}{peer.about}" for name, peer in peers.items())


def _arguments(parser: argparse.ArgumentParser, name: str) -> None:
    parser.add_argument(
        "--against",
        type=_names,
        default=[],
        metavar="CONTENDERS",
        help="what to compare with, separated by commas: names, commits or directories, or all (default: nothing); "
        "see python -m bench --help",
    )
    text = "length of each measurement (default: set by the scenario; at most 2 if a commit or directory is compared)"
    parser.add_argument("--seconds", type=float, help=text)
    text = (
        f"measurements of each contender, interleaved (default: {ROUNDS}; {ROUNDS_WITH_CHECKOUT} if a commit or "
        "directory is compared; 1 with --quick)"
    )
    parser.add_argument("--rounds", type=int, help=text)
    parser.add_argument("--quick", action="store_true", help="short and small, to see that it works; not for figures")
    parser.add_argument("--window", type=int, default=4, metavar="N", help="messages in flight per pair (default: 4)")
    parser.add_argument(
        "--connections", type=int, default=0, metavar="N", help="number of clients (default: set by the scenario)"
    )
    parser.set_defaults(rate=None, processes=1)
    if name in ("relay", "all"):
        text = "also measure latency at these percentages of the full throughput, such as 10,50,90"
        parser.add_argument("--rate", type=_shares, metavar="PERCENTAGES", help=text)
    if name == "relay":
        text = "with 2, the peers of a pair connect to two processes that share a Redis server (default: 1)"
        parser.add_argument("--processes", type=int, choices=(1, PROCESSES), default=1, help=text)
    parser.add_argument("--check", action="store_true", help="exit with status 1 if a goal is missed")
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="DIR", help="default: bench/results")
