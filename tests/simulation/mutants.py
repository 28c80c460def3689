"""Known faults, put back one at a time by patches of the source, to prove that the simulation can fail."""

from __future__ import annotations

import sys
import textwrap
from contextlib import ExitStack, contextmanager
from hashlib import sha1
from importlib import import_module
from inspect import getsource
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock

from mcp_actors.broker.redis import scripts
from mcp_actors.broker.redis.scripts import Script
from tests.simulation.plan import ERAS
from tests.simulation.run import run_seed
from tests.simulation.seeds import FIXED, KEPT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


class Mutant(NamedTuple):
    """A fault. `where`: the name of a script, or of a function with its module; `old` becomes `new` in its source."""

    name: str
    where: str
    old: str
    new: str


REDIS = "mcp_actors.broker.redis"
MUTANTS = (
    Mutant(
        "presence of an own member is not taken over",
        f"{REDIS}.replica:Replica._compare",
        "if local is not None and local.detached is not member.detached:",
        "if local is not None:",
    ),
    Mutant(
        "presence of a known member is not taken over",
        f"{REDIS}.replica:Replica.add",
        "return self._compare(member)",
        "self._confirm(member); return []",
    ),
    Mutant(
        "a late session record wins",
        "SAVE_SESSION",
        "if ahead > 0 or (ahead == 0 and",
        "if (",
    ),
    Mutant("leases are judged at once", f"{REDIS}.link:Link._attached", "not (same and kept) or now", "now"),
    Mutant(
        "a connection that is given up is still read",
        f"{REDIS}.former_connections:FormerConnections.end",
        "if self._numbers and run_id == self._run_id:",
        "if False:",
    ),
    Mutant("sessions are looked for too early", "ACQUIRE_SESSION", "recovering() or", ""),
    Mutant("claims are refused too early", "CLAIM", "recovering() or", ""),
    Mutant("a stale member replaces a later one", "RESYNC", "rival.order >= member.order", "true"),
    Mutant("left rooms are not swept", f"{REDIS}.bucket:Bucket._sweep", "if room not in announced:", "if False:"),
    Mutant(
        "a move hides the members that redis lost",
        "mcp_actors.sessions.session:Session.moved",
        "if not self._owner.is_settled(room):",
        "if False:",
    ),
    Mutant(
        "receipts in the inbox of a stopped node are ignored",
        "mcp_actors.actors.room:RoomActor.recover",
        "self._perform(self._room.handovers.recover_receipts(incarnation, found.receipts, whole=found.whole))",
        "pass",
    ),
    Mutant(
        "an old owner is not fenced",
        f"{REDIS}.frames:FrameReceiver._from_member",
        "if fences and sequences",
        "if False and sequences",
    ),
    Mutant(
        "frames are not deduplicated",
        f"{REDIS}.frames:FrameReceiver._from_member",
        "if arrival is Arrival.AGAIN:",
        "if False:",
    ),
    Mutant("a heartbeat ends a fence", "HEARTBEAT", "is_fenced(args.node) or", ""),
    Mutant(
        "a repeated join is another join",
        "JOIN",
        "present.incarnation == member.incarnation then return {'DUP'}",
        "present.incarnation == member.incarnation then return {'TAKEN', state['#version']}",
    ),
    Mutant(
        "unanswered frames are dropped",
        f"{REDIS}.write_queue:WriteQueue.give_back",
        "self._queue.extendleft(reversed(content))",
        "pass",
    ),
    Mutant(
        "frames are not written again after a loss",
        f"{REDIS}.write_queue:WriteQueue.replay",
        "again = [frame for _, frame in self._written]",
        "again = []",
    ),
    Mutant(
        "a new inbox is read from the old position",
        f"{REDIS}.inbox:InboxReader.rewind",
        "self._cursor = self._start",
        "self._start",
    ),
    Mutant(
        "a change is told to one node less",
        "LEAVE",
        "publish(version, {left(member, args.reason)})",
        "nodes[next(nodes)] = nil publish(version, {left(member, args.reason)})",
    ),
    Mutant(
        "a version is used twice",
        "SET_PRESENCE",
        "publish(bump(), {presence(member)})",
        "publish(tonumber(state['#version']), {presence(member)})",
    ),
    Mutant(
        "removed members are not kept out", "KICK", "keep_out(targets, 'kicked', args.keep_out_ms, args.notice)", ""
    ),
    Mutant(
        "one message less is sent again",
        "mcp_actors.sessions.session:Session.attach",
        "self.replay.after(received)",
        "self.replay.after(received + 1)",
    ),
    Mutant(
        "one message more is sent again",
        "mcp_actors.sessions.session:Session.attach",
        "self.replay.after(received)",
        "self.replay.after(max(0, received - 1))",
    ),
    Mutant(
        "a handover does not wait for the others",
        "mcp_actors.room.migrations:Migrations.is_complete",
        "(departing.fenced or not departing.awaited)",
        "True",
    ),
    Mutant("members of a dead node stay attached", "REAP_ROOM", "elseif not member.detached then", "elseif false then"),
    Mutant(
        "a dead node is never reaped",
        f"{REDIS}.link:Link._reap",
        "for dead, over, just_now in await reaper.fence():",
        "for dead, over, just_now in ():",
    ),
    Mutant(
        "the end of a recovery answers nobody",
        "mcp_actors.room.acknowledgements:Acknowledgements.recovery_ended",
        "if waiting.awaited.get(incarnation, epoch) < epoch:",
        "if False:",
    ),
    Mutant(
        "a fenced node deletes its inbox",
        "ATTACH",
        "redis.call('DEL', keys.tombstone)",
        "redis.call('DEL', keys.tombstone, keys.inbox)",
    ),
    Mutant(
        "a node hides the members that redis lost",
        f"{REDIS}:RedisBroker.is_settled",
        "return self._bucket(room).up and found.replica.settled and not found.replica.suspects",
        "return not found.replica.suspects",
    ),
    Mutant("a locked room admits everybody", "JOIN", "is_locked() and args.moderator ~= '1'", "false"),
    Mutant("a lock is forgotten with the data", "RESYNC", "local relock = next(kept)", "local relock = false"),
    Mutant("bans are forgotten", "JOIN", "args.moderator ~= '1' and ban_of(member)", "nil"),
    Mutant(
        "a session that leaves is not recorded",
        "mcp_actors.sessions.registry:Sessions._leave_behind",
        "self._node.broker.save_session(structs.replace(record, left=left))",
        "pass",
    ),
)


@contextmanager
def applied(mutant: Mutant) -> Iterator[None]:
    """Put a fault back while in this context."""
    with ExitStack() as stack:
        if ":" in mutant.where:
            _patch_function(stack, mutant)
        else:
            _patch_script(stack, mutant)
        yield


def _replaced(text: str, mutant: Mutant) -> str:
    assert mutant.old in text, f"{mutant.name}: its text is not in {mutant.where} any more"
    return text.replace(mutant.old, mutant.new, 1)


def _patch_function(stack: ExitStack, mutant: Mutant) -> None:
    module_name, _, path = mutant.where.partition(":")
    module, (owner_name, name) = import_module(module_name), path.split(".")
    owner = getattr(module, owner_name)
    source = _replaced(textwrap.dedent(getsource(getattr(owner, name))), mutant)
    found: dict[str, Any] = {}
    exec(compile("from __future__ import annotations\n" + source, mutant.where, "exec"), module.__dict__, found)  # noqa: S102
    stack.enter_context(mock.patch.object(owner, name, found[name]))


def _patch_script(stack: ExitStack, mutant: Mutant) -> None:
    old: Script = getattr(scripts, mutant.where)
    text = _replaced(old.text, mutant)
    new = Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())
    for module in [one for name, one in sys.modules.items() if name.startswith(REDIS)]:
        for name, value in list(vars(module).items()):
            if isinstance(value, Script) and value.digest == old.digest:
                stack.enter_context(mock.patch.object(module, name, new))
            elif name == "SCRIPTS":
                changed = tuple(new if one.digest == old.digest else one for one in value)
                stack.enter_context(mock.patch.object(module, name, changed))


def catch(mutant: Mutant, seeds: Sequence[tuple[int, int]]) -> tuple[int, list[str]] | None:
    """Run seeds until one catches a fault; return how many that took, and the promises that it broke."""
    with applied(mutant):
        for count, (seed, era) in enumerate(seeds, 1):
            outcome = run_seed(seed, era=era)
            if not outcome.kept:
                return count, sorted(outcome.breaches)
    return None


def hunt(names: Sequence[str], budget: int, tell: Callable[[str], None]) -> int:
    """Look for all faults, or those with one of these words in their name; 1 if one is not caught.

    It tells a table in Markdown.
    """
    missed = 0
    tell("| fault | caught after | by |\n|---|---|---|")
    for mutant in MUTANTS:
        if names and not any(name in mutant.name for name in names):
            continue
        caught = catch(mutant, [*FIXED, *KEPT, *((seed, len(ERAS)) for seed in range(101, 101 + budget))][:budget])
        missed += caught is None
        how = f"not in {budget} seeds | " if caught is None else f"{_seeds(caught[0])} | {', '.join(caught[1])}"
        tell(f"| {mutant.name} | {how} |")
    return 1 if missed else 0


def _seeds(count: int) -> str:
    return "1 seed" if count == 1 else f"{count} seeds"
