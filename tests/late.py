"""A little graph for tests of what is late: a shop's sales, for which the day before stands in, and visits, which wait.

    sales (a day, by six the next morning in Berlin) → stg_sales ┬→ mart_sales   a sum per day
                                                                 ├→ mart_trend   with the two days before, if there
                                                                 │    └→ feat_trend   a feature: of no placeholder
    visits (a day, by seven, with versions) ──────→ stg_visits ──┴→ mart_rate    sales per visit

Days have no end, and the clock that the engine is given is the vendors' as well.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pandera.polars as pa
import polars as pl

from sh_core import contract as contracts
from sh_core.contract import Contract, Utc
from sh_core.due import By
from sh_core.feed import Feed
from sh_core.graph import Graph
from sh_core.inputs import Input, Partial
from sh_core.mapping import Window
from sh_core.outcome import Outcome
from sh_core.parsing import as_is, instant, integer, parse, text
from sh_core.partitions import Daily
from sh_core.placeholder import Placeholder
from sh_core.staleness import Stale
from sh_core.table import Station, Table, raw_table, table
from sh_core.watch import Decision, Watch
from sh_defs.healing import heal
from sh_drills.replay import land
from sh_resources.book import LedgerBook
from sh_resources.clock import ManualClock
from sh_resources.engine import Engine
from sh_resources.settings import load
from sh_resources.wiring import new_id, open_engine

OWNER = "team:test"
BERLIN = "Europe/Berlin"
DAYS = Daily(date(2024, 3, 4))
MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY, SATURDAY, SUNDAY = (f"2024-03-{day}" for day in range(25, 32))
"""The clocks of Berlin are put forward in the night to Sunday."""

SALES = Feed(
    "sales",
    "sales_{partition}.csv",
    ("shop", "sold_at", "euros"),
    DAYS,
    owner=OWNER,
    due=By(time(6), BERLIN, grace=timedelta(minutes=30)),
)
VISITS = Feed(
    "visits", "visits_{partition}_v{version}.csv", ("shop", "visits"), DAYS, owner=OWNER, due=By(time(7), BERLIN)
)


class Sale(pa.DataFrameModel):
    """One row per sale."""

    date: pl.Date
    shop: str
    sold_utc: Utc
    euros: int = contracts.field(ge=0)


class Visits(pa.DataFrameModel):
    """One row per shop."""

    date: pl.Date
    shop: str
    visits: int


class ShopSales(pa.DataFrameModel):
    """One row per shop."""

    date: pl.Date
    shop: str
    euros: int


class Rate(pa.DataFrameModel):
    """One row per shop."""

    date: pl.Date
    shop: str
    cents_per_visit: int


@table(
    contract=Contract(Sale, key=("shop", "sold_utc"), owner=OWNER),
    partitions=DAYS,
    station=Station.STAGED,
    if_late=Placeholder("previous", timezone=BERLIN),
)
def stg_sales(raw_sales: pl.LazyFrame) -> pl.LazyFrame:
    """One row per sale."""
    return parse(raw_sales, date=as_is("date"), shop=text("shop"), sold_utc=instant("sold_at"), euros=integer("euros"))


@table(contract=Contract(Visits, key=("shop",), owner=OWNER), partitions=DAYS, station=Station.STAGED)
def stg_visits(raw_visits: pl.LazyFrame) -> pl.LazyFrame:
    """One row per shop."""
    return parse(raw_visits, date=as_is("date"), shop=text("shop"), visits=integer("visits"))


@table(
    contract=Contract(ShopSales, key=("shop",), owner=OWNER),
    partitions=DAYS,
    station=Station.MART,
    reads={"stg_sales": ("date", "shop", "euros")},
)
def mart_sales(stg_sales: pl.LazyFrame) -> pl.LazyFrame:
    """Sales of the day."""
    return stg_sales.group_by("date", "shop").agg(pl.col("euros").sum())


@table(
    contract=Contract(ShopSales, key=("shop",), owner=OWNER),
    partitions=DAYS,
    station=Station.MART,
    reads={
        "stg_sales": ("date", "shop", "euros"),
        "before": Input("stg_sales", ("date", "shop", "euros"), window=Window(-2, -1), present=Partial()),
    },
)
def mart_trend(stg_sales: pl.LazyFrame, before: pl.LazyFrame) -> pl.LazyFrame:
    """Sales of the day and the two before, as far as there are any."""
    rows = pl.concat([before, stg_sales]).with_columns(pl.col("date").max())
    return rows.group_by("date", "shop").agg(pl.col("euros").sum())


@table(
    contract=Contract(ShopSales, key=("shop",), owner=OWNER),
    partitions=DAYS,
    station=Station.FEATURE,
    reads={"mart_trend": ("date", "shop", "euros")},
)
def feat_trend(mart_trend: pl.LazyFrame) -> pl.LazyFrame:
    """What a model learns from."""
    return mart_trend.select("date", "shop", "euros")


@table(
    contract=Contract(Rate, key=("shop",), owner=OWNER),
    partitions=DAYS,
    station=Station.MART,
    reads={"stg_sales": ("date", "shop", "euros"), "stg_visits": ("shop", "visits")},
)
def mart_rate(stg_sales: pl.LazyFrame, stg_visits: pl.LazyFrame) -> pl.LazyFrame:
    """Sales per visit."""
    sums = stg_sales.group_by("date", "shop").agg(pl.col("euros").sum())
    return sums.join(stg_visits, on="shop").select(
        "date", "shop", (pl.col("euros") * 100 // pl.col("visits")).alias("cents_per_visit")
    )


TABLES = (raw_table(SALES), raw_table(VISITS), stg_sales, stg_visits, mart_sales, mart_trend, feat_trend, mart_rate)
GRAPH = Graph.of(TABLES)
NAMES = tuple(t.name for t in GRAPH.tables)


def sales(day: str, *euros: int, hour: int = 9) -> bytes:
    """A day's file: sales of one shop, an hour apart."""
    rows = (f"s1,{day}T{hour + n:02}:00:00Z,{amount}" for n, amount in enumerate(euros))
    return "\n".join(["shop,sold_at,euros", *rows, ""]).encode()


def visits(count: int) -> bytes:
    """A day's file."""
    return f"shop,visits\ns1,{count}\n".encode()


@dataclass
class Shop:
    """A state folder with a clock that stands still, and everything that runs there.

    Attributes:
        graph: Its tables.
        home: State folder.
        clock: Moved by the test.
        engine: On the folder.
        ran: What was executed since somebody asked last, by table.
    """

    graph: Graph
    home: Path
    clock: ManualClock
    engine: Engine
    watch: Watch
    ran: dict[str, dict[str, Outcome]] = field(default_factory=dict)

    @classmethod
    def at(cls, home: Path, now_utc: datetime, graph: Graph = GRAPH) -> "Shop":
        """Open one."""
        clock = ManualClock(now_utc)
        engine = open_engine(load({"SELFHEAL_HOME": str(home)}), graph, clock=clock, patience_s=0)
        return cls(graph, home, clock, engine, Watch(graph, LedgerBook(engine, clock)))

    def land(self, feed: Feed, day: str, content: bytes, version: int = 1) -> None:
        """Deliver a file; of a feed that has versions, one of them."""
        folder = self.home / "landing" / feed.name
        folder.mkdir(parents=True, exist_ok=True)
        land(folder / feed.expected_file(day, version=str(version)), content)

    def until(self, now_utc: datetime) -> None:
        """Let time pass."""
        self.clock.advance(now_utc - self.clock.now_utc())

    def heal(self) -> dict[str, list[str]]:
        """Take in what has landed and run what is due, until nothing is; returns what was executed, by table."""
        self.ran = {}

        def decide() -> Decision:
            self.engine.take_in(self.clock.now_utc())
            return self.watch.tick(self.clock.now_utc(), {}, f"test:{new_id()}")

        def run(of: Table, why: Mapping[str, Stale]) -> None:
            for outcome in self.engine.materialize(of.name, list(why), run_id=new_id()):
                self.ran.setdefault(of.name, {})[outcome.partition] = outcome

        heal(self.graph, decide, run, self.clock, patience_s=0)
        return {name: sorted(found) for name, found in self.ran.items()}

    def marks(self) -> dict[str, list[str]]:
        """Partitions that rest on placeholders, by table."""
        found = {t.name: self.engine.ledger.publications.current(t.name) for t in self.graph.tables}
        marked = {name: sorted(k for k, s in of.items() if s.version.marks) for name, of in found.items()}
        return {name: keys for name, keys in marked.items() if keys}

    def roots(self) -> dict[tuple[str, str], str]:
        """The content of every partition that has something published."""
        return {
            (t.name, key): snapshot.version.root
            for t in self.graph.tables
            for key, snapshot in self.engine.ledger.publications.current(t.name).items()
        }

    def rows(self, name: str, days: Iterable[str] | None = None) -> list[dict[str, object]]:
        """What readers see, in the order of the key."""
        of = self.graph[name]
        found = self.engine.store.published(of, None if days is None else list(days)).collect()
        return found.sort("date", *of.contract.key).to_dicts()


def with_monday(home: Path) -> Shop:
    """A shop on Tuesday: all of Monday is there."""
    shop = Shop.at(home, at(TUESDAY, 4))
    shop.land(SALES, MONDAY, sales(MONDAY, 10, 20))
    shop.land(VISITS, MONDAY, visits(3))
    shop.heal()
    return shop


def at(day: str, hour: int, minute: int = 0) -> datetime:
    """A time of a day (UTC)."""
    return datetime.fromisoformat(f"{day}T{hour:02}:{minute:02}:00").replace(tzinfo=UTC)
