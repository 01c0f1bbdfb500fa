"""What each contender runs, and for how long, after each change; and whether its tables are right then.

Belongs here: cases, each a copy of a built folder and a process; comparing contents; adding up. Does not belong here:
contenders, changes. Invariant: every contender gets the same files and edits, starts each change from the chain as it
built it itself, at rest, and is compared with a rebuild from scratch.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from benchmarks.environment import UnavailableError
from benchmarks.peers import on_sqlmesh
from benchmarks.peers.changes import Change, Deliveries, changes, happen, lay_out

BASE = "rebuild"
"""What everybody is compared with."""

LEAST, PLAIN = "least", "all anew, plain Polars"
"""Its rows: what must run, and how long it takes to make every partition anew without any bookkeeping."""

OURS = "selfheal, engine"
THROUGH_DAGSTER = "selfheal, through Dagster"

CONTENDERS: Mapping[str, Sequence[str]] = {
    OURS: ("ours",),
    THROUGH_DAGSTER: ("ours", "dagster"),
    "Dagster eager(), all partitions": ("dagster", "eager"),
    "Dagster eager(), data versions": ("dagster", "eager_data_versions"),
    "Dagster any_deps_match(data_version_changed())": ("dagster", "data_version_changed"),
    "Dagster, downstream backfill": ("dagster", "backfill"),
    "Dagster, downstream backfill, single_run()": ("dagster", "backfill_ranges"),
    "SQLMesh, the day restated": ("sqlmesh", "day"),
    "SQLMesh, its window too": ("sqlmesh", "window"),
}
"""Rows of the tables: the contender's name in ``case``, and its variant."""

ROOT = Path(__file__).parents[2]

QUANTUM = 1.000001e-6
"""Step to which shares are rounded, and a little more for binary fractions."""

Results = dict[str, dict[str, dict[str, float]]]
"""Per table to print: per row, per column a figure."""


def run(days: int = 60, say: Callable[[str], None] = print) -> Results:
    """Measure.

    Args:
        days: Days of 2013, 5 to 365.
        say: Told what is going on.

    Raises:
        ChildProcessError: If a contender fails.
    """
    say(f"peers: cutting {days} days")
    first = Deliveries.load(days)
    happening = changes(first)
    with TemporaryDirectory(prefix="selfheal-bench-") as scratch:
        arena = Arena(Path(scratch), first)
        taken = {BASE: arena.measure(BASE, ("rebuild",), happening, say)}
        for name, command in CONTENDERS.items():
            try:
                taken[name] = arena.measure(name, command, happening, say)
            except UnavailableError as error:
                print(error, file=sys.stderr)
    return _figures(taken, happening, days)


class Arena:
    """A folder in which contenders run, and the contents that are right."""

    def __init__(self, scratch: Path, first: Deliveries) -> None:
        """Lay out the chain's first state in a new folder."""
        self._scratch, self._right, self._built = scratch, dict[str, Path](), dict[str, Path]()
        lay_out(scratch / "new", first)

    def measure(
        self, name: str, command: Sequence[str], happening: Sequence[Change], say: Callable[[str], None]
    ) -> dict[str, dict[str, Any]]:
        """One contender, all changes; ``rebuild`` goes first, as it says what is right.

        Returns:
            Per change what the contender did, with ``wrong``: partitions per table whose content is not that of a
            rebuild.
        """
        built = self._at_rest(name, command, say)
        found = {}
        for change in happening:
            case = self._scratch / "case"
            shutil.rmtree(case, ignore_errors=True)
            shutil.copytree(built, case)
            for delivery in change.before:
                happen(case, delivery, None)
                _case(command, case, "repair", say)
            happen(case, change.delivery, change.edit)
            os.sync()
            done = _case(command, case, "repair", say)
            if name == BASE:
                self._right[change.name] = self._scratch / f"right-{change.name}"
                shutil.copytree(case / "content", self._right[change.name])
            done["wrong"] = wrong_partitions(case / "content", self._right[change.name])
            found[change.name] = done
            ran = sum(map(len, done["executed"].values()))
            say(f"peers: {name}: {change.title}: {ran} executed, {done['seconds']:.2f} s")
        return found

    def _at_rest(self, name: str, command: Sequence[str], say: Callable[[str], None]) -> Path:
        """The chain as a contender has built it, once for all its variants, when there is nothing left to do."""
        built = self._built.get(command[0])
        if built is None:
            built = self._built[command[0]] = self._scratch / f"built-{command[0]}"
            shutil.copytree(self._scratch / "new", built)
            say(f"peers: {name}: building")
            _case(command, built, "build", say)
        rested = self._scratch / "rested"
        shutil.rmtree(rested, ignore_errors=True)
        shutil.copytree(built, rested)
        happen(rested, None, None)
        if (done := _case(command, rested, "repair", say))["executed"]:
            raise AssertionError(f"{name}: nothing has happened, and it ran {done['executed']}")
        return rested


def _case(command: Sequence[str], folder: Path, what: str, say: Callable[[str], None]) -> dict[str, Any]:
    contender, *variant = command
    if contender == "sqlmesh":
        words = [*on_sqlmesh.command(say), str(folder), what, *variant]
    else:
        words = [sys.executable, "-m", "benchmarks.peers.case", contender, str(folder), what, *variant]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT)  # noqa: S603  # built here
    if done.returncode:
        raise ChildProcessError(f"{' '.join(words)} ended with code {done.returncode}:\n{done.stdout}{done.stderr}")
    result: dict[str, Any] = json.loads((folder / "done.json").read_text())
    return result


def wrong_partitions(content: Path, right: Path) -> dict[str, list[str]]:
    """Partitions per table that are not what they should be."""
    found = {}
    for path in sorted(right.glob("*.parquet")):
        is_, should = (pl.read_parquet(folder / path.name) for folder in (content, right))
        period = "month" if "month" in should.columns else "date"
        if period not in should.columns:
            period = "all"
            is_, should = (frame.with_columns(pl.lit("all").alias(period)) for frame in (is_, should))
        is_, should = (_comparable(frame, should.columns) for frame in (is_, should))
        keys = set(is_[period]) | set(should[period])
        differ = [str(k) for k in keys if not _same(*(f.filter(pl.col(period) == k) for f in (is_, should)))]
        if differ:
            found[path.stem] = sorted(differ)
    return found


def _comparable(frame: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """Rows in order. CSV readers do not agree on empty cells; where floats are, other columns are the key."""
    named = frame.select(columns).with_columns(pl.col(pl.String).replace("", None))
    return named.sort(pl.exclude(pl.Float64))


def _same(one: pl.DataFrame, other: pl.DataFrame) -> bool:
    """Floats may differ by what engines round differently: a step of the contract's quantum."""
    exact, floats = pl.exclude(pl.Float64), pl.col(pl.Float64)
    if not one.select(exact, floats.is_null().name.suffix("_missing")).equals(
        other.select(exact, floats.is_null().name.suffix("_missing"))
    ):
        return False
    shares = other.select(floats).columns
    return all(((one[name] - other[name]).abs() <= QUANTUM).all() for name in shares)


def _figures(taken: Mapping[str, Mapping[str, Mapping[str, Any]]], happening: Sequence[Change], days: int) -> Results:
    contenders = {name: found for name, found in taken.items() if name != BASE}
    labels = {change.name: change.label for change in happening}

    def of(figure: Callable[[Mapping[str, Any]], float], base: str | None = None) -> dict[str, dict[str, float]]:
        shown = contenders if base is None else {base: taken[BASE], **contenders}
        return {row: {labels[name]: figure(done) for name, done in found.items()} for row, found in shown.items()}

    seconds, cpu = of(lambda d: float(d["seconds"]), PLAIN), of(lambda d: float(d["cpu_s"]), PLAIN)
    return {
        f"peers: partitions executed, {days} days; {on_sqlmesh.versions()}": of(lambda d: _count(d["executed"]), LEAST),
        "peers: partitions that are wrong afterwards": of(lambda d: _count(d["wrong"])),
        "peers: seconds": seconds,
        "peers: CPU seconds": cpu,
        f"peers: seconds x {OURS}": _ratios(seconds),
        f"peers: CPU seconds x {OURS}": _ratios(cpu),
        "peers: runs, or SQL statements that fill tables": of(lambda d: int(d["batches"])),
        "peers: ticks": of(lambda d: int(d["ticks"])),
    }


def _ratios(figures: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    return {row: {c: figure / figures[OURS][c] for c, figure in found.items()} for row, found in figures.items()}


def _count(partitions: Mapping[str, Sequence[str]]) -> int:
    return sum(map(len, partitions.values()))
