"""What judging costs, as ratios to the same split written by hand in Polars.

Belongs here: one partition of many rows; one range run of many partitions. Does not belong here: reading, publishing.
Invariant: contenders take turns within one run, because absolute times on a shared machine mean nothing.

What each contender yields:
    by_hand      good rows; broken rows with the list of rules that each broke. Knows one table and nothing of crashes.
    gate         the same, and verdict, counts and samples per rule; a crashing check is isolated.
    keyed        the gate with a key to keep unique; its base is the split by hand and Polars' ``is_duplicated``.
    pandera      ``Model.validate(lazy=True)``: a report of failing values per check, neither good nor broken rows.
    dataframely  ``Schema.filter``: good rows; ``invalid()``: broken rows; counts per rule, no list per row.
    gx_summary   Great Expectations, ``SUMMARY``: per check whether it holds, counts, up to 20 samples; no rows.
    gx_rows      the same, ``COMPLETE``: also the positions of the rows that break each check, and with them the broken
                 rows. Good rows and a list of rules per row remain to be made. A crashing check is isolated.

The last two run on pandas, in an environment and a process of their own (``gx``); handing the frame over is not timed.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import dataframely as dy
import numpy as np
import pandera.polars as pa
import polars as pl
from numpy.typing import NDArray
from pandera.errors import SchemaErrors

from benchmarks import gx
from sh_core.contract import Contract, Split, field
from sh_core.gate import judge_partitions

AIRPORTS = ["EWR", "JFK", "LGA"]
EARLIEST_MIN = -60
BOUNDS: Mapping[str, pl.Expr] = {
    "delay_min__ge": pl.col("delay_min") >= EARLIEST_MIN,
    "wind_speed_mph__in_range": pl.col("wind_speed_mph").is_between(0, 250),
    "origin__isin": pl.col("origin").is_in(AIRPORTS),
    "distance_mi__in_range": pl.col("distance_mi").is_between(0, 6000),
    "tail__str_length": pl.col("tail").str.len_chars().is_between(1, 8),
}
FILLED = ("delay_min", "origin", "distance_mi", "tail", "flight")


class Flights(pa.DataFrameModel):
    """Seven columns, five checks."""

    delay_min: int = field(ge=EARLIEST_MIN)
    wind_speed_mph: float = field(nullable=True, in_range={"min_value": 0, "max_value": 250})
    origin: str = field(isin=AIRPORTS)
    distance_mi: int = field(in_range={"min_value": 0, "max_value": 6000})
    tail: str = field(str_length={"min_value": 1, "max_value": 8})
    flight: int
    humidity: float = field(nullable=True)


CONTRACT = Contract(Flights, owner="team:bench", on_breach=Split(max_fraction=0.1))
KEYED = Contract(Flights, key=("flight",), owner="team:bench", on_breach=Split(max_fraction=0.1))


class DyFlights(dy.Schema):
    """The same in dataframely."""

    delay_min = dy.Int64(nullable=False, min=EARLIEST_MIN)
    wind_speed_mph = dy.Float64(nullable=True, min=0, max=250, allow_inf=True, allow_nan=True)
    origin = dy.String(nullable=False, check=lambda column: column.is_in(AIRPORTS))
    distance_mi = dy.Int64(nullable=False, min=0, max=6000)
    tail = dy.String(nullable=False, min_length=1, max_length=8)
    flight = dy.Int64(nullable=False)
    humidity = dy.Float64(nullable=True, allow_inf=True, allow_nan=True)


def flights(rows: int, broken: float) -> pl.DataFrame:
    """Rows of which about this share breaks one of the five checks.

    Args:
        rows: How many.
        broken: Share of broken rows, 0 to 1.
    """
    rng = np.random.default_rng(7)

    def spoilt(values: NDArray[np.generic], bad: float | str) -> NDArray[np.generic]:
        return np.where(rng.random(rows) < broken / len(BOUNDS), bad, values)

    return pl.DataFrame(
        {
            "delay_min": spoilt(rng.integers(EARLIEST_MIN, 300, rows), -999),
            "wind_speed_mph": spoilt(rng.random(rows) * 60, 1048.0),
            "origin": spoilt(rng.choice(AIRPORTS, rows), "XXX"),
            "distance_mi": spoilt(rng.integers(0, 5000, rows), 99_999),
            "tail": spoilt(rng.choice(["N14228", "N619AA", "N5"], rows), "N14228-OR-SO"),
            "flight": rng.permutation(rows),
            "humidity": rng.random(rows),
        }
    )


def by_hand(frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Good rows, and broken rows with ``_rules``."""
    rules = {**BOUNDS, **{f"{name}__not_null": pl.col(name).is_not_null() for name in FILLED}}
    held = frame.select(**{name: rule.fill_null(value=True) for name, rule in rules.items()})
    good = held.select(pl.all_horizontal(pl.all())).to_series()
    lists = pl.concat_list([pl.when(~pl.col(name)).then(pl.lit(name)) for name in rules]).list.drop_nulls()
    return frame.filter(good), frame.filter(~good).hstack(held.filter(~good).select(lists.alias("_rules")))


def _pandera(frame: pl.DataFrame) -> None:
    try:
        Flights.validate(frame, lazy=True)
    except SchemaErrors:
        return


def _dataframely(frame: pl.DataFrame) -> None:
    _, failure = DyFlights.filter(frame)
    failure.invalid()
    failure.counts()


def medians(contenders: Mapping[str, Callable[[], object]], repetitions: int) -> dict[str, float]:
    """Median seconds of each contender; they take turns, after one untimed turn each."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(repetitions + 1):
        for name, contender in contenders.items():
            start = time.perf_counter()
            contender()
            if turn:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(taken) for name, taken in times.items()}


def run(rows: int = 1_000_000, repetitions: int = 9, gx_python: Path | None = None) -> dict[str, object]:
    """Measure.

    Args:
        rows: Rows of the single partition; the range run spreads a third of them over 365 partitions.
        repetitions: Timed turns of each contender.
        gx_python: A Python that has Great Expectations; without it they are left out.

    Returns:
        Per scenario: milliseconds of the split by hand, and each contender's ratio to it.

    Raises:
        AssertionError: If Great Expectations found other broken rows.
    """
    results: dict[str, object] = {"rows": rows}
    for broken in (0.0, 0.001, 0.01):
        frame = flights(rows, broken)
        with ExitStack() as processes:
            contenders = _single(frame)
            if gx_python is not None:
                contenders |= _great_expectations(processes.enter_context(gx.validating(gx_python, frame)), frame)
            results[f"{broken:.1%} broken"] = _ratios(medians(contenders, repetitions))
        days = frame.head(rows // 3).iter_slices(max(1, -(-rows // 3 // 365)))
        frames = {str(day): part for day, part in enumerate(days)}
        taken = medians(_range(frames), max(1, repetitions // 3))
        results[f"{broken:.1%} broken, {len(frames)} partitions"] = _ratios(taken)
    return results


def _single(frame: pl.DataFrame) -> dict[str, Callable[[], object]]:
    return {
        "by_hand": lambda: by_hand(frame),
        "gate": lambda: judge_partitions({"p": frame}, CONTRACT),
        "keyed_by_hand": lambda: by_hand(frame)[0]["flight"].is_duplicated().any(),
        "keyed": lambda: judge_partitions({"p": frame}, KEYED),
        "pandera": lambda: _pandera(frame),
        "dataframely": lambda: _dataframely(frame),
    }


def _great_expectations(ask: Callable[[str], int], frame: pl.DataFrame) -> dict[str, Callable[[], object]]:
    found, there = ask("rows"), by_hand(frame)[1].height
    if found != there:
        raise AssertionError(f"Great Expectations found {found} broken rows instead of {there}")
    return {"gx_summary": lambda: ask("summary"), "gx_rows": lambda: ask("rows")}


def _range(frames: Mapping[str, pl.DataFrame]) -> dict[str, Callable[[], object]]:
    return {
        "by_hand": lambda: [by_hand(part) for part in frames.values()],
        "gate": lambda: judge_partitions(frames, CONTRACT),
        "gate_one_by_one": lambda: [judge_partitions({key: part}, CONTRACT) for key, part in frames.items()],
    }


def _ratios(taken: Mapping[str, float]) -> dict[str, float]:
    bases = {name: taken.get(f"{name}_by_hand", taken["by_hand"]) for name in taken}
    ratios = {name: round(taken[name] / bases[name], 2) for name in taken if not name.endswith("by_hand")}
    return {"by_hand_ms": round(taken["by_hand"] * 1000, 1), **ratios}


if __name__ == "__main__":
    for scenario, figures in run().items():
        print(f"{scenario:>32}  {figures}")
