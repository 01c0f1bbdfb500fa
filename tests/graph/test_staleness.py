"""Dagster's staleness marks, as its own resolver sets them, over windows, months and registers.

The incident: every table with a window was marked as out of date the moment it was computed, so nobody looked at the
marks any more. Here days → a week that looks back and months, and registers beside them.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import dagster as dg
import pandera.polars as pa
import polars as pl
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from sh_core.contract import Contract, Reference
from sh_core.feed import Feed
from sh_core.graph import Graph
from sh_core.inputs import Input, Lookup, Partial
from sh_core.mapping import Window
from sh_core.outcome import Outcome
from sh_core.parsing import integer, parse, text
from sh_core.partitions import WHOLE, Daily, Monthly, Unpartitioned
from sh_core.table import Station, raw_table, table
from sh_defs.definitions import definitions
from sh_defs.running import run_table
from sh_resources import settings

pytestmark = pytest.mark.graph

DAYS = Daily(date(2024, 1, 29), date(2024, 2, 29))
MONTHS = Monthly(date(2024, 1, 1), date(2024, 2, 29))
KEYS = ("2024-01-29", "2024-01-30", "2024-01-31", "2024-02-01", "2024-02-02")
JANUARY, FEBRUARY = "2024-01-01", "2024-02-01"
SALES = Feed("sales", "sales_{partition}.csv", ("shop", "sold"), DAYS, owner="team:test")
SHOPS = Feed("shops", "shops.csv", ("shop", "city"), Unpartitioned(), owner="team:test")
COLOURS = Feed("colours", "colours.csv", ("city", "colour"), Unpartitioned(), owner="team:test")


class Shop(pa.DataFrameModel):
    shop: str
    city: str


class Colour(pa.DataFrameModel):
    city: str
    colour: str


class Sale(pa.DataFrameModel):
    date: pl.Date
    shop: str
    sold: int


class Total(pa.DataFrameModel):
    date: pl.Date
    sold: int


class MonthTotal(pa.DataFrameModel):
    month: pl.Date
    sold: int


class Trend(pa.DataFrameModel):
    date: pl.Date
    sold: int
    earlier: int
    colours: int


@table(contract=Contract(Shop, ("shop",)), partitions=Unpartitioned(), station=Station.STAGED)
def stg_shops(raw_shops: pl.LazyFrame) -> pl.LazyFrame:
    """Shops."""
    return parse(raw_shops, shop=text("shop"), city=text("city"))


@table(contract=Contract(Colour, ("city",)), partitions=Unpartitioned(), station=Station.STAGED)
def stg_colours(raw_colours: pl.LazyFrame) -> pl.LazyFrame:
    """Colours."""
    return parse(raw_colours, city=text("city"), colour=text("colour"))


@table(
    contract=Contract(Sale, ("shop",), references=(Reference(("shop",), "stg_shops", 0.5),)),
    partitions=DAYS,
    station=Station.STAGED,
)
def stg_sales(raw_sales: pl.LazyFrame) -> pl.LazyFrame:
    """Sales, whose shops are looked for in the register."""
    typed = parse(raw_sales, shop=text("shop"), sold=integer("sold"))
    return pl.concat([typed, raw_sales.select("date")], how="horizontal")


@table(
    contract=Contract(Total, ("date",)),
    partitions=DAYS,
    station=Station.MART,
    reads={"stg_sales": Input("stg_sales", ("date", "sold"), window=Window(-2, 0), present=Partial(1))},
)
def mart_three_days(stg_sales: pl.LazyFrame) -> pl.LazyFrame:
    """A window."""
    return stg_sales.select(pl.col("date").max(), pl.col("sold").sum())


@table(
    contract=Contract(MonthTotal, ("month",)),
    partitions=MONTHS,
    station=Station.MART,
    reads={"stg_sales": Input("stg_sales", ("date", "sold"), present=Partial())},
)
def mart_months(stg_sales: pl.LazyFrame) -> pl.LazyFrame:
    """A month of days, of which some may be missing."""
    return stg_sales.group_by(pl.col("date").dt.truncate("1mo").alias("month")).agg(pl.col("sold").sum())


@table(
    contract=Contract(Trend, ("date",)),
    partitions=DAYS,
    station=Station.FEATURE,
    reads={
        "today": Input("mart_three_days", ("date", "sold")),
        "earlier": Input("mart_three_days", ("sold",), window=Window(-3, -3), present=Partial()),
        "sales": Input("stg_sales", ("shop",)),
        "shops": Input("stg_shops", ("city",), lookup=Lookup("sales", ("shop",))),
        "stg_colours": Input("stg_colours", ("colour",)),
    },
)
def feat_trend(
    today: pl.LazyFrame, earlier: pl.LazyFrame, sales: pl.LazyFrame, shops: pl.LazyFrame, stg_colours: pl.LazyFrame
) -> pl.LazyFrame:
    """Two arguments on one table with a gap between them, a lookup, and a register read whole."""
    del sales
    colours = shops.join(stg_colours, on="city").select(pl.len().cast(pl.Int64).alias("colours"))
    before = earlier.select(pl.col("sold").sum().alias("earlier"))
    return pl.concat([today, before, colours], how="horizontal")


TABLES = (
    *(raw_table(feed) for feed in (SALES, SHOPS, COLOURS)),
    *(stg_shops, stg_colours, stg_sales, mart_three_days, mart_months, feat_trend),
)
GRAPH = Graph.of(TABLES)
DAILY = ("raw_sales", "stg_sales", "mart_three_days", "feat_trend")


@dataclass
class Shopkeeper:
    """A state folder, its definitions, and what became of each partition."""

    home: Path
    instance: dg.DagsterInstance
    outcomes: list[tuple[str, Outcome]] = field(default_factory=list)

    def __post_init__(self) -> None:
        found = settings.load({"SELFHEAL_HOME": str(self.home)})
        self.defs = definitions(GRAPH, found, lambda t, o: self.outcomes.append((t.name, o)))
        self.deliver(SHOPS, {WHOLE: ["a,Ulm", "b,Ulm"]})
        self.deliver(COLOURS, {WHOLE: ["Ulm,red"]})

    def deliver(self, feed: Feed, files: Mapping[str, Sequence[str]]) -> None:
        folder = self.home / "landing" / feed.name
        folder.mkdir(parents=True, exist_ok=True)
        for key, lines in files.items():
            part = folder / ".part"
            part.write_text("".join(f"{line}\n" for line in (",".join(feed.columns), *lines)))
            part.replace(folder / feed.expected_file(key))

    def run(self, name: str, keys: Sequence[str]) -> None:
        run_table(self.instance, self.defs, GRAPH[name], keys)

    def run_all(self, keys: Sequence[str], months: Sequence[str] = (JANUARY, FEBRUARY)) -> None:
        """Bring everything up to date, inputs first."""
        for t in GRAPH.tables:
            self.run(t.name, keys if t.name in DAILY else months if t.name == "mart_months" else [WHOLE])

    def stale(self) -> set[tuple[str, str | None]]:
        """Every partition that Dagster marks, of those that were ever published."""
        graph = self.defs.resolve_asset_graph()
        found = set()
        for t in GRAPH.tables:
            keys = {JANUARY, FEBRUARY} if t.name == "mart_months" else set(KEYS) if t.name in DAILY else {None}
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                resolver = CachingStaleStatusResolver(self.instance, graph, LoadingContextForTest(self.instance))
                found |= {
                    (t.name, key) for key in keys if resolver.get_status(dg.AssetKey(t.name), key) is StaleStatus.STALE
                }
        return found


@pytest.fixture
def shop(tmp_path: Path, instance: dg.DagsterInstance) -> Shopkeeper:
    """Everything published, but for the last day."""
    made = Shopkeeper(tmp_path / "home", instance)
    made.deliver(SALES, {key: [f"a,{i}", f"b,{i}"] for i, key in enumerate(KEYS[:4], 1)})
    made.run_all(KEYS[:4])
    published = dg.AssetKey("feat_trend")
    assert instance.get_materialized_partitions(published) == set(KEYS[:4])
    return made


def test_after_a_complete_run_nothing_is_stale(shop: Shopkeeper) -> None:
    """The first days of the set among them, whose windows reach to before its beginning."""
    assert shop.stale() == set()


def test_a_changed_day_marks_what_reads_it_and_nothing_else(shop: Shopkeeper) -> None:
    shop.deliver(SALES, {KEYS[1]: ["a,5", "b,5"]})
    for name in ("raw_sales", "stg_sales"):
        shop.run(name, KEYS[:4])
    reading = {("mart_three_days", key) for key in KEYS[1:4]} | {("mart_months", JANUARY), ("feat_trend", KEYS[1])}
    assert shop.stale() >= reading
    assert {mark for mark in shop.stale() if mark[0] != "feat_trend"} == {m for m in reading if m[0] != "feat_trend"}
    # Computed again, in their turn; all is well again.
    for name, keys in (("mart_three_days", KEYS[:4]), ("mart_months", (JANUARY, FEBRUARY)), ("feat_trend", KEYS[:4])):
        shop.run(name, keys)
    assert shop.stale() == set()


def test_two_windows_on_one_table_mark_what_lies_between_them_too(shop: Shopkeeper) -> None:
    """Dagster knows one mapping for each pair of tables. A mark too many, which the next run takes off."""
    shop.deliver(SALES, {KEYS[0]: ["a,9", "b,9"]})
    for name in ("raw_sales", "stg_sales", "mart_three_days"):
        shop.run(name, KEYS[:4])
    marked = {key for name, key in shop.stale() if name == "feat_trend"}
    assert marked == set(KEYS[:4])
    shop.run("feat_trend", KEYS[:4])
    shop.run("mart_months", [JANUARY])
    assert shop.stale() == set()


def test_a_day_that_was_missing_and_comes_marks_who_did_without_it(shop: Shopkeeper) -> None:
    """February had nothing but its first day; January's figures stay as they are."""
    shop.deliver(SALES, {KEYS[4]: ["a,1", "b,1"]})
    for name in ("raw_sales", "stg_sales"):
        shop.run(name, KEYS[4:])
    assert shop.stale() == {("mart_months", FEBRUARY)}


def test_what_was_computed_from_nothing_is_marked_by_the_first_that_comes(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    made = Shopkeeper(tmp_path / "home", instance)
    made.run("mart_months", [FEBRUARY])
    assert made.stale() == set()
    made.deliver(SALES, {KEYS[3]: ["a,1"]})
    for name in ("raw_shops", "stg_shops"):
        made.run(name, [WHOLE])
    for name in ("raw_sales", "stg_sales"):
        made.run(name, [KEYS[3]])
    assert made.stale() == {("mart_months", FEBRUARY)}


def test_a_changed_register_marks_who_looks_it_up_and_who_refers_to_it(shop: Shopkeeper) -> None:
    shop.deliver(SHOPS, {WHOLE: ["a,Ulm", "b,Bern"]})
    for name in ("raw_shops", "stg_shops"):
        shop.run(name, [WHOLE])
    readers = {(name, key) for name in ("stg_sales", "feat_trend") for key in KEYS[:4]}
    assert shop.stale() == readers
    shop.outcomes.clear()
    shop.run_all(KEYS[:4])
    assert shop.stale() == set()
    kinds = {type(outcome).__name__ for name, outcome in shop.outcomes if name == "mart_three_days"}
    assert kinds == {"Reused"}


def test_reuse_marks_nothing(shop: Shopkeeper) -> None:
    shop.outcomes.clear()
    shop.run_all(KEYS[:4])
    assert {type(outcome).__name__ for _, outcome in shop.outcomes} == {"Reused"}
    assert shop.stale() == set()


def test_the_same_content_told_again_marks_nothing(shop: Shopkeeper) -> None:
    """A table that is run for itself must not mark those below it when it came out as before."""
    shop.run("stg_sales", KEYS[:4])
    shop.run("stg_shops", [WHOLE])
    assert shop.stale() == set()
