"""What happens to somebody's own tables when they change them, or make a mistake in them; with ``selfheal.testing``."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pandera.polars as pa
import polars as pl
import pytest

from selfheal import (
    PASSED_ON,
    Contract,
    Csv,
    Feed,
    JsonLines,
    Parquet,
    Station,
    Table,
    Unpartitioned,
    Weekly,
    as_is,
    field,
    integer,
    parse,
    raw_table,
    table,
    text,
)
from selfheal.testing import Bench, broken_rules
from sh_core.errors import DeclarationError
from sh_core.formats import Format
from sh_core.outcome import Published, Waiting, Withheld

WEEKS = Weekly(start=date(2025, 1, 6))  # without end, as most are
WEEK = "2025-01-06"
ROW = {"reader": "Ada", "days": 14}


class Loan(pa.DataFrameModel):
    """One loan."""

    week: pl.Date
    reader: str = field(pii=True)
    days: int = field(unit="days", ge=1, le=90)


CONTRACT = Contract(Loan, key=("reader",), owner="team:library")


def feed(*more: str, layout: Format | None = None) -> Feed:
    columns = ("reader", "days", *more)
    name = "loans_{partition}"
    return Feed("loans", name, columns, WEEKS, "team:library", format=layout or Csv(), pii=frozenset({"reader"}))


def typed(raw_loans: pl.LazyFrame) -> pl.LazyFrame:
    """One row per loan."""
    return parse(raw_loans, week=as_is("week"), reader=text("reader"), days=integer("days"))


def staged(transform: Callable[[pl.LazyFrame], pl.LazyFrame] = typed) -> Table:
    return table(contract=CONTRACT, partitions=WEEKS, station=Station.STAGED, name="stg_loans")(transform)


@pytest.mark.parametrize(
    "layout", [Csv(), Csv(";", "latin-1", "gzip"), JsonLines(compression="gzip"), Parquet()], ids=str
)
def test_rows_land_in_the_format_of_their_feed(tmp_path: Path, layout: Format) -> None:
    bench = Bench(tmp_path, [raw_table(feed(layout=layout)), staged()])
    bench.land("loans", WEEK, [{"reader": "Zoë", "days": 7}, ROW])
    bench.run()
    assert bench.rows("stg_loans").rows() == [(date(2025, 1, 6), "Ada", 14), (date(2025, 1, 6), "Zoë", 7)]
    assert bench.why("stg_loans", WEEK) == ()
    assert bench.missing_rows() == 0


def test_a_file_of_a_week_that_does_not_exist_cannot_land(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [raw_table(feed()), staged()])
    with pytest.raises(DeclarationError, match="'2025-01-07' is no weekly partition from 2025-01-06 on"):
        bench.land("loans", "2025-01-07", [ROW])
    with pytest.raises(DeclarationError, match="there is no feed 'lones'; there are loans"):
        bench.land("lones", WEEK, [ROW])


def test_an_unparsable_partition_column_is_not_asked_of_the_file(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [raw_table(feed()), staged()])
    bench.land("loans", WEEK, [{"reader": "Ada", "days": "many"}])
    bench.run()
    assert bench.quarantine("stg_loans")["rules"].to_list() == [["parse:days"]]


def test_a_column_that_the_files_lack_leaves_readers_what_they_had(tmp_path: Path) -> None:
    """The incident: one more column in a feed, and ``selfheal run`` died of the weeks that came before it."""
    before = Bench(tmp_path, [raw_table(feed()), staged()])
    before.land("loans", WEEK, [ROW])
    before.run()
    after = Bench(tmp_path, [raw_table(feed("isbn")), staged()])
    outcomes = after.run()
    assert isinstance(outcomes["raw_loans"][WEEK], Withheld)
    assert outcomes["stg_loans"] == {}  # waits for a file with that column
    assert after.rows("stg_loans").height == 1
    after.land("loans", WEEK, [{**ROW, "isbn": "978"}])
    assert isinstance(after.run()["stg_loans"][WEEK], Published)


def crash(raw_loans: pl.LazyFrame) -> pl.LazyFrame:
    """Quote personal data."""
    raise ValueError(raw_loans.collect()["reader"][0])


def misspell(raw_loans: pl.LazyFrame) -> pl.LazyFrame:
    """Name a column that is not there."""
    return raw_loans.select("week", "reeder", "days", *PASSED_ON[:2])


def eager(raw_loans: pl.LazyFrame) -> pl.LazyFrame:
    """Return what is no plan."""
    return typed(raw_loans).collect()  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("transform", "line", "says"),
    [
        (crash, 2, ": ValueError in test_own_changes.py, line {} (message not shown: reader is personal data)"),
        (misspell, 0, ': ColumnNotFoundError in test_own_changes.py, line {}: unable to find column "reeder"; valid'),
        (eager, 0, ": returned DataFrame in test_own_changes.py, line {}, not a polars LazyFrame"),
    ],
)
def test_a_transform_that_crashes_is_told_with_its_line(
    tmp_path: Path, transform: Callable[[pl.LazyFrame], pl.LazyFrame], line: int, says: str
) -> None:
    """The incident: ``NameError (message not shown: reader is personal data)``, and forty lines to look at."""
    bench = Bench(tmp_path, [raw_table(feed()), staged(transform)])
    bench.land("loans", WEEK, [ROW])
    bench.run()
    (said,) = bench.why("stg_loans", WEEK)
    assert said.startswith(f"transform crashed{says.format(transform.__code__.co_firstlineno + line)}")
    assert "Ada" not in said


def test_the_gate_alone() -> None:
    rows = pl.DataFrame({"week": [date(2025, 1, 6)] * 3, "reader": ["Ada", "Alan", "Alan"], "days": [0, 7, 7]})
    assert broken_rules(CONTRACT, rows) == {"days__ge": 1, "key__unique": 1}
    assert broken_rules(CONTRACT, rows[1:2].lazy()) == {}


def test_nothing_is_due_before_something_has_landed(tmp_path: Path) -> None:
    whole = Feed("docks", "docks.csv", ("dock",), Unpartitioned(), "team:library")
    bench = Bench(tmp_path, [raw_table(whole)])
    assert bench.run() == {"raw_docks": {}}
    assert bench.rows("raw_docks").columns == ["dock"]
    bench.land("docks", "all", b"dock\nzoo\n")
    assert not any(isinstance(o, Waiting) for o in bench.run()["raw_docks"].values())
    assert bench.rows("raw_docks")["dock"].to_list() == ["zoo"]
