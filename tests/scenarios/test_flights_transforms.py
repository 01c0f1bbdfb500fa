"""The whole real year through our transforms, day by day and without a store, equals the same year computed in SQL.

What this prevents: a pipeline that heals back to figures which were wrong all along. Every delivered line is parsed,
typed, dated and judged here; the other side (``independent``) shares no code with it.
"""

from datetime import date

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from sh_assets.flights import TABLES
from sh_assets.flights.feeds import DAYS
from sh_core.columns import FILE, LINE, UNPARSED
from sh_core.gate_rows import judge_rows, misfit, quantise
from sh_core.graph import Graph
from sh_drills.replay import Replay
from tests.scenarios.independent import KEYS, SET_ASIDE, expected

GRAPH = Graph.of(TABLES)


@pytest.fixture(scope="module")
def year() -> dict[str, pl.DataFrame]:
    """Per derived table all rows of the year that its transform made, rounded, before judging."""
    replay = Replay.load()
    made: dict[str, list[pl.DataFrame]] = {name: [] for name in KEYS}
    for day in map(DAYS.value, DAYS.keys()):
        frames = {f"raw_{feed.name}": _raw(replay, feed.name, day) for feed in GRAPH.feeds}
        for name in KEYS:
            table = GRAPH[name]
            inputs = [frames[i.table].select(i.columns or pl.all()).lazy() for i in table.inputs]
            assert table.transform is not None
            rows = quantise(table.transform(*inputs).collect(), table.contract.quanta)
            made[name].append(rows)
            frames[name] = rows.filter(~_broken(rows, name))
    return {name: pl.concat(days) for name, days in made.items()}


def _raw(replay: Replay, feed: str, day: date) -> pl.DataFrame:
    text = pl.read_csv(replay.files[feed, day], infer_schema=False)
    return text.with_columns(
        pl.lit(day).alias("date"),
        pl.lit(f"{feed}/{feed}_{day}.csv").alias(FILE),
        pl.int_range(2, pl.len() + 2, dtype=pl.Int64).alias(LINE),
    )


def _broken(rows: pl.DataFrame, name: str) -> pl.Series:
    judged = judge_rows(rows, GRAPH[name].contract)
    assert not judged.crashes
    nothing = pl.repeat(value=False, n=rows.height, dtype=pl.Boolean, eager=True)
    return pl.select(pl.any_horizontal(nothing, *judged.broken.values())).to_series()


@pytest.mark.parametrize("name", KEYS)
def test_every_published_value_of_the_year_equals_the_independent_computation(
    year: dict[str, pl.DataFrame], name: str
) -> None:
    published = year[name].filter(~_broken(year[name], name)).drop(UNPARSED, strict=False).sort(KEYS[name])
    assert_frame_equal(published, expected(name).select(published.columns), rel_tol=0, abs_tol=1e-9)
    assert not misfit(published.schema, GRAPH[name].contract)


@pytest.mark.parametrize(
    ("name", "rows", "rule"),
    [("stg_flights", 336_776, "slower_than_sound"), ("stg_weather", 26_115, "wind_speed_mph__in_range")],
)
def test_only_the_known_errors_of_the_source_break_a_rule(
    year: dict[str, pl.DataFrame], name: str, rows: int, rule: str
) -> None:
    """A bound that cuts off real but rare values would hide them for ever."""
    assert year[name].height == rows
    judged = judge_rows(year[name], GRAPH[name].contract)
    assert {broken: int(which.sum()) for broken, which in judged.broken.items()} == {rule: 1}
    assert year[name].filter(judged.broken[rule]).select(GRAPH[name].contract.key).to_dicts() == [SET_ASIDE[name]]


@pytest.mark.parametrize("name", KEYS)
def test_keys_are_unique_in_the_whole_year(year: dict[str, pl.DataFrame], name: str) -> None:
    """The two passes of 01:00 on 2013-11-03 collide in local time; in UTC they are two observations."""
    assert not year[name].select(pl.struct(GRAPH[name].contract.key).is_duplicated().any()).item()


@pytest.mark.parametrize("name", KEYS)
def test_rules_about_whole_partitions_hold_on_every_day(year: dict[str, pl.DataFrame], name: str) -> None:
    contract = GRAPH[name].contract
    for day in year[name].partition_by("date"):
        assert contract.min_rows <= day.height <= (contract.max_rows or day.height)
        for rule in contract.table_rules:
            held = rule(day.lazy())
            assert isinstance(held, pl.LazyFrame)
            assert held.collect().item(), (rule.__name__, day["date"][0])
