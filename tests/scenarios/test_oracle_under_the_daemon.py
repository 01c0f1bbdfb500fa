"""The oracle's worlds under Dagster's real daemon, which is killed and restarted while changes keep arriving.

The incidents: a request that dies with its process and is never made again; a file that lands while the daemon is
down; a deployment amid runs of the old code; a publication that nobody lived to confirm, and that is made twice.

Several worlds share one graph and one set of processes, each with tables and feeds of its own names.
"""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from random import Random

import dagster as dg
import pytest

from sh_core.records import Attempt
from sh_defs.home import prepare_dagster_home
from sh_drills.oracle.calendar import keys_of
from sh_drills.oracle.changes import change
from sh_drills.oracle.declared import graph_of
from sh_drills.oracle.drawing import MONDAY, draw_world
from sh_drills.oracle.real_system import delivered, shown
from sh_drills.oracle.reference import Rebuilt
from sh_drills.oracle.shapes import Shape, Span, World
from sh_drills.replay import land
from sh_resources.clock import SystemClock
from sh_resources.engine import Engine
from sh_resources.settings import Settings, load
from sh_resources.wiring import open_engine
from tests.daemon import Services, running, ticks, under_way
from tests.scenarios.oracle_location import FILE, write_down

CASES = [(1, 3), *(pytest.param(seeds, marks=pytest.mark.soak) for seeds in [(8,), (3, 11), (5, 12), (2, 7)])]
"""Seeds of worlds that share one set of processes."""

TABLES = 4
CHANGES = 6
"""For each world."""

KILLS = 5
WORK_S = 6.0
"""How long a killer waits for a run to kill."""

SETTLED_S = 400.0


STARTED = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])


def closed(span: Span) -> Span:
    """A set without end would go on until today, and not until the day that was drawn."""
    end = span.end or MONDAY + timedelta(days=7)
    return replace(span, end=end if span.start else None, dims=tuple((n, closed(part)) for n, part in span.dims))


def apart(world: World, prefix: str) -> World:
    """The same world with names of its own."""

    def renamed(shape: Shape) -> Shape:
        refers = shape.gate.refers
        return replace(
            shape,
            name=f"{prefix}{shape.name}",
            span=closed(shape.span),
            reads=tuple(replace(given, table=f"{prefix}{given.table}") for given in shape.reads),
            gate=replace(shape.gate, refers=f"{prefix}{refers}" if refers else None),
            feed=f"{prefix}{shape.feed}" if shape.feed else None,
        )

    shapes = {shape.name: shape for shape in map(renamed, world.shapes.values())}
    spans = {shape.feed: shape.span for shape in shapes.values() if shape.feed}
    files = {(f"{prefix}{feed}", key): file for (feed, key), file in world.files.items()}
    declared = {place: file for place, file in files.items() if place[1] in keys_of(spans[place[0]], world.today)}
    return World(shapes, world.today, declared)


@dataclass
class Bench:
    """Worlds with their files and tables on disk, under a daemon.

    Attributes:
        rng: Where chance comes from, but for the moments at which things happen.
        world: Files and tables of all worlds.
        settings: Where their state is.
        services: The processes.
        story: What happened, line by line.
        down: Processes that are killed and not yet started again.
    """

    rng: Random
    world: World
    settings: Settings
    services: Services
    story: list[str]
    down: set[str] = field(default_factory=set)
    _begun: float = field(default_factory=time.monotonic)

    def say(self, what: str) -> None:
        self.story.append(f"{time.monotonic() - self._begun:6.1f} s: {what}")

    def require(self, holds: bool, what: str) -> None:
        assert holds, "\n".join([what, *self.story])

    # ---- what happens

    def land(self, feed: str, key: str) -> None:
        declared = next(f for f in graph_of(self.world.shapes).feeds if f.name == feed)
        path = self.settings.landing / feed / declared.expected_file(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        land(path, delivered(self.world.files[feed, key], declared.columns))

    def change(self) -> None:
        """Something changes in one of the worlds; an edit is deployed, and the runs of the old code die with it."""
        made = change(self.rng, self.world)
        self.say(made.says)
        if made.arrived is not None:
            self.land(*made.arrived)
        if made.edited:
            write_down(Path(self.services.environment[FILE]), self.world.shapes)
            if "code" not in self.down:
                self.services.kill("code")
                self.services.start_code_server()
                self.say("(that is deployed)")
        self.pause()

    def pause(self) -> None:
        """Pause in the ledger what is paused in the worlds."""
        with self.engine() as engine:
            requests = engine.ledger.requests
            for pause in requests.pauses():
                requests.resume(pause.table)
            for name in self.world.paused:
                requests.pause(name, downstream=False, by="the oracle", reason="", now_utc=SystemClock().now_utc())

    def kill(self, instance: dg.DagsterInstance) -> None:
        """Kill some processes, in the midst of a run if there is one soon."""
        until = time.monotonic() + self.rng.uniform(0.0, WORK_S)
        while time.monotonic() < until and not instance.get_runs(STARTED, limit=1):
            time.sleep(0.05)
        time.sleep(self.rng.uniform(0.0, 0.5))
        for name in self.rng.choice([["daemon"], ["code"], ["code"], ["daemon", "code"]]):
            runs = len(instance.get_runs(STARTED)) if name == "code" else 0
            self.services.kill(name)
            self.down.add(name)
            self.say(f"{name} is killed{f', with {runs} runs' if runs else ''}")

    def restart(self) -> None:
        """Start whatever was killed."""
        if self.down:
            self.services.start()
            self.down.clear()
            self.say("everything is started again")

    # ---- what it comes to

    def settle_down(self, instance: dg.DagsterInstance) -> None:
        """Wait until there is nothing left to do, and until nobody does anything any more."""

        def looked(sensor: str, since: float, times: int) -> bool:
            seen = sum(tick.timestamp >= since and tick.is_completed for tick in ticks(instance, sensor))
            return seen >= times

        until = time.monotonic() + SETTLED_S
        while True:
            since = time.time()
            self.services.wait_for(lambda: looked("arrivals", since, 1), SETTLED_S, "a look at arrivals")  # noqa: B023
            since = time.time()
            self.services.wait_for(lambda: looked("due", since, 2), SETTLED_S, "two ticks")  # noqa: B023
            asked = any(tick.timestamp >= since and tick.run_ids for tick in ticks(instance, "due"))
            left = self.stale()
            if not asked and not left and not under_way(instance):
                self.say("quiet")
                return
            going_on = Counter(str(run.status) for run in instance.get_runs(limit=200))
            late = f"it does not come to rest: {left[:5]} are stale, runs of Dagster's: {dict(going_on)}"
            self.require(time.monotonic() < until, late)

    def stale(self) -> list[str]:
        """What is still to be done, as somebody sees it who knows nothing of what the daemon knows."""
        with self.engine() as engine:
            return [
                f"{table.name}[{key}]"
                for table in engine.graph.tables
                for key in engine.look(table.name, table.partitions.keys(), ingest=False).stale
            ]

    def check(self) -> None:
        """What is seen is what a rebuilding from scratch shows, and nothing was decided twice under one trace."""
        with self.engine() as engine:
            differences = Rebuilt(self.world, shown(engine, self.world), {}).differences()
            self.require(not differences, "\n".join(["content differs", *differences[:5]]))
            for name in self.world.shapes:
                log = engine.ledger.publications.log(name, limit=100_000)
                confirmed = [tracked.attempt for tracked in log if tracked.state == "confirmed"]
                last: dict[str, Attempt] = {}
                for attempt in sorted(confirmed, key=lambda attempt: attempt.token):
                    before = last.get(attempt.partition)
                    twice = before is not None and before.trace.digest == attempt.trace.digest
                    self.require(not twice, f"{name}[{attempt.partition}] was executed twice under one trace")
                    last[attempt.partition] = attempt

    def executed(self) -> int:
        """Executions so far."""
        with self.engine() as engine:
            return sum(len(engine.ledger.publications.log(name, limit=100_000)) for name in self.world.shapes)

    @contextmanager
    def engine(self) -> Iterator[Engine]:
        """An engine with the tables as they are now."""
        engine = open_engine(self.settings, graph_of(self.world.shapes))
        try:
            yield engine
        finally:
            engine.ledger.close()


def drawn(seeds: Sequence[int]) -> World:
    """The worlds of some seeds, side by side."""
    found = [apart(draw_world(Random(seed), TABLES), f"s{seed}_") for seed in seeds]
    shapes = {name: shape for world in found for name, shape in world.shapes.items()}
    return World(shapes, found[0].today, {place: file for world in found for place, file in world.files.items()})


@contextmanager
def bench_of(seeds: Sequence[int], home: Path) -> Iterator[Bench]:
    """The worlds of some seeds, with everything running and nothing done yet."""
    world, shapes = drawn(seeds), home / "shapes.pickle"
    environment = {"SELFHEAL_HOME": str(home / "state"), "SELFHEAL_LEASE_S": "3", FILE: str(shapes)}
    settings = load(environment)
    write_down(shapes, world.shapes)
    own = prepare_dagster_home(settings) / "dagster.yaml"
    own.write_text(own.read_text().replace("poll_interval_seconds: 10", "poll_interval_seconds: 1"))
    story = [f"seeds {seeds}, {len(world.shapes)} tables", *(f"  {shape}" for shape in world.shapes.values())]
    with running(Services(settings.dagster_home, "tests.scenarios.oracle_location", environment)) as services:
        bench = Bench(Random(seeds[0]), world, settings, services, story)
        for place in world.files:
            bench.land(*place)
        yield bench


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seeds", CASES)
def test_nothing_is_lost_nor_done_twice_whatever_is_killed(seeds: Sequence[int], tmp_path: Path) -> None:
    """Contents are those of a rebuilding from scratch; at most one execution for each trace; then it is quiet."""
    with bench_of(seeds, tmp_path) as bench, bench.services.instance() as instance:
        changes = CHANGES * len(seeds)
        fatal = set(bench.rng.sample(range(changes), KILLS))
        for number in range(changes):
            time.sleep(bench.rng.uniform(0.2, 2.0))
            if number in fatal:
                bench.restart()
                bench.kill(instance)
            bench.change()
            if bench.rng.random() < 0.7:  # otherwise more changes arrive before anybody is there again
                bench.restart()
        bench.restart()
        bench.world.paused.clear()
        bench.pause()
        bench.settle_down(instance)
        bench.check()
        before = bench.executed()
        bench.services.kill("code")
        bench.services.start()  # with a watch that knows nothing
        bench.settle_down(instance)
        bench.require(bench.executed() == before, "it was quiet, and a new watch has something executed")
