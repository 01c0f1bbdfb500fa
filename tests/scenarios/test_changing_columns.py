"""A vendor changes its columns, and somebody declares what is to be accepted from then on."""

from datetime import date
from pathlib import Path
from typing import Any

import pandera.polars as pa
import polars as pl

from selfheal import Contract, Daily, Feed, Station, as_is, field, integer, parse, raw_table, table, text
from selfheal.testing import Bench
from sh_core.outcome import Outcome
from sh_core.table import Table
from tests.reading import changed, executed

DAYS = Daily(date(2026, 3, 1), date(2026, 3, 2))
ONE, TWO = "2026-03-01", "2026-03-02"
OLD, NEW = b"place,cases\nBern,3\nGenf,4\n", b"city,cases,remark\nBern,5,\nGenf,6,x\n"


class Cases(pa.DataFrameModel):
    """One row per place."""

    date: pl.Date
    place: str
    cases: int = field(ge=0)


def tables(**declared: Any) -> tuple[Table, ...]:  # noqa: ANN401 - those of Feed
    """The tables as they are declared at some time."""
    columns = declared.pop("columns", ("place", "cases"))
    feed = Feed("cases", "{partition}.csv", columns, DAYS, owner="team:test", **declared)

    @table(contract=Contract(Cases, key=("place",), owner="team:test"), partitions=DAYS, station=Station.STAGED)
    def stg_cases(raw_cases: pl.LazyFrame) -> pl.LazyFrame:
        """Cases by place."""
        return parse(raw_cases, date=as_is("date"), place=text("place"), cases=integer("cases"))

    return (raw_table(feed), stg_cases)


DECLARED = {
    "columns": ("place", "cases", "remark"),
    "optional": frozenset({"remark"}),
    "aliases": {"place": ("city",)},
}


def what_ran(outcomes: dict[str, dict[str, Outcome]]) -> dict[str, list[str]]:
    return {name: executed(told) for name, told in outcomes.items()}


def test_a_renamed_and_an_added_column_withhold_the_day_until_they_are_declared(tmp_path: Path) -> None:
    """No rule is loosened by itself, the other day flows on, and declaring it heals just what was withheld."""
    bench = Bench(tmp_path, tables())
    bench.land("cases", ONE, OLD)
    bench.land("cases", TWO, NEW)
    bench.run()
    assert bench.rows("stg_cases")["cases"].to_list() == [3, 4]
    (why,) = (said for said in bench.why("raw_cases", TWO) if "header" in said)
    assert "missing column place; unexpected columns city, remark; expected place,cases" in why

    told = Bench(tmp_path, tables(**DECLARED)).run()
    assert changed(told["stg_cases"]) == [TWO]
    after = Bench(tmp_path, tables(**DECLARED))
    assert after.rows("stg_cases").sort("date", "place")["cases"].to_list() == [3, 4, 5, 6]
    assert after.missing_rows() == 0
    assert what_ran(after.run()) == {"raw_cases": [], "stg_cases": []}


def test_a_declared_alias_alone_reads_files_anew_and_recomputes_only_what_was_withheld(tmp_path: Path) -> None:
    renamed = OLD.replace(b"place", b"city")
    bench = Bench(tmp_path, tables())
    bench.land("cases", ONE, OLD)
    bench.land("cases", TWO, renamed)
    bench.run()
    told = Bench(tmp_path, tables(aliases={"place": ("city",)})).run()
    assert what_ran(told) == {"raw_cases": [ONE, TWO], "stg_cases": [TWO]}


def test_an_alias_that_is_taken_back_withholds_the_files_that_used_it_and_readers_keep_what_they_had(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path, tables(**DECLARED))
    bench.land("cases", TWO, NEW)
    bench.run()
    before = bench.rows("stg_cases")
    assert before["cases"].to_list() == [5, 6]
    stricter = Bench(tmp_path, tables(columns=DECLARED["columns"], optional=DECLARED["optional"]))
    stricter.run()
    assert any("header" in said for said in stricter.why("raw_cases", TWO))
    assert stricter.rows("stg_cases").equals(before)
