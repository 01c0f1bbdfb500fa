"""What readers see while a file is late, and what is repaired when it lands: the real engine and watch.

The incident: the vendor is late, the dashboard is empty in the morning, somebody copies yesterday's rows by hand, and
nobody remembers to take them out when the file comes at noon.
"""

from pathlib import Path

import polars as pl
import pytest

from sh_core.outcome import Published
from sh_defs.facts.report import feed_accounts
from tests.late import (
    GRAPH,
    MONDAY,
    SALES,
    SATURDAY,
    SUNDAY,
    THURSDAY,
    TUESDAY,
    VISITS,
    WEDNESDAY,
    Shop,
    at,
    sales,
    visits,
)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """Monday and Tuesday are there, on Wednesday morning before anything of Tuesday is late."""
    shop = Shop.at(tmp_path, at(TUESDAY, 4))
    shop.land(SALES, MONDAY, sales(MONDAY, 10, 20))
    shop.land(VISITS, MONDAY, visits(3))
    shop.heal()
    return shop


def test_an_earlier_day_stands_in_once_the_grace_is_over_and_not_before(shop: Shop) -> None:
    shop.until(at(WEDNESDAY, 5, 29))  # 6:29 in Berlin
    assert shop.heal() == {}
    shop.until(at(WEDNESDAY, 5, 30))
    assert shop.heal() == {"stg_sales": [TUESDAY], "mart_sales": [TUESDAY], "mart_trend": [TUESDAY]}
    assert shop.marks() == {"stg_sales": [TUESDAY], "mart_sales": [TUESDAY], "mart_trend": [TUESDAY]}
    assert shop.heal() == {}
    assert [(str(r["sold_utc"]), r["euros"], r["_placeholder"]) for r in shop.rows("stg_sales", [TUESDAY])] == [
        ("2024-03-26 09:00:00+00:00", 10, True),
        ("2024-03-26 10:00:00+00:00", 20, True),
    ]
    assert [r["_placeholder"] for r in shop.rows("mart_sales")] == [False, True]
    assert "_placeholder" not in shop.rows("feat_trend")[0]


def test_what_waits_for_something_else_goes_on_waiting(shop: Shop) -> None:
    shop.until(at(WEDNESDAY, 12))
    shop.heal()
    assert [str(r["date"]) for r in shop.rows("mart_rate")] == [MONDAY]
    shop.land(VISITS, TUESDAY, visits(5))
    assert shop.heal() == {"raw_visits": [TUESDAY], "stg_visits": [TUESDAY], "mart_rate": [TUESDAY]}
    assert [r["_placeholder"] for r in shop.rows("mart_rate")] == [False, True]


def test_the_truth_repairs_exactly_what_rested_on_the_placeholder(shop: Shop) -> None:
    shop.until(at(WEDNESDAY, 12))
    shop.land(VISITS, TUESDAY, visits(5))
    shop.heal()
    shop.land(SALES, TUESDAY, sales(TUESDAY, 7))
    assert shop.heal() == {
        "raw_sales": [TUESDAY],
        "stg_sales": [TUESDAY],
        "mart_sales": [TUESDAY],
        "mart_trend": [TUESDAY],
        "mart_rate": [TUESDAY],
        "feat_trend": [TUESDAY],
    }
    assert shop.marks() == {}
    assert [r["euros"] for r in shop.rows("mart_trend")] == [30, 37]
    assert shop.heal() == {}


def test_marks_vanish_also_where_the_truth_is_what_stood_in(shop: Shop) -> None:
    """The incident: equal content ends the cascade, and the marts stay marked for ever."""
    shop.until(at(WEDNESDAY, 12))
    shop.heal()
    shop.land(SALES, TUESDAY, sales(TUESDAY, 10, 20))
    assert shop.heal() == {
        "raw_sales": [TUESDAY],
        "stg_sales": [TUESDAY],
        "mart_sales": [TUESDAY],
        "mart_trend": [TUESDAY],
        "feat_trend": [TUESDAY],
    }
    assert shop.marks() == {}


def test_a_restated_source_leaves_its_placeholder_alone(shop: Shop) -> None:
    shop.until(at(WEDNESDAY, 12))
    shop.heal()
    shop.land(SALES, MONDAY, sales(MONDAY, 500))
    ran = shop.heal()
    assert ran["stg_sales"] == [MONDAY]
    assert [r["euros"] for r in shop.rows("stg_sales", [TUESDAY])] == [10, 20]


def test_a_placeholder_never_stands_in_itself(shop: Shop) -> None:
    """A vendor silent for three days: each of them shows Monday, and not a copy of a copy."""
    shop.until(at(SATURDAY, 12))
    shop.heal()
    marked = shop.engine.ledger.publications.current("stg_sales")
    assert {key: s.version.marks for key, s in marked.items() if s.version.marks} == {
        day: (f"stg_sales[{day}] from {MONDAY}",) for day in (TUESDAY, WEDNESDAY, THURSDAY, "2024-03-29")
    }
    for day in (TUESDAY, WEDNESDAY, THURSDAY, "2024-03-29"):
        shop.land(SALES, day, sales(day, 1))
    ran = shop.heal()
    assert set(ran) == {"raw_sales", "stg_sales", "mart_sales", "mart_trend", "feat_trend"}
    assert shop.marks() == {}


def test_features_wait_for_the_truth(shop: Shop) -> None:
    shop.until(at(WEDNESDAY, 12))
    shop.heal()
    assert [str(r["date"]) for r in shop.rows("feat_trend")] == [MONDAY]


def test_nothing_stands_in_where_there_was_never_anything_real(tmp_path: Path) -> None:
    shop = Shop.at(tmp_path, at(WEDNESDAY, 12))
    assert shop.heal() == {}


def test_what_was_real_once_never_becomes_a_placeholder(shop: Shop) -> None:
    """A file that is taken away, or replaced by a broken one, leaves the last good content where it is."""
    shop.until(at(WEDNESDAY, 4))
    shop.land(SALES, TUESDAY, sales(TUESDAY, 7))
    shop.heal()
    shop.until(at(WEDNESDAY, 12))
    shop.land(SALES, TUESDAY, b"shop,euros\n")
    shop.heal()
    assert [r["euros"] for r in shop.rows("stg_sales", [TUESDAY])] == [7]
    assert shop.marks() == {}


def test_a_broken_file_does_not_take_the_placeholder_away(shop: Shop) -> None:
    shop.until(at(WEDNESDAY, 12))
    shop.heal()
    shop.land(SALES, TUESDAY, b"shop,euros\n")
    assert "stg_sales" not in shop.heal()
    assert shop.marks()["stg_sales"] == [TUESDAY]


def test_times_of_day_stay_where_they_are_when_the_clocks_change(tmp_path: Path) -> None:
    """Nine in the morning in Berlin on Saturday is eight UTC; on Sunday it is seven."""
    shop = Shop.at(tmp_path, at(SUNDAY, 3))
    shop.land(SALES, SATURDAY, sales(SATURDAY, 10, 20, hour=8))
    shop.heal()
    shop.until(at("2024-04-01", 12))
    shop.heal()
    assert [str(r["sold_utc"])[11:16] for r in shop.rows("stg_sales", [SUNDAY])] == ["07:00", "08:00"]


def test_a_clock_that_jumps_back_takes_no_placeholder_away(shop: Shop) -> None:
    shop.until(at(WEDNESDAY, 12))
    shop.heal()
    back = Shop.at(shop.home, at(WEDNESDAY, 3))
    assert back.heal() == {}
    assert back.marks()["stg_sales"] == [TUESDAY]


def test_any_reader_of_delta_can_leave_them_out(shop: Shop) -> None:
    shop.until(at(WEDNESDAY, 12))
    shop.heal()
    seen = pl.read_delta(str(shop.home / "tables" / "mart_sales"))
    assert seen.filter(~pl.col("_placeholder"))["euros"].to_list() == [30]


def test_a_contract_that_the_placeholder_breaks_withholds_it(shop: Shop) -> None:
    """One gate: what stands in is judged like anything else, under the contract of today."""
    shop.until(at(WEDNESDAY, 12))
    shop.heal()
    outcome = shop.ran["stg_sales"][TUESDAY]
    assert isinstance(outcome, Published)
    assert outcome.version.marks == (f"stg_sales[{TUESDAY}] from {MONDAY}",)
    assert GRAPH.marked == {"stg_sales", "mart_sales", "mart_trend", "mart_rate"}


def test_every_delivered_row_is_accounted_for_while_something_stands_in(shop: Shop) -> None:
    """Rows that stand in were delivered once, on another day: they count for nothing."""
    shop.until(at(WEDNESDAY, 12))
    shop.heal()

    def told() -> tuple[int, int, int, int]:
        (of,) = (a.rows for a in feed_accounts(GRAPH, shop.engine.ledger) if a.feed == SALES.name)
        return of.arrived, of.published, of.pending, of.missing

    assert told() == (2, 2, 0, 0)
    shop.land(SALES, TUESDAY, sales(TUESDAY, 1, 2, 3))
    shop.heal()
    assert told() == (5, 5, 0, 0)
