"""Real system: the same cases with the real engine, its ledger, its tables on disk, and files that land.

Belongs here: what ``system`` does in memory, done for real. Does not belong here: Dagster. Invariant: worlds, changes
and comparisons are those of the cases in memory; only what is on trial is another.

Nothing happens here at the same time as something else: for that, many processes are needed, and the cases in memory.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

from sh_core.outcome import Outcome, Published, Reused, Withheld
from sh_core.policy import Policy
from sh_core.watch import Decision, Watch
from sh_drills.oracle.changes import Change
from sh_drills.oracle.declared import graph_of
from sh_drills.oracle.memory_book import Content, MemoryBook, Place
from sh_drills.oracle.memory_engine import Run
from sh_drills.oracle.reference import Shown
from sh_drills.oracle.shapes import RAW, File, World
from sh_drills.oracle.system import System, first_hour
from sh_drills.replay import land
from sh_resources.book import LedgerBook
from sh_resources.clock import ManualClock
from sh_resources.engine import Engine
from sh_resources.settings import load
from sh_resources.wiring import open_engine


@dataclass
class RealSystem(System):
    """What is on trial, for real.

    Attributes:
        home: State folder, empty at first.
    """

    home: Path = field(default_factory=Path)
    engine: Engine | None = None

    def __post_init__(self) -> None:
        """Deliver the world's files and start to watch."""
        self.clock = ManualClock(self.now_utc)
        self.load()
        for place in self.world.files:
            self._land(place)

    def close(self) -> None:
        """Let go of the ledger."""
        if self.engine is not None:
            self.engine.ledger.close()

    def load(self) -> None:
        """Load the code as it is now, in a new process."""
        self.close()
        settings = load({"SELFHEAL_HOME": str(self.home)})
        shapes = dict(self.world.shapes)
        self.engine = open_engine(settings, graph_of(shapes), clock=self.clock, patience_s=0.0)
        self.book = MemoryBook(self.engine.graph, shapes, self.ledger, self.clock.now_utc)  # empty, for the runs' names
        self.restart()

    def restart(self) -> None:
        """A new process with the same code."""
        self.watch = Watch(self.opened.graph, LedgerBook(self.opened, self.clock), self.policy)

    @classmethod
    @contextmanager
    def at(cls, home: Path) -> Iterator[Callable[[World, Policy], "RealSystem"]]:
        """What opens a system in a state folder, and closes it at the end."""
        made: list[RealSystem] = []

        def opened(world: World, policy: Policy) -> RealSystem:
            made.append(cls(world, policy, first_hour(world.today), home=home))
            return made[0]

        try:
            yield opened
        finally:
            for system in made:
                system.close()

    @property
    def opened(self) -> Engine:
        """The engine."""
        if self.engine is None:
            raise AssertionError(self)
        return self.engine

    def _turn_clock(self) -> None:
        self.clock.sleep(max(0.0, (self.now_utc - self.clock.now_utc()).total_seconds()))

    def _land(self, place: Place) -> None:
        feed = next(f for f in self.opened.graph.feeds if f.name == place[0])
        path = self.home / "landing" / feed.name / feed.expected_file(place[1])
        path.parent.mkdir(parents=True, exist_ok=True)
        land(path, delivered(self.world.files[place], feed.columns))

    def tick(self, *, sweep: bool = False) -> Decision:
        """Take in what has landed, and ask what is due."""
        self._turn_clock()
        self.opened.take_in(self.clock.now_utc())
        return super().tick(sweep=sweep)

    def launch(self, due: Mapping[str, Collection[str]]) -> list[Run]:
        """Make runs of what was requested."""
        made: list[Run] = [_RealRun(self.book, name, sorted(keys), "the real engine") for name, keys in due.items()]
        self.runs += made
        return made

    def finish(self, run: Run) -> None:
        """Let the real engine do it."""
        self._turn_clock()
        self.now_utc = self.clock.now_utc()
        for outcome in list(
            self.opened.materialize(run.table, run.keys, run_id=f"run {len(self.executed)} {run.table}")
        ):
            self.note_outcome(run.table, outcome)
        self.runs.remove(run)

    def note_outcome(self, name: str, outcome: Outcome) -> None:
        """Keep in mind what became of a partition."""
        if isinstance(outcome, Published | Withheld):
            place = (name, outcome.partition)
            settled = self.opened.ledger.publications.settlements(name, [outcome.partition])
            self.executed.append((place, settled[outcome.partition].trace_digest))
            self.asked.pop(place, None)
        self.reused += isinstance(outcome, Reused)

    def notice(self, change: Change) -> None:
        """Let a change that was made to the world reach the system."""
        super().notice(replace(change, arrived=None))
        if change.arrived is not None:
            self._land(change.arrived)
        requests = self.opened.ledger.requests
        for pause in requests.pauses():
            requests.resume(pause.table)
        for name in self.world.paused:
            requests.pause(name, downstream=False, by="the oracle", reason="to see", now_utc=self.now_utc)

    def is_settled(self, name: str, key: str, *, after: int = -1) -> bool:
        """Whether nothing needs to be done about a partition."""
        del after
        return key in self.opened.look(name, [key]).settled

    def roll_back(self, rng: Random) -> tuple[Place, Content] | None:
        """Nothing is put back here."""
        del rng
        return None

    def shown(self) -> dict[Place, Shown]:
        """What readers see, read from the tables' files."""
        return shown(self.opened, self.world)


def delivered(file: File, columns: Sequence[str]) -> bytes:
    """A file as it lands."""
    # A quoted header is the same header in other bytes: that is what the salt stands for.
    header = ",".join(f'"{c}"' if file.salt % 2 else c for c in columns) + "\n" * (file.salt // 2 % 2)
    return "".join([f"{header}\n", *(f"{','.join(map(str, row))}\n" for row in file.rows)]).encode()


def shown(engine: Engine, world: World) -> dict[Place, Shown]:
    """What readers see of the tables of a world, read from their files."""
    found: dict[Place, Shown] = {}
    for shape in world.shapes.values():
        stored = engine.store.table(engine.graph[shape.name])
        for key, file in stored.state().files.items():
            frame = stored.scan([file]).collect()
            columns = tuple(c for c in shape.columns if c in frame.columns)
            rows = frame.select(columns).rows()
            plain = [tuple(int(v) for v in row) for row in rows] if shape.station == RAW else rows
            found[shape.name, key] = Shown(columns, tuple(sorted(plain)))
    return found


class _RealRun(Run):
    """A run of the real engine, which looks at inputs and settles in one."""

    def start(self) -> None:
        """Nothing yet."""
        self.started = True
