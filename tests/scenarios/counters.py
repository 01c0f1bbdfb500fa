"""A little graph for tests: people counted at gates, by four vendors that name and repeat their files differently.

numbered   versions in names
stamped    versions in a column
parted     several files a day, one for each terminal
guarded    a person decides about any second file

Each feed has its raw table, stg_<feed> and mart_<feed>. The day stands in every row.
"""

from datetime import date
from pathlib import Path

import pandera.polars as pa
import polars as pl

from sh_core.contract import Contract, Split, field
from sh_core.deliveries import Several
from sh_core.feed import Feed
from sh_core.graph import Graph
from sh_core.inputs import Input
from sh_core.parsing import day, integer, parse, text
from sh_core.partitions import Daily
from sh_core.table import Station, Table, raw_table, table
from sh_drills.replay import land

DAYS = Daily(date(2030, 1, 1), date(2030, 1, 31))
COLUMNS = ("day", "gate", "people", "published_at")
Row = tuple[str, int]
"""Gate and people."""

NUMBERED = Feed("numbered", "n_{partition:%Y%m%d}_v{version}.csv", COLUMNS, DAYS, owner="team:test", max_unparsable=0.9)
STAMPED = Feed(
    "stamped", "{partition:%m-%d-%Y}.csv", COLUMNS, DAYS, owner="team:test", version_column="published_at",
)  # fmt: skip
PARTED = Feed(
    "parted", "{part}-{partition:%d%b%Y}.csv", COLUMNS, DAYS, owner="team:test", several=Several.APPEND,
    max_unparsable=0.5,
)  # fmt: skip
GUARDED = Feed("guarded", "g_{partition}.csv", COLUMNS, DAYS, owner="team:test", several=Several.HOLD)
FEEDS = (NUMBERED, STAMPED, PARTED, GUARDED)


class Count(pa.DataFrameModel):
    """One row per gate."""

    date: pl.Date
    gate: str
    people: int = field(ge=0)


class Total(pa.DataFrameModel):
    """One row per day."""

    date: pl.Date
    people: int = field(ge=0)


def _tables(feed: Feed) -> tuple[Table, Table, Table]:
    contract = Contract(Count, key=("gate",), owner="team:test", on_breach=Split(0.5), drop_duplicates=True)

    @table(
        contract=contract,
        partitions=DAYS,
        station=Station.STAGED,
        reads={"raw": Input(f"raw_{feed.name}")},
        name=f"stg_{feed.name}",
    )
    def staged(raw: pl.LazyFrame) -> pl.LazyFrame:
        """Counts, typed."""
        return parse(raw, date=day("day"), gate=text("gate"), people=integer("people"))

    @table(
        contract=Contract(Total, key=(), owner="team:test"),
        partitions=DAYS,
        station=Station.MART,
        reads={"counts": Input(f"stg_{feed.name}", ("date", "people"))},
        name=f"mart_{feed.name}",
    )
    def mart(counts: pl.LazyFrame) -> pl.LazyFrame:
        """Totals."""
        return counts.group_by("date").agg(pl.col("people").sum())

    return raw_table(feed), staged, mart


TABLES = tuple(of for feed in FEEDS for of in _tables(feed))
GRAPH = Graph.of(TABLES)


def rows_of(key: str, *rows: Row, at: str = "2030-02-01T00:00:00Z") -> bytes:
    """A file of counts."""
    lines = (f"{key},{gate},{people},{at}\n" for gate, people in rows)
    return (",".join(COLUMNS) + "\n" + "".join(lines)).encode()


def deliver(home: Path, feed: Feed, key: str, content: bytes, what: str = "") -> Path:
    """Let a file of a partition land whole; ``what`` is its version or part, where names have one."""
    path = home / "landing" / feed.name / feed.expected_file(key).replace("*", what)
    path.parent.mkdir(parents=True, exist_ok=True)
    land(path, content)
    return path
