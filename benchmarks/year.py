"""The year of flights through the whole graph, as ratios to a plain Polars script that makes the same tables.

Belongs here: running the variants in turn, each in its own process and folder, comparing their tables, adding up parts.
Does not belong here: the script (``plain``), which functions are timed (``parts``). Invariant: variants take turns
within one run; the files are delivered before, and imports and the process's start are in no figure.

    engine        every table through ``Engine.materialize``, inputs first
    dagster       the same through Dagster runs with a persistent instance, as in ``selfheal demo``
    plain         ``plain.run``: no checks, versions, archive, transactions or ledger; one file per table and day
    plain_tables  the same with one file per table

Beside seconds, CPU seconds of all threads are given: they suffer less from other work on the machine.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from benchmarks import plain
from benchmarks.parts import DAGSTER, ENGINE, Parts
from sh_assets.flights import TABLES
from sh_assets.flights.feeds import DAYS
from sh_core.columns import FILE, LINE
from sh_core.graph import Graph
from sh_core.outcome import Published, Waiting
from sh_core.table import Table
from sh_drills.replay import Replay
from sh_resources.settings import Settings, load
from sh_resources.store import Store
from sh_resources.wiring import new_id, open_engine

BASE = "plain"
VARIANTS = ("engine", "dagster", BASE, "plain_tables")

Results = dict[str, dict[str, dict[str, float]]]
"""Per table to print: per row, per column a figure."""


def run(rounds: int = 3, days: int = 365, say: Callable[[str], None] = print) -> Results:
    """Measure.

    Args:
        rounds: Times that each variant runs.
        days: Days of 2013 to take, from the first.
        say: Told what is going on.

    Raises:
        AssertionError: If the variants made different tables.
    """
    taken: dict[str, list[dict[str, Any]]] = {variant: [] for variant in VARIANTS}
    keys = DAYS.keys()[:days]
    with TemporaryDirectory(prefix="selfheal-bench-") as folder:
        scratch = Path(folder)
        say(f"year: delivering {len(keys)} days")
        delivered = Replay.load().deliver(scratch / "landing", [DAYS.value(key) for key in keys])
        for turn in range(rounds):
            for variant in VARIANTS:
                taken[variant].append(_in_process(variant, scratch, days))
                say(f"year: round {turn + 1}/{rounds}, {variant}: {taken[variant][-1]['seconds']:.1f} s")
        equal = _compare(scratch)
    return {
        f"year: {delivered.rows:,} rows of {len(keys)} days, {rounds} rounds": _figures(taken),
        "year: where the time goes (medians)": _by_part(taken),
        "year: the same rows as the plain script": {name: {"rows": rows} for name, rows in equal.items()},
    }


def _in_process(variant: str, scratch: Path, days: int) -> dict[str, Any]:
    home = scratch / variant
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    (home / "landing").symlink_to(scratch / "landing")
    os.sync()  # what others have left to write is not to be waited for within the figures
    command = [sys.executable, "-m", "benchmarks.year", variant, str(home), str(days)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603  # this module
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


# ---- in the variant's process


def _measure(variant: str, home: Path, days: int) -> dict[str, Any]:
    settings = load({"SELFHEAL_HOME": str(home)})
    graph, keys, parts = Graph.of(TABLES), DAYS.keys()[:days], Parts()
    work = _prepared(variant, settings, graph, keys, parts)
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak_mb = peak / 2**20 if sys.platform == "darwin" else peak / 2**10
    by_part = {"parts": dict(parts.seconds), "parts_cpu_s": dict(parts.cpu_s)}
    return {"seconds": wall, "cpu_s": cpu, "peak_mb": peak_mb, **by_part}


def _prepared(
    variant: str, settings: Settings, graph: Graph, keys: Sequence[str], parts: Parts
) -> Callable[[], object]:
    """The variant's work, with everything imported that it needs."""
    match variant:
        case "engine":
            parts.watch(ENGINE)
            return lambda: through_engine(settings, graph, keys)
        case "dagster":
            parts.watch(ENGINE)
            parts.watch(DAGSTER)
            from benchmarks.through_dagster import through_dagster  # noqa: PLC0415  # after the timers, for one variant

            return lambda: through_dagster(settings, graph, keys)
        case _:
            return lambda: plain.run(settings.landing, settings.home / "tables", cut=variant == BASE)


def through_engine(settings: Settings, graph: Graph, keys: Sequence[str]) -> None:
    """Every table of a graph, inputs first.

    Raises:
        AssertionError: If a partition is not published.
    """
    engine = open_engine(settings, graph)
    first, last = DAYS.value(keys[0]), DAYS.value(keys[-1])
    for table in graph.tables:
        for outcome in engine.materialize(table.name, table.partitions.between(first, last), run_id=new_id()):
            if type(outcome) not in {Published, Waiting}:  # a month waits for its last day
                raise AssertionError(table.name, outcome)


# ---- figures


def _figures(taken: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, dict[str, float]]:
    figures = {}
    for variant, runs in taken.items():
        figures[variant] = {
            "s": statistics.median(r["seconds"] for r in runs),
            "x plain": _ratio(taken, variant, "seconds"),
            "CPU s": statistics.median(r["cpu_s"] for r in runs),
            "CPU x plain": _ratio(taken, variant, "cpu_s"),
            "peak MB": max(r["peak_mb"] for r in runs),
        }
    return figures


def _ratio(taken: Mapping[str, Sequence[Mapping[str, Any]]], variant: str, figure: str) -> float:
    """Median of the ratios within the rounds."""
    pairs = zip(taken[variant], taken[BASE], strict=True)
    return statistics.median(one[figure] / base[figure] for one, base in pairs)


def _by_part(taken: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, dict[str, float]]:
    """Seconds and CPU seconds per part; ``rest`` is what no timer saw."""
    rows: dict[str, dict[str, float]] = {part: {} for part in (*ENGINE, *DAGSTER, "rest")}
    for variant in ("engine", "dagster"):
        for column, whole, each in (("s", "seconds", "parts"), ("CPU s", "cpu_s", "parts_cpu_s")):
            runs = [{**r[each], "rest": r[whole] - sum(r[each].values())} for r in taken[variant]]
            for part in rows.keys() & {name for found in runs for name in found}:
                rows[part][f"{variant} {column}"] = statistics.median(found.get(part, 0.0) for found in runs)
    return rows


# ---- comparison


def _compare(scratch: Path) -> dict[str, int]:
    """Rows per table that the engine, Dagster and the script all have.

    Raises:
        AssertionError: If one of them has other rows.
    """
    graph = Graph.of(TABLES)
    equal = {}
    for variant in ("engine", "dagster"):
        store = Store(scratch / variant, graph)
        for table in graph.tables:
            ours, theirs = store.published(table).collect(), _read(scratch / BASE / "tables", table)
            order = [FILE, LINE] if table.keeps_lineage else list(table.contract.key)
            if not ours.sort(order).equals(theirs.select(ours.columns).sort(order)):
                raise AssertionError(f"{table.name}: {variant} and the plain script made different rows")
            equal[table.name] = ours.height
    return equal


def _read(tables: Path, table: Table) -> pl.DataFrame:
    hive = table.partitions.columns
    files = pl.scan_parquet(
        tables / table.name / "**/*.parquet", hive_partitioning=bool(hive), hive_schema=hive or None
    )
    return files.collect()


def _main() -> None:
    parser = argparse.ArgumentParser(description="One variant in this process; `python -m benchmarks` runs them all.")
    parser.add_argument("variant", choices=VARIANTS)
    parser.add_argument("home", type=Path, help="state folder with a landing zone in it")
    parser.add_argument("days", type=int)
    given = parser.parse_args()
    print(json.dumps(_measure(given.variant, given.home, given.days)))


if __name__ == "__main__":
    _main()
