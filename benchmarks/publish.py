"""What one publish costs as history grows: of the partition, and of everything else in the ledger.

Belongs here: one partition published again and again through the real engine, every time with new content, from the
landed file to the confirmation. Does not belong here: throughput of many partitions (``year``). Invariant: old and new
homes take turns in the comparison, because a machine gets slower and faster while a history is built up.

    fresh    a home of its own, nothing published in it before the comparison
    aged     the same partition was published ``commits`` times before
    crowded  its ledger holds ``snapshots`` settled publications of other partitions before
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pandera.polars as pa
import polars as pl

from benchmarks.parts import STEPS, Parts
from sh_core.contract import Contract
from sh_core.feed import Feed
from sh_core.graph import Graph
from sh_core.parsing import integer, parse
from sh_core.partitions import Daily
from sh_core.table import Station, raw_table, table
from sh_drills.replay import land
from sh_resources.engine import Engine
from sh_resources.settings import load
from sh_resources.wiring import new_id, open_engine

WINDOW = 100
"""Publishes per window."""

ROWS = 24
"""Rows of the partition: few, so that what is timed is publishing and not rows."""

DAYS = Daily(date(2030, 1, 1), date(2030, 1, 1))
DAY = DAYS.keys()[0]
READINGS = Feed("readings", "readings_{partition}.csv", ("hour", "value"), DAYS, owner="team:bench")

Results = dict[str, dict[str, dict[str, float]]]
"""Per table to print: per row, per column a figure."""


class Reading(pa.DataFrameModel):
    """One reading per hour."""

    date: pl.Date
    hour: int
    value: int


@table(contract=Contract(Reading, key=("hour",), owner="team:bench"), partitions=DAYS, station=Station.STAGED)
def stg_readings(raw_readings: pl.LazyFrame) -> pl.LazyFrame:
    """Readings, typed."""
    typed = parse(raw_readings, hour=integer("hour"), value=integer("value"))
    return pl.concat([typed, raw_readings.select("date")], how="horizontal")


GRAPH = Graph.of((raw_table(READINGS), stg_readings))


@dataclass
class _Home:
    """One state folder, and what its publishes took.

    Attributes:
        engine: Its engine.
        landing: Folder of the feed.
        parts: Timers that all homes share.
        turn: Publishes so far.
        seconds: Per publish, both tables together.
        steps: Per step, per publish.
    """

    engine: Engine
    landing: Path
    parts: Parts
    turn: int = 0
    seconds: list[float] = field(default_factory=list)
    steps: dict[str, list[float]] = field(default_factory=lambda: {step: [] for step in STEPS})

    @classmethod
    def at(cls, folder: Path, parts: Parts) -> "_Home":
        landing = folder / "landing" / READINGS.name
        landing.mkdir(parents=True)
        engine = open_engine(load({"SELFHEAL_HOME": str(folder)}), GRAPH)
        return cls(engine, landing, parts)

    def publish(self) -> None:
        """Let a file with new content land (not timed), and publish it in both tables (timed)."""
        self.turn += 1
        lines = [",".join(READINGS.columns), *(f"{hour},{self.turn + hour}" for hour in range(ROWS))]
        land(self.landing / READINGS.expected_file(DAY), "".join(f"{line}\n" for line in lines).encode())
        before, start = dict(self.parts.seconds), time.perf_counter()
        for each in GRAPH.tables:
            for outcome in self.engine.materialize(each.name, [DAY], run_id=new_id()):
                if type(outcome).__name__ != "Published":
                    raise AssertionError(each.name, outcome)
        self.seconds.append(time.perf_counter() - start)
        for step, taken in self.steps.items():
            taken.append(self.parts.seconds.get(step, 0.0) - before.get(step, 0.0))

    def crowd(self, snapshots: int) -> None:
        """Fill the ledger with settled publications of partitions that do not concern this one, all alike."""
        ledger, at = self.engine.ledger, datetime.now(UTC)
        self.publish()
        published = ledger.publications.history(stg_readings.name, DAY)[0]
        model = ledger.publications.attempts([published.attempt_id])[published.attempt_id].attempt
        for batch in range(-(-snapshots // 1000)):
            # Nine tables of a year and more, each partition published over and over.
            keys = [f"day-{n:03}" for n in range(1000)]
            name, transaction = f"crowd_{batch % 9}", batch // 9 + 1
            tokens = ledger.leases.acquire(name, keys, "crowd", at, 3600)
            attempts = [
                replace(
                    model,
                    id=new_id(),
                    table=name,
                    partition=key,
                    token=tokens[key],
                    path=f"date={key}/{transaction}.parquet",
                    transaction=transaction,
                    trace=replace(model.trace, code=f"{key}-{transaction}"),
                )
                for key in keys
            ]
            ledger.publications.intend(attempts)
            ledger.publications.confirm([a.id for a in attempts], at)
            ledger.leases.release(name, tokens)


def run(commits: int = 2000, snapshots: int = 100_000, say: Callable[[str], None] = print) -> Results:
    """Measure.

    Args:
        commits: Publishes of one partition before the comparison.
        snapshots: Publications of others in the crowded ledger.
        say: Told what is going on.
    """
    parts = Parts()
    parts.watch(STEPS)
    with TemporaryDirectory(prefix="selfheal-bench-") as folder:
        say(f"publish: {snapshots:,} publications of others into a ledger")
        crowded = _Home.at(Path(folder, "crowded"), parts)
        crowded.crowd(snapshots)
        aged = _Home.at(Path(folder, "aged"), parts)
        windows: dict[str, dict[str, float]] = {}
        while aged.turn < commits:
            aged.publish()
            if aged.turn % WINDOW == 0:
                windows[f"{aged.turn - WINDOW + 1:,} to {aged.turn:,}"] = _in_ms(aged, WINDOW)
                say(f"publish: {aged.turn:,}/{commits:,}, p50 {1000 * _p50(aged.seconds[-WINDOW:]):.0f} ms")
        homes = {"fresh": _Home.at(Path(folder, "fresh"), parts), "aged": aged, "crowded": crowded}
        for turn in range(WINDOW + 1):
            for home in homes.values():
                home.publish()
            say(f"publish: comparison {turn}/{WINDOW}")
    figures = {name: _in_ms(home, WINDOW) for name, home in homes.items()}
    first, *_, last = windows.values()
    return {
        "publish: ratios, taking turns (≤ 1.3 is flat)": {
            f"after {commits:,} commits": _ratios(figures["aged"], figures["fresh"]),
            f"beside {snapshots:,} snapshots": _ratios(figures["crowded"], figures["fresh"]),
        },
        "publish: last window / first window, not taking turns": {"last / first": _ratios(last, first)},
        "publish: ms per publish of two tables, taking turns": figures,
        f"publish: ms by history, windows of {WINDOW}": windows,
    }


def _in_ms(home: _Home, window: int) -> dict[str, float]:
    seconds = home.seconds[-window:]
    steps = {step: 1000 * _p50(taken[-window:]) for step, taken in home.steps.items()}
    return {"p50": 1000 * _p50(seconds), "p95": 1000 * _p95(seconds), **steps}


def _ratios(one: dict[str, float], base: dict[str, float]) -> dict[str, float]:
    return {name: one[name] / base[name] for name in one if base[name] > 0}


def _p50(values: Sequence[float]) -> float:
    return statistics.median(values)


def _p95(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]
