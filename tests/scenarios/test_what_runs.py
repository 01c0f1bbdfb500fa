"""Random histories: what runs is exactly what is handed something else than last time, and the result is a rebuild's.

The two promises of the engine at once, judged by a computation of its own: this module finds out naively, row by row
in Python, what each transform would be handed, from what plain readers see. If a partition runs although that is what
it was, the engine is wasteful; if it does not run although it changed, what readers see is stale.
"""

import random
import shutil
from collections import Counter
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from sh_core.inputs import Partial
from sh_core.mapping import Window
from sh_core.outcome import Outcome, Published, Waiting, Withheld
from sh_core.partitions import WHOLE, Monthly, Unpartitioned, Weekly
from sh_core.table import Table
from sh_resources.engine import Engine
from tests.reading import (
    BIKES,
    GRAPH,
    RIDES,
    STOPS,
    WEATHER,
    D,
    Row,
    deliver,
    engine_at,
    run,
)

CITIES, STOP_NAMES, BIKE_NAMES = (
    ("Bern", "Genf", None),
    ("north", "south", "lake", None),
    ("b1", "b2", "b3", "b4", None),
)
FIRST, LAST = date.fromisoformat(D[0]), date.fromisoformat(D[-1])

Rows = list[dict[str, Any]]
Handed = tuple[Any, ...]


# ---- what would be handed over, naively


def days_of(table: Table, key: str) -> tuple[date, date]:
    """First and last day of a partition, by looking at the calendar."""
    first = date.fromisoformat(key)
    match table.partitions:
        case Weekly():
            return first, first + timedelta(days=6)
        case Monthly():
            return first, max(
                first + timedelta(days=n) for n in range(31) if (first + timedelta(days=n)).month == first.month
            )
        case _:
            return first, first


def wanted(table: Table, source: Table, first: int, last: int, key: str) -> list[str]:
    """Partitions that are read; every table with partitions that is read here has days."""
    if isinstance(source.partitions, Unpartitioned):
        return [WHOLE]
    begin, end = days_of(table, key)
    begin, end = begin + timedelta(days=first), end + timedelta(days=last)
    every = [FIRST + timedelta(days=n) for n in range((LAST - FIRST).days + 1)]
    return [day.isoformat() for day in every if begin <= day <= end]


class Readers:
    """What plain readers see of the tables that one table reads."""

    def __init__(self, engine: Engine, table: Table) -> None:
        self.rows: dict[str, dict[str, Rows]] = {}
        for source in (engine.graph[i.table] for i in table.reads):
            seen = engine.store.published(source).collect().to_dicts()
            column = source.partitions.column
            self.rows[source.name] = {
                key: [row for row in seen if column is None or str(row[column]) == key]
                for key in engine.store.table(source).state().files
            }

    def handed(self, table: Table, key: str) -> Handed | None:
        """Everything that the transform and the references of a partition get to see; None if it has to wait."""
        frames: dict[str, Rows] = {}
        said: list[Any] = []
        for given in sorted(table.reads, key=lambda i: i.lookup is not None):  # drivers first
            source = GRAPH[given.table]
            assert isinstance(given.window, Window)
            partitions = wanted(table, source, given.window.first, given.window.last, key)
            there = [p for p in partitions if p in self.rows[given.table]]
            least = min(given.present.min_present, len(partitions)) if isinstance(given.present, Partial) else None
            if len(there) < (len(partitions) if least is None else least):
                return None
            columns = source.contract.columns if given.columns is None else {*given.columns, *source.contract.key}
            if table.station == "staged" and given in table.inputs:
                columns = {*columns, "_file", "_line"}
            found = {p: self.rows[given.table][p] for p in there}
            if given.lookup is not None:
                asked = {tuple(row[c] for c in given.lookup.columns) for row in frames[given.lookup.driver]}
                found = {
                    p: [r for r in rows if tuple(r[c] for c in source.contract.key) in asked]
                    for p, rows in found.items()
                }
            frames[given.name] = [row for rows in found.values() for row in rows]
            # Lines may move within a file without anything being new: they are in no version.
            content = {
                p: sorted(str([r[c] for c in sorted(columns) if c[0] != "_"]) for r in rows)
                for p, rows in found.items()
            }
            said.append((given.name, tuple(p for p in partitions if p not in there), str(content)))
        return tuple(sorted(said))


# ---- random deliveries


def some_rides(rng: random.Random) -> list[Row]:
    pick = rng.choice
    return [
        (i, pick(BIKE_NAMES), pick(CITIES), pick(STOP_NAMES), pick(STOP_NAMES), rng.randrange(3))
        for i in range(rng.randrange(6))
    ]


def some_weather(rng: random.Random) -> list[Row]:
    # Now and then too hot to be true: the day is withheld.
    return [(city, rng.choice((1, 2, 3, 999))) for city in ("Bern", "Genf", "Chur") if rng.random() < 0.7]


def some_bikes(rng: random.Random) -> list[Row]:
    return [
        (bike, rng.choice(("red", "blue")), rng.choice((2, 3))) for bike in BIKE_NAMES if bike and rng.random() < 0.8
    ]


def some_stops(rng: random.Random) -> list[Row]:
    return [
        (city, stop, rng.randrange(2), rng.choice(STOP_NAMES))
        for city in ("Bern", "Genf")
        for stop in ("north", "south", "lake")
        if rng.random() < 0.8
    ]


def change(home: Path, rng: random.Random) -> None:
    """Let some file land."""
    day, what = rng.choice(D), rng.random()
    if what < 0.4:
        deliver(home, RIDES, some_rides(rng), day)
    elif what < 0.7:
        deliver(home, WEATHER, some_weather(rng), day)
    elif what < 0.9:
        deliver(home, BIKES, some_bikes(rng))
    else:
        deliver(home, STOPS, some_stops(rng))


def versions(engine: Engine, table: Table) -> dict[str, str]:
    """Version of what readers see, per partition."""
    return {key: s.version.root for key, s in engine.ledger.publications.current(table.name).items()}


class History:
    """One state folder, and what was handed to each partition when it last ran."""

    def __init__(self, home: Path) -> None:
        self.home, self.engine = home, engine_at(home)
        self.last: dict[tuple[str, str], Handed] = {}
        self.counts: Counter[str] = Counter()

    def run_all(self) -> None:
        """Bring every table up to date, and check of each partition whether it had to run."""
        for table in self.engine.graph.tables:
            before = Readers(self.engine, table)
            for key, outcome in run(self.engine, table.name).items():
                self.counts[type(outcome).__name__] += table.feed is None
                if table.feed is None:
                    self.check(table, key, before.handed(table, key), outcome)

    def check(self, table: Table, key: str, handed: Handed | None, outcome: Outcome) -> None:
        """Waits if something is missing, else runs if it is handed something else than last time."""
        where = (table.name, key)
        assert (handed is None) == isinstance(outcome, Waiting), (where, outcome)
        if handed is not None:
            must = self.last.get(where) != handed
            assert isinstance(outcome, Published | Withheld) == must, (where, outcome, self.last.get(where), handed)
            self.last[where] = handed


@pytest.mark.parametrize("seed", range(4))
def test_what_runs_is_what_is_handed_something_new(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    history = History(tmp_path / "home")
    for burst in (40, 1, 1, 2, 1, 3, 1, 1):
        for _ in range(burst):
            change(history.home, rng)
        history.run_all()
    assert min(history.counts[kind] for kind in ("Published", "Withheld", "Reused", "Waiting")) > 0, history.counts

    # Whatever was withheld heals, as a new folder has no last good content to go on with.
    deliver(history.home, BIKES, [(bike, rng.choice(("red", "blue")), 2) for bike in BIKE_NAMES if bike])
    for file in (history.home / "landing" / WEATHER.name).glob("*.csv"):
        deliver(history.home, WEATHER, [("Bern", rng.randrange(9))], file.stem.removeprefix("weather_"))
    history.run_all()
    assert history.engine.ledger.incidents.open() == []

    shutil.copytree(history.home / "landing", tmp_path / "fresh" / "landing")
    fresh = engine_at(tmp_path / "fresh")
    for table in fresh.graph.tables:
        run(fresh, table.name)
    for table in fresh.graph.tables:
        assert versions(fresh, table) == versions(history.engine, table)
