"""What readers see while a file is late, and what is repaired when it lands: the real engine and watch.

The incident: the vendor is late, the dashboard is empty in the morning, somebody copies yesterday's rows by hand, and
nobody remembers to take them out when the file comes at noon.
"""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from sh_core.graph import Graph
from sh_core.outcome import Published
from sh_core.placeholder import Placeholder
from sh_core.reconciliation import Differs
from sh_defs.facts.report import feed_accounts
from sh_resources.publisher import Step
from sh_resources.settings import load
from sh_resources.wiring import open_engine
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
    with_monday,
)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """Monday is there, on Tuesday."""
    return with_monday(tmp_path)


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


def test_the_difference_between_placeholder_and_truth_is_kept(shop: Shop) -> None:
    shop.until(at(WEDNESDAY, 12))
    shop.heal()
    assert shop.engine.ledger.reconciliations.newest(limit=9) == []
    shop.land(SALES, TUESDAY, sales(TUESDAY, 10, 25, 7))
    shop.heal()
    (kept,) = shop.engine.ledger.reconciliations.newest(limit=9)
    outcome = shop.ran["stg_sales"][TUESDAY]
    assert isinstance(outcome, Published)
    assert (kept.table, kept.partition, kept.attempt_id) == ("stg_sales", TUESDAY, outcome.attempt_id)
    found = kept.found
    assert found.mark == f"stg_sales[{TUESDAY}] from {MONDAY}"
    assert (found.rows_placeholder, found.rows_truth) == (2, 3)
    assert (found.only_placeholder, found.only_truth, found.differ) == (0, 1, 1)
    assert found.columns == {"euros": Differs(1, 30, 42)}
    shop.land(SALES, TUESDAY, sales(TUESDAY, 1))  # from truth to truth there is nothing to reconcile
    shop.heal()
    assert shop.engine.ledger.reconciliations.newest(limit=9) == [kept]


def test_from_placeholder_to_placeholder_there_is_nothing_to_reconcile(shop: Shop) -> None:
    """Somebody declares otherwise what stands in: the truth has not come with that."""
    shop.until(at(WEDNESDAY, 12))
    shop.heal()
    unmoved = replace(GRAPH["stg_sales"], if_late=Placeholder("previous", shift=()))
    graph = Graph.of(unmoved if t.name == unmoved.name else t for t in GRAPH.tables)
    engine = open_engine(load({"SELFHEAL_HOME": str(shop.home)}), graph, clock=shop.clock, patience_s=0)
    (outcome,) = engine.materialize("stg_sales", [TUESDAY], run_id="otherwise")
    assert isinstance(outcome, Published)
    assert not outcome.refreshed
    assert engine.ledger.reconciliations.newest(limit=9) == []


def test_a_truth_that_is_what_stood_in_is_recorded_as_such(shop: Shop) -> None:
    shop.until(at(WEDNESDAY, 12))
    shop.heal()
    shop.land(SALES, TUESDAY, sales(TUESDAY, 10, 20))
    shop.heal()
    (kept,) = shop.engine.ledger.reconciliations.newest("stg_sales", TUESDAY, limit=9)
    assert (kept.found.only_placeholder, kept.found.only_truth, kept.found.differ) == (0, 0, 0)


class Died(BaseException):
    """Like kill -9, as far as this process is concerned."""


@pytest.mark.parametrize(("step", "kept"), [(Step.INTENDED, 0), (Step.QUARANTINED, 0), (Step.COMMITTED, 1)])
def test_a_crash_neither_loses_nor_repeats_the_difference(shop: Shop, step: Step, kept: int) -> None:
    """What was committed is confirmed by whoever comes next, and the difference with it; else it is made anew."""
    shop.until(at(WEDNESDAY, 12))
    shop.heal()
    shop.land(SALES, TUESDAY, sales(TUESDAY, 10, 25, 7))
    shop.engine.take_in(shop.clock.now_utc())
    list(shop.engine.materialize("raw_sales", [TUESDAY], run_id="raw"))

    def die(reached: Step) -> None:
        if reached is step:
            raise Died

    settings = load({"SELFHEAL_HOME": str(shop.home)})
    dying = open_engine(settings, GRAPH, clock=shop.clock, on_step=die, patience_s=0)
    with pytest.raises(Died):
        list(dying.materialize("stg_sales", [TUESDAY], run_id="dying"))
    shop.until(at(WEDNESDAY, 13))
    assert shop.engine.ledger.reconciliations.newest(limit=9) == []  # nothing of it is confirmed yet
    shop.engine.recover("after")
    assert len(shop.engine.ledger.reconciliations.newest(limit=9)) == kept
    shop.heal()
    (found,) = shop.engine.ledger.reconciliations.newest(limit=9)
    assert (found.found.rows_placeholder, found.found.rows_truth) == (2, 3)
    assert shop.marks() == {}


def test_a_placeholder_whose_file_is_gone_does_not_keep_the_truth_away(shop: Shop) -> None:
    shop.until(at(WEDNESDAY, 12))
    shop.heal()
    stood_in = shop.engine.ledger.publications.current("stg_sales", [TUESDAY])[TUESDAY]
    (shop.home / "tables" / "stg_sales" / stood_in.path).unlink()
    shop.land(SALES, TUESDAY, sales(TUESDAY, 7))
    assert "stg_sales" in shop.heal()
    assert shop.engine.ledger.reconciliations.newest(limit=9) == []
    assert [r["euros"] for r in shop.rows("stg_sales", [TUESDAY])] == [7]
