"""kill -9 of a real process between any two steps of a publish.

The incident: a node dies in the middle of a publish. A dashboard shows half a day, or a day twice, or rows that nobody
judged; the rerun finds a lock that nobody will ever release. Here a process is killed at every named step, and at
random times, again and again on the same tables; after every death a plain Delta reader looks, and in the end
everything is as if nobody had died.
"""

import os
import random
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerContext
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable

from sh_core.accounts import RowAccount
from sh_resources.engine import Engine
from sh_resources.publisher import Step
from tests.little import DAYS, GRAPH, NAMES, deliver, engine_at
from tests.scenarios.victim import Death, run

SCHEDULES = int(os.environ.get("SELFHEAL_KILL_SCHEDULES", "100"))
"""Random schedules in this run; ``make soak`` sets more."""

BASE_SEED = int(os.environ.get("SELFHEAL_SEED", "0"))
KEYS = DAYS.keys()[:4]
BROKEN = 1000.0
LIVES, DIES = 0, -signal.SIGKILL

Row = tuple[str, int, float]


@dataclass
class World:
    """What was delivered so far, and with it everything that a reader may ever see."""

    home: Path
    processes: ForkServerContext
    current: dict[str, list[Row]] = field(default_factory=dict)
    allowed: dict[tuple[str, str], list[object]] = field(default_factory=dict)
    hour: int = 0

    def land(self, key: str, rows: list[Row]) -> None:
        """Deliver a file; what its tables may look like from now on joins what they may have looked like before."""
        deliver(self.home, key, rows)
        self.current[key] = rows
        for name, content in expected(key, rows).items():
            self.allowed.setdefault((name, key), []).append(content)

    def run(self, death: Death | None) -> int:
        """Run the graph in a process of its own; its exit code."""
        self.hour += 1
        process = self.processes.Process(target=run, args=(self.home, list(self.current), self.hour, death))
        process.start()
        process.join(60)
        assert process.exitcode is not None, "the run hangs"
        return process.exitcode

    def look(self) -> dict[tuple[str, str], object]:
        """What a plain Delta reader sees; fails if any of it was never the whole content of a good partition."""
        seen: dict[tuple[str, str], object] = {}
        for name in NAMES:
            folder = self.home / "tables" / name
            if not DeltaTable.is_deltatable(str(folder)):
                continue
            for (day,), rows in pl.read_delta(str(folder)).partition_by("date", as_dict=True).items():
                content = canonical(name, rows)
                assert content in self.allowed[name, str(day)], f"{name}[{day}] was never published like this"
                seen[name, str(day)] = content
        return seen


def expected(key: str, rows: list[Row]) -> dict[str, object]:
    """The whole content of each table's partition for a delivered file; tables that must not be published are left out.

    Written without any of the project's code.
    """
    content: dict[str, object] = {"raw_readings": Counter((s, str(m), str(v)) for s, m, v in rows)}
    good = {(s, m, v) for s, m, v in rows if v <= 100}
    broken = sum(v > 100 for _, _, v in rows)
    if broken <= 0.5 * len(rows):
        content["stg_readings"] = Counter(good)
        sums: dict[str, list[float]] = {}
        for sensor, _, value in good:
            sums.setdefault(sensor, []).append(value)
        content["mart_sensor_means"] = Counter((s, len(v), round(sum(v) / len(v), 3)) for s, v in sums.items())
    return content


def canonical(name: str, rows: pl.DataFrame) -> object:
    """Published rows in the form of ``expected``."""
    columns = {"raw_readings": ["sensor", "minute", "value"], "stg_readings": ["sensor", "minute", "value"]}.get(
        name, ["sensor", "readings", "value_mean"]
    )
    found = Counter(rows.select(columns).iter_rows())
    return Counter({(s, n, round(v, 3)): c for (s, n, v), c in found.items()}) if name.startswith("mart") else found


def some_rows(chance: random.Random) -> list[Row]:
    """A file's readings: usually good, now and then with broken rows or exact copies, or broken beyond the policy."""
    broken = chance.choice([0.0, 0.0, 0.2, 0.9])
    rows = [
        (f"s{sensor}", minute, BROKEN if chance.random() < broken else float(chance.randrange(100)))
        for sensor in range(3)
        for minute in range(chance.randrange(1, 6))
    ]
    return rows + chance.sample(rows, chance.choice([0, 0, 1]))


def check_healed(world: World, engine: Engine) -> None:
    """After a run that lived, everything is as if nobody had died."""
    seen = world.look()
    ledger = engine.ledger
    for key, rows in world.current.items():
        for name, content in expected(key, rows).items():
            assert seen[name, key] == content, f"{name}[{key}] is not what was delivered last"
    withheld = {key for key, rows in world.current.items() if "stg_readings" not in expected(key, rows)}
    assert {i.partition for i in ledger.incidents.open("stg_readings")} == withheld
    for name in NAMES:
        delta = engine.store.table(GRAPH[name])
        live = {p: f.path for p, f in delta.state().files.items()}
        assert live == {p: s.path for p, s in ledger.publications.current(name).items()}, "ledger and Delta disagree"
        assert ledger.publications.unconfirmed(name) == []
    for key, rows in world.current.items():
        evidence = engine.store.quarantined(GRAPH["stg_readings"], [key])
        assert evidence.height == sum(v > 100 for _, _, v in rows), "the quarantine is not that of the last judgement"
    total = sum((a.account for a in ledger.accounts("readings", "raw_readings", "stg_readings")), RowAccount())
    assert total.missing == 0
    assert total.arrived - total.superseded == sum(map(len, world.current.values()))


@pytest.mark.parametrize("step", Step)
@pytest.mark.parametrize("nth", [1, 2, 4])
def test_killed_at_a_step_readers_see_old_or_new_and_the_next_run_recovers(
    step: Step, nth: int, tmp_path: Path, processes: ForkServerContext
) -> None:
    """Each named step is hit for certain, with old content in place, in the first and in later chunks and tables."""
    world = World(tmp_path, processes)
    for i, key in enumerate(KEYS):
        world.land(key, [("a", 1, 10.0 + i), ("b", 1, 20.0)])
    assert world.run(None) == LIVES
    for i, key in enumerate(KEYS):
        world.land(key, [("a", 1, 50.0 + i), ("b", 1, 60.0), ("c", 1, BROKEN)])
    assert world.run(Death(step, nth)) == DIES, f"the run never came to {step} for the {nth}. time"
    world.look()
    assert world.run(None) == LIVES
    check_healed(world, engine_at(tmp_path))


@pytest.mark.parametrize("step", Step)
def test_killed_at_a_first_publish(step: Step, tmp_path: Path, processes: ForkServerContext) -> None:
    """Nothing there yet that a second publish would replace."""
    world = World(tmp_path, processes)
    for key in KEYS:
        world.land(key, [("a", 1, 1.0), ("a", 1, 1.0), ("b", 2, BROKEN), ("b", 3, 3.0)])
    assert world.run(Death(step, 3)) == DIES
    world.look()
    assert world.run(None) == LIVES
    check_healed(world, engine_at(tmp_path))


@pytest.mark.parametrize("part", range(8))
def test_killed_again_and_again(part: int, tmp_path: Path, processes: ForkServerContext) -> None:
    """Random schedules: deliveries, deaths at steps and at any time, recoveries that die themselves."""
    for index in range(part, SCHEDULES, 8):
        chance = random.Random(f"{BASE_SEED}-{index}")
        world = World(tmp_path / str(index), processes)
        for key in KEYS:
            world.land(key, some_rows(chance))
        for _ in range(chance.randrange(1, 4)):
            exit_code = world.run(next(deaths(chance)))
            assert exit_code in (LIVES, DIES), f"schedule {index} (seed {BASE_SEED}): a run failed by itself"
            world.look()
            for key in chance.sample(KEYS, chance.randrange(3)):
                world.land(key, some_rows(chance))
        assert world.run(None) == LIVES, f"schedule {index} (seed {BASE_SEED})"
        check_healed(world, engine_at(world.home))


def deaths(chance: random.Random) -> Iterator[Death]:
    """Ways to die."""
    while True:
        if chance.random() < 0.7:
            yield Death(chance.choice(list(Step)), chance.randrange(1, 7))
        else:
            yield Death(after_s=chance.uniform(0.0, 0.5))
