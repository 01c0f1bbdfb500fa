"""A vendor that publishes files by committing them, and two tables of its feed: for replays of a Git history."""

import subprocess
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pandera.polars as pa
import polars as pl

from sh_core.contract import Contract
from sh_core.contract import field as column
from sh_core.feed import Feed
from sh_core.parsing import as_is, integer, parse, text
from sh_core.partitions import Daily
from sh_core.table import Station, raw_table, table

DAYS = Daily(date(2026, 3, 1), date(2026, 3, 31))
SALES = Feed("sales", "sales_{partition}.csv", ("shop", "sum"), DAYS, owner="team:test")
ONE, TWO = "sales_2026-03-01.csv", "sales_2026-03-02.csv"


class Sale(pa.DataFrameModel):
    """One row per shop."""

    date: pl.Date
    shop: str
    sum: int = column(ge=0)


class Day(pa.DataFrameModel):
    """One row per day."""

    date: pl.Date
    sum: int


@table(contract=Contract(Sale, key=("shop",), owner="team:test"), partitions=DAYS, station=Station.STAGED)
def stg_sales(raw_sales: pl.LazyFrame) -> pl.LazyFrame:
    """Sales by shop."""
    return parse(raw_sales, date=as_is("date"), shop=text("shop"), sum=integer("sum"))


@table(
    contract=Contract(Day, key=(), owner="team:test"),
    partitions=DAYS,
    station=Station.MART,
    reads={"stg_sales": ("date", "sum")},
)
def mart_days(stg_sales: pl.LazyFrame) -> pl.LazyFrame:
    """Sales by day."""
    return stg_sales.group_by("date").agg(pl.col("sum").sum())


TABLES = (raw_table(SALES), stg_sales, mart_days)


@dataclass
class Repository:
    """A clone that a vendor publishes from; each commit an hour after the one before it."""

    folder: Path
    hour: int = 0
    ids: list[str] = field(default_factory=list)

    @classmethod
    def make(cls, folder: Path) -> "Repository":
        """A new one, with nothing in it."""
        folder.mkdir()
        made = cls(folder)
        made.git("init", "-q", "-b", "main")
        return made

    def git(self, *words: str, **environment: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(self.folder), "-c", "user.name=vendor", "-c", "user.email=v@example.org", *words],
            env={"PATH": "/usr/bin:/bin:/usr/local/bin", "HOME": str(self.folder), "LC_ALL": "C.UTF-8", **environment},
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def commit(self, message: str, files: dict[str, str | None], at: str | None = None, author: str = "") -> str:
        """Write files (None deletes), and commit them."""
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink() if content is None else path.write_text(content, "utf-8")
        self.git("add", "--all")
        self.hour += 1
        at = at or f"2026-03-10T{self.hour:02}:00:00+00:00"
        self.git("commit", "-q", "-m", message, GIT_COMMITTER_DATE=at, GIT_AUTHOR_DATE=author or at)
        self.ids.append(self.git("rev-parse", "HEAD"))
        return self.ids[-1]
