"""System: what is on trial, with its ledger in memory: a world's real tables, a watch, and runs.

Belongs here: what can be done to it (tick, run, crash, restart, roll back), and what was executed. Does not belong
here: when that is done (``drive``). Invariant: the watch is told nothing but what its book says.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from random import Random

from sh_core.policy import Policy
from sh_core.watch import Decision, Watch
from sh_drills.oracle.changes import Change
from sh_drills.oracle.declared import graph_of
from sh_drills.oracle.memory_book import Content, Ledger, MemoryBook, Place
from sh_drills.oracle.memory_engine import Run
from sh_drills.oracle.reference import Shown
from sh_drills.oracle.shapes import World


def first_hour(day: date) -> datetime:
    """One in the morning of a day."""
    return datetime.combine(day, datetime.min.time(), UTC) + timedelta(hours=1)


class KilledError(Exception):
    """The process that ticks was killed."""


@dataclass
class System:
    """What is on trial.

    Attributes:
        world: Files and tables.
        policy: Of the watch.
        now_utc: Time.
        ledger: Facts.
        executed: Partitions that were executed, with their traces, in order.
        reused: How often a run found nothing to do.
        runs: Runs that Dagster knows of, queued or under way.
        foreign: Runs under way that Dagster knows nothing of (from a command line).
        between: Called between any two questions to the book: whatever may happen meanwhile happens there.
        asked: Requests since a partition was last executed: trace and time.
        history: Everything that each partition has shown.
    """

    world: World
    policy: Policy
    now_utc: datetime
    ledger: Ledger = field(default_factory=Ledger)
    executed: list[tuple[Place, str]] = field(default_factory=list)
    reused: int = 0
    runs: list[Run] = field(default_factory=list)
    asked: dict[Place, list[tuple[str, datetime]]] = field(default_factory=dict)
    history: dict[Place, list[Content]] = field(default_factory=dict)
    between: Callable[[], None] = lambda: None
    foreign: list[Run] = field(default_factory=list)
    _numbers: int = 0

    def __post_init__(self) -> None:
        """Deliver the world's files and start to watch."""
        for (feed, key), file in self.world.files.items():
            self.ledger.arrive(feed, key, file)
        self.load()

    @classmethod
    def of(cls, world: World, policy: Policy) -> "System":
        """A system whose day is the world's."""
        return cls(world, policy, first_hour(world.today))

    # ---- the process that ticks

    def load(self) -> None:
        """Load the code as it is now, in a new process: the watch's memory is gone."""
        shapes = dict(self.world.shapes)
        self.book = MemoryBook(graph_of(shapes), shapes, self.ledger, self._now, self._meanwhile)
        self.restart()

    def _now(self) -> datetime:
        return self.now_utc

    def _meanwhile(self) -> None:
        self.between()  # whatever it is by then

    def restart(self) -> None:
        """A new process with the same code."""
        self.watch = Watch(self.book.graph, self.book, self.policy)

    def tick(self, *, sweep: bool = False) -> Decision:
        """Ask what is due."""
        busy: dict[str, set[str]] = {}
        for run in self.runs:
            busy.setdefault(run.table, set()).update(run.keys)
        return self.watch.tick(self.now_utc, busy, "the oracle", sweep=sweep)

    # ---- runs

    def launch(self, due: Mapping[str, Collection[str]]) -> list[Run]:
        """Make runs of what was requested, in the order of tables; none is started."""
        made = []
        for name, keys in due.items():
            self._numbers += 1
            made.append(Run(self.book, name, sorted(keys), f"run {self._numbers}"))
        self.runs += made
        return made

    def run_by_hand(self, name: str, keys: Collection[str], *, in_dagster: bool) -> Run:
        """A run that a person starts."""
        self._numbers += 1
        run = Run(self.book, name, sorted(keys), f"run {self._numbers}")
        (self.runs if in_dagster else self.foreign).append(run)
        return run

    def finish(self, run: Run) -> None:
        """Let a run settle what it has computed."""
        run.finish(self._noted)
        self.reused += len(run.reused)
        self._over(run)

    def crash(self, run: Run) -> None:
        """Let a run die."""
        run.stop()
        self._over(run)

    def _over(self, run: Run) -> None:
        (self.runs if run in self.runs else self.foreign).remove(run)

    def _noted(self, place: Place, trace: str) -> None:
        self.executed.append((place, trace))
        self.asked.pop(place, None)
        content = self.ledger.contents.get(place[0], {}).get(place[1])
        if content is not None:
            self.history.setdefault(place, []).append(content)

    # ---- changes

    def notice(self, change: Change) -> None:
        """Let a change that was made to the world reach the system."""
        if change.arrived is not None:
            self.ledger.arrive(*change.arrived, self.world.files[change.arrived])
        self.ledger.paused = set(self.world.paused)
        if change.edited:
            self.load()
        if self.now_utc.date() < self.world.today:
            self.now_utc = first_hour(self.world.today)

    def note(self, decision: Decision) -> None:
        """Keep in mind what was requested."""
        for name, found in decision.due.items():
            for key, stale in found.items():
                self.asked.setdefault((name, key), []).append((stale.trace, self.now_utc))

    def is_settled(self, name: str, key: str, *, after: int = -1) -> bool:
        """Whether a partition was decided after a serial, and would be decided under the same trace now."""
        decided, trace = self.ledger.decided.get(name, {}).get(key), self.book.see(name, [key]).traces.get(key)
        if decided is None or trace is None or decided.trace.digest != trace.digest:
            return False
        log = reversed(self.ledger.log)
        return after < 0 or any((name, key) == (n, k) and what != "arrived" for s, what, n, k in log if s > after)

    def roll_back(self, rng: Random) -> tuple[Place, Content] | None:
        """Make old content of some partition visible again, if one that is settled has shown something else before."""
        able = [
            (place, old)
            for place, contents in self.history.items()
            for old in contents
            if place not in self.ledger.leases
            and place[1] in self.book.graph[place[0]].partitions.declared(self.now_utc)
            and old.columns == self.book.shapes[place[0]].columns
            and old.version.root != self.ledger.contents[place[0]][place[1]].version.root
        ]
        if not able:
            return None
        (name, key), old = rng.choice(able)
        trace, decided = self.book.see(name, [key]).traces.get(key), self.ledger.decided[name][key]
        if trace is None or trace.digest != decided.trace.digest:
            return None  # it would be computed anew at once
        self.ledger.show_again(name, key, old)
        return (name, key), self.ledger.contents[name][key]

    # ---- what is to be seen

    def shown(self) -> dict[Place, Shown]:
        """What readers see."""
        return {
            (name, key): Shown(content.columns, content.rows)
            for name, contents in self.ledger.contents.items()
            for key, content in contents.items()
        }

    def executed_since(self, mark: int) -> Counter[Place]:
        """How often each partition was executed after the first so many executions."""
        return Counter(place for place, _ in self.executed[mark:])
