"""Drive: one case of the oracle: a world, changes, and a comparison after each.

Belongs here: schedules, and what is compared. Does not belong here: the two sides (``system``, ``reference``).
Invariant: a case follows from its seed alone, and a failure tells what was changed, in words.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

from sh_core.policy import Hold, Policy
from sh_core.watch import Decision
from sh_drills.oracle.calendar import keys_of, read_by
from sh_drills.oracle.changes import Change, change
from sh_drills.oracle.drawing import draw_world
from sh_drills.oracle.reference import Handed, Place, Rebuilt, Reference, Shown
from sh_drills.oracle.shapes import World
from sh_drills.oracle.system import System

MOST_LOOKS = 400
"""Ticks by which a case may come to rest later because few partitions are looked at by each."""

RARELY_S = 1e9
"""A pause between sweeps that never ends: only what is remembered and what changed is looked at."""


class DisagreedError(AssertionError):
    """The system and the reference disagree."""


@dataclass(frozen=True)
class Account:
    """What a case consisted of.

    Attributes:
        tables: Tables.
        partitions: Declared partitions.
        changes: Changes made.
        executed: Partitions executed.
        ticks: Ticks.
        reused: Partitions requested for which there was nothing left to do.
    """

    tables: int
    partitions: int
    changes: int
    executed: int
    ticks: int
    reused: int


@dataclass
class Case:
    """One case under way.

    Attributes:
        rng: Where chance comes from.
        world: Files and tables.
        system: What is on trial.
        reference: The second opinion.
        story: What happened, line by line.
        pinned: What was put back by hand, after how many executions and in place of what.
        ticks: How many ticks there were.
        changes: How many changes.
        turns: Whether to compare who was requested before whom (one change at a time, the count of executions tells).
        disturbed: Whether anything happened during the tick.
        waiting: Since when partitions have been waiting for others, as the watch has said.
    """

    rng: Random
    world: World
    system: System
    reference: Reference
    story: list[str] = field(default_factory=list)
    pinned: dict[Place, tuple[int, Handed, Shown]] = field(default_factory=dict)
    ticks: int = 0
    changes: int = 0
    turns: bool = False
    disturbed: bool = False
    waiting: dict[Place, datetime] = field(default_factory=dict)
    _known: dict[Place, frozenset[Place]] = field(default_factory=dict)

    @classmethod
    def draw(
        cls, seed: int, tables: int | None = None, opened: Callable[[World, Policy], System] = System.of
    ) -> "Case":
        """A case that has not begun.

        Args:
            seed: Where chance comes from.
            tables: How many tables; drawn if not given.
            opened: What is put on trial.
        """
        rng = Random(seed)
        world = draw_world(rng, tables)
        sweep_s = rng.choice([RARELY_S, RARELY_S, 300.0, 0.0])
        # With few looks a tick, and a sweep in each, it would look at the same few for ever.
        most_looks = rng.choice([20_000, 20_000, 5]) if sweep_s else 20_000
        case = cls(rng, world, opened(world, Policy(sweep_s=sweep_s, most_looks=most_looks)), Reference(world))
        case.story.append(f"seed {seed}, {len(world.shapes)} tables, {world.today}, sweep every {sweep_s:g} s")
        case.story += [f"  {shape}" for shape in world.shapes.values()]
        return case

    def account(self) -> Account:
        """What it consisted of so far."""
        partitions = sum(len(keys_of(s.span, self.world.today)) for s in self.world.shapes.values())
        return Account(
            len(self.world.shapes), partitions, self.changes, len(self.system.executed), self.ticks, self.system.reused
        )

    # ---- what both modes do

    def tick(self, *, sweep: bool = False) -> Decision:
        """One tick, and what may never be requested."""
        self.ticks += 1
        self.system.now_utc += timedelta(seconds=1)
        began, paused, serial = self._occupied(), set(self.system.ledger.paused), self.system.ledger.serial
        asked = {place: list(times) for place, times in self.system.asked.items()}
        decision = self.system.tick(sweep=sweep)
        # What was let go of during the tick may have been free when the watch looked.
        working = {place for place, _ in began & self._occupied()}
        paused &= self.system.ledger.paused
        due = {(name, key) for name, found in decision.due.items() for key in found}
        self.story.append(f"{self.system.now_utc:%H:%M:%S} {_told(decision)}")
        for place in due:
            self.require(place not in working, f"{place} was requested while it was worked on")
            self.require(place[0] not in paused, f"{place} was requested, though paused")
            done = place in {p for p, _ in began} and self.system.is_settled(*place, after=serial)
            self.require(not done, f"{place} was requested, though the run that worked on it had just settled it")
        if not self.disturbed:
            self._check_tries(decision, asked)
            for place in due:
                self.require(
                    not self.system.is_settled(*place), f"{place} was requested, though there is nothing to do"
                )
        self.system.note(decision)
        if self.turns:
            self._check_turns(decision, due, working, {place for place, _ in began | self._occupied()})
        return decision

    def _check_tries(self, decision: Decision, asked: Mapping[Place, list[tuple[str, datetime]]]) -> None:
        """What has failed is not tried too often, nor too soon."""
        policy = self.system.policy
        for name, found in decision.due.items():
            for key, stale in found.items():
                times = [at for trace, at in asked.get((name, key), ()) if trace == stale.trace]
                pause = policy.first_pause_s * policy.growth ** (len(times) - 1) if times else 0.0
                soon = bool(times) and (self.system.now_utc - times[-1]).total_seconds() < min(pause, 3600.0)
                self.require(len(times) < policy.most_tries, f"{name}[{key}] was requested {len(times) + 1} times")
                self.require(not soon, f"{name}[{key}] was requested again too soon")
        for name, held in decision.held.items():
            for key, hold in held.items():
                tries = len(self.system.ledger.asked.get((name, key), ()))
                given_up = hold.hold is Hold.GIVEN_UP and tries < policy.most_tries
                self.require(not given_up, f"{name}[{key}] was given up after {tries} tries")

    def _check_turns(self, decision: Decision, due: set[Place], working: set[Place], any_time: set[Place]) -> None:
        """Nothing goes before those it is computed from, nor waits without them or for too long.

        Args:
            decision: Of this tick.
            due: What it requested.
            working: What was worked on all the time while it decided.
            any_time: What was worked on at its beginning or at its end.
        """
        now, patience = self.system.now_utc, timedelta(seconds=self.system.policy.patience_s)
        on_their_way = {
            (name, key)
            for name, found in decision.held.items()
            for key, hold in found.items()
            if hold.hold is Hold.REQUESTED
        }
        for place in due:
            before = self._ancestors(place) & (due | working | on_their_way)
            waited = now - self.waiting.get(place, now)
            self.require(not before or waited >= patience, f"{place} was requested before {sorted(before)[:3]}")
        held = {
            (name, key)
            for name, found in decision.held.items()
            for key, hold in found.items()
            if hold.hold is Hold.ANCESTOR
        }
        self.waiting = {place: self.waiting.get(place, now) for place in held}
        for place, since in self.waiting.items():
            self.require(now - since < patience, f"{place} has been waiting for its turn since {since}")
            if not self.disturbed:
                self.require(
                    bool(self._ancestors(place) & (due | any_time | on_their_way)), f"{place} waits for nothing"
                )

    def _ancestors(self, place: Place) -> frozenset[Place]:
        """Everything declared that a partition is computed from, however indirectly."""
        if place not in self._known:
            shape = self.world.shapes[place[0]]
            found: set[Place] = set()
            for given in shape.everything_read:
                span = self.world.shapes[given.table].span
                declared = set(keys_of(span, self.world.today))
                direct = {
                    (given.table, p)
                    for p in read_by(shape.span, span, given, place[1], self.world.today)
                    if p in declared
                }
                found = found.union(direct, *map(self._ancestors, direct))
            self._known[place] = frozenset(found)
        return self._known[place]

    def _occupied(self) -> set[tuple[Place, str]]:
        """What is worked on, and by whom."""
        running = {((run.table, key), run.holder) for run in self.system.runs for key in run.keys}
        return running | set(self.system.ledger.leases.items())

    def require(self, holds: bool, what: str) -> None:  # noqa: FBT001 -- it is what is required
        """Fail the case, unless something holds."""
        if not holds:
            raise DisagreedError("\n".join([what, *self.story]))

    def settle_down(self) -> None:
        """Tick and run at once whatever is due, until nothing is; wait for what is tried later."""
        depth = len(self.world.shapes) + 3
        for _ in range(8 * depth + MOST_LOOKS):
            decision = self.tick()
            for run in self.system.launch(decision.due):
                run.start()
                self.system.finish(run)
            if not decision.due and not decision.unlooked:
                later = [h.until_utc for held in decision.held.values() for h in held.values() if h.until_utc]
                if not later:
                    return
                self.system.now_utc = min(later)
        self.require(False, "it does not come to rest")  # noqa: FBT003

    def check_content(self) -> None:
        """What is seen is what a rebuilding from scratch shows."""
        executed = {place: number for number, (place, _) in enumerate(self.system.executed)}
        standing = {
            p: (handed, shown) for p, (number, handed, shown) in self.pinned.items() if executed.get(p, -1) < number
        }
        rebuilt = Rebuilt(self.world, self.system.shown(), standing)
        differences = [] if self.world.paused else rebuilt.differences()
        self.require(not differences, "\n".join(["content differs", *differences[:5]]))

    def check_quiet(self) -> None:
        """Nothing is requested any more, by the watch that has seen it all or by one that knows nothing."""
        for fresh in (False, True):
            if fresh:
                self.restart()
                self.check_idle_sweep()
            decision = self.tick(sweep=self.rng.random() < 0.5)  # noqa: PLR2004 -- with what it remembers or without
            due = [f"{name}[{key}]" for name, found in decision.due.items() for key in found]
            self.require(not due, f"it was quiet, and a {'new' if fresh else 'further'} watch requests {due[:5]}")
        given_up = [h for held in decision.held.values() for h in held.values() if h.hold is not Hold.PAUSED]
        self.require(not given_up, f"something is held back for ever: {given_up[:3]}")

    def check_idle_sweep(self) -> None:
        """A sweep looks only at what has its reasons, once it has been looked at."""
        self.tick(sweep=True)
        decision = self.tick(sweep=True)
        looked = decision.looked + decision.unlooked
        now = Reference(self.world, self.system.shown())
        waiting = [
            f"{shape.name}[{key}]"
            for shape in self.world.shapes.values()
            for key in keys_of(shape.span, self.world.today)
            if shape.name in self.world.paused or now.handed(shape, key) is None
        ]
        self.require(looked <= len(waiting), f"a sweep looks at {looked}, but only {waiting} have anything open")

    def check_traces(self) -> None:
        """Nothing was executed twice under one trace without anything else in between."""
        last: dict[Place, str] = {}
        for place, trace in self.system.executed:
            self.require(last.get(place) != trace, f"{place} was executed twice under one trace")
            last[place] = trace

    def restart(self) -> None:
        """The process that ticks starts anew; what it remembered is gone."""
        self.system.restart()
        self.waiting.clear()

    def know_nothing(self) -> None:
        """Tables or days are others: who is computed from whom is found out anew."""
        self._known.clear()

    def change(self) -> Change:
        """Make one change and let the system know."""
        made = change(self.rng, self.world)
        self.changes += 1
        self.story.append(made.says)
        self.system.notice(made)
        self.know_nothing()
        if made.edited:
            self.waiting.clear()
        return made

    def roll_back(self) -> None:
        """Old content is put back, somewhere; on both sides."""
        done = self.system.roll_back(self.rng)
        if done is not None:
            place, content = done
            self.changes += 1
            now = Reference(self.world, self.system.shown())
            handed = now.handed(self.world.shapes[place[0]], place[1])
            self.story.append(f"{place[0]}[{place[1]}] rolled back to {content.rows}")
            shown = Shown(content.columns, content.rows)
            self.reference.shown[place] = shown
            if handed is None:
                raise AssertionError(place)  # what was decided has its inputs
            self.pinned[place] = (len(self.system.executed), handed, shown)


def quiescent(
    seed: int,
    changes: int = 6,
    tables: int | None = None,
    opened: Callable[[World, Policy], System] = System.of,
) -> Account:
    """Changes one after the other; what is executed after each is exactly what the reference executes.

    Args:
        seed: Where chance comes from.
        changes: How many.
        tables: How many tables; drawn if not given.
        opened: What is put on trial.

    Raises:
        DisagreedError: With the seed and what happened.
    """
    case = Case.draw(seed, tables, opened)
    for number in range(changes + 1):
        if number > 0:
            if case.rng.random() < 0.1:  # noqa: PLR2004 -- now and then
                case.roll_back()
            else:
                case.change()
            if case.rng.random() < 0.1:  # noqa: PLR2004 -- now and then
                case.restart()
        mark = len(case.system.executed)
        case.settle_down()
        expected, found = Counter(case.reference.follow()), case.system.executed_since(mark)
        case.require(found == expected, _compared(found, expected))
        seen = case.system.shown()
        wrong = [p for p in seen.keys() | case.reference.shown.keys() if seen.get(p) != case.reference.shown.get(p)]
        case.require(not wrong, f"the reference sees something else in {sorted(wrong)[:5]}")
        case.check_quiet()
    case.check_content()
    case.check_traces()
    case.require(case.system.reused == 0, f"{case.system.reused} partitions were requested for nothing")
    return case.account()


def _told(decision: Decision) -> str:
    due = [f"{name}[{key}]" for name, found in decision.due.items() for key in found]
    held = [f"{name}[{key}] {h.hold.name.lower()}" for name, found in decision.held.items() for key, h in found.items()]
    told = f"due {', '.join(due) or 'nothing'}; held {', '.join(held) or 'nothing'}"
    return f"{'sweep' if decision.swept else 'tick'}: {told}"


def _compared(found: Counter[Place], expected: Counter[Place]) -> str:
    missing, more = expected - found, found - expected
    return f"not executed: {sorted(missing.elements())[:8]}; executed for nothing: {sorted(more.elements())[:8]}"
