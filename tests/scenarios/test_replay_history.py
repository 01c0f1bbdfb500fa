"""``selfheal replay-history``: a vendor's commits, one after the other, through Dagster."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from sh_core.outcome import Reused
from sh_core.records import Action
from sh_core.verdict import Held
from sh_defs import replaying
from sh_defs.cli import app
from sh_drills.history import Publication
from sh_resources.clock import ReplayCalendar, SystemClock
from sh_resources.settings import load
from tests.published import ONE, TWO, Repository

pytestmark = pytest.mark.slow

HEADER = "shop,sum\n"
Told = list[dict[str, Any]]


@pytest.fixture
def vendor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """Two days, a restatement of the first, one that breaks a rule, its correction, and a deletion."""
    monkeypatch.setenv("SELFHEAL_TABLES", "tests.published")
    made = Repository.make(tmp_path / "vendor")
    made.commit("first", {ONE: f"{HEADER}north,1\nsouth,2\n", "README.md": "sales"})
    made.commit("second, first restated", {TWO: f"{HEADER}north,3\n", ONE: f"{HEADER}north,5\nsouth,2\n"})
    made.commit("same sales in another order", {ONE: f"{HEADER}south,2\nnorth,5\n"})
    made.commit("a slip", {TWO: f"{HEADER}north,-3\n"})
    made.commit("corrected", {TWO: f"{HEADER}north,4\n"})
    made.commit("gone", {ONE: None})
    return made


def replay(vendor: Repository, home: Path, *more: str) -> Told:
    done = CliRunner().invoke(app, ["replay-history", str(vendor.folder), "--home", str(home), "--json", *more])
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def days(home: Path) -> dict[date, int]:
    return dict(pl.read_delta(str(home / "tables" / "mart_days")).select("date", "sum").rows())


def test_each_publication_runs_just_what_it_changed(vendor: Repository, tmp_path: Path) -> None:
    told = replay(vendor, tmp_path / "home")
    assert [line["message"] for line in told] == [
        *("first", "second, first restated", "same sales in another order", "a slip", "corrected", "gone")
    ]
    assert [line["tables"] for line in told] == [
        {name: {"executed": 1, "published": 1} for name in ("raw_sales", "stg_sales", "mart_days")},
        {name: {"executed": 2, "published": 2} for name in ("raw_sales", "stg_sales", "mart_days")},
        {"raw_sales": {"executed": 1, "unchanged": 1}},
        {"raw_sales": {"executed": 1, "published": 1}, "stg_sales": {"executed": 1, "withheld": 1}},
        {name: {"executed": 1, "published": 1} for name in ("raw_sales", "stg_sales", "mart_days")},
        {},
    ]
    assert [line["files"]["new"] for line in told] == [[f"sales/{ONE}"], [f"sales/{TWO}"], [], [], [], []]
    assert told[-1]["files"]["deleted"] == [f"sales/{ONE}"]
    assert days(tmp_path / "home") == {date(2026, 3, 1): 7, date(2026, 3, 2): 4}


def test_for_vendors_it_is_the_time_of_the_commit(vendor: Repository, tmp_path: Path) -> None:
    """By the clock of the present, everything that was not replayed yet would be late."""
    replay(vendor, tmp_path / "home", "--revision", vendor.ids[1])
    calendar = ReplayCalendar(load({"SELFHEAL_HOME": str(tmp_path / "home")}).calendar)
    assert calendar.at(SystemClock().now_utc()) == datetime(2026, 3, 10, 2, tzinfo=UTC)


def test_a_replay_goes_on_where_it_was_and_replays_nothing_twice(vendor: Repository, tmp_path: Path) -> None:
    """From the start again, the first day would be restated to what it was before it was restated."""
    home = tmp_path / "home"
    assert len(replay(vendor, home, "--revision", vendor.ids[2])) == 3
    assert [line["message"] for line in replay(vendor, home)] == ["a slip", "corrected", "gone"]
    before = days(home)
    assert replay(vendor, home) == []
    assert days(home) == before == {date(2026, 3, 1): 7, date(2026, 3, 2): 4}
    vendor.commit("third", {"sales_2026-03-03.csv": f"{HEADER}north,9\n"})
    assert [line["message"] for line in replay(vendor, home)] == ["third"]


def test_a_replay_that_was_interrupted_after_landing_takes_that_publication_in(
    vendor: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files landed and nobody looked: the next publication would replace one of them unseen."""
    home = tmp_path / "home"
    bring = replaying.Update.bring_up_to_date
    calls = iter(range(9))

    def interrupted(update: replaying.Update, first: date | None, last: date | None) -> None:
        if next(calls) == 1:
            raise KeyboardInterrupt
        bring(update, first, last)

    monkeypatch.setattr(replaying.Update, "bring_up_to_date", interrupted)
    done = CliRunner().invoke(app, ["replay-history", str(vendor.folder), "--home", str(home)])
    assert done.exit_code == 130, done.output
    again, *others = replay(vendor, home)
    assert (again["message"], len(others)) == ("second, first restated", 4)
    assert again["files"]["unchanged"] == [f"sales/{ONE}", f"sales/{TWO}"]
    assert again["tables"]["raw_sales"] == {"executed": 2, "published": 2}
    assert days(home) == {date(2026, 3, 1): 7, date(2026, 3, 2): 4}


def test_what_stays_withheld_without_being_computed_counts_as_reused(vendor: Repository) -> None:
    """Otherwise a replay would claim work that nobody did."""
    publication = Publication("c0ffee", datetime(2026, 3, 10, tzinfo=UTC), "a slip", ())
    kept = Reused("2026-03-02", Action.WITHHOLD, Held(), None)
    counted = replaying.counted(publication, publication.land(vendor.folder), {"stg_sales": [kept]}, 0.0)
    assert (counted.executed, counted.outcomes) == ({"stg_sales": 0}, {"stg_sales": {"reused": 1}})


def test_at_a_terminal_each_publication_is_a_block(vendor: Repository, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app, ["replay-history", str(vendor.folder), "--home", str(tmp_path / "home"), "--until", "2026-03-10"]
    )
    assert done.exit_code == 0, done.output
    said = done.stdout
    assert f"2026-03-10 04:00 UTC  {vendor.ids[3][:10]}  a slip  (" in said
    assert f"  1 replaced: sales/{TWO}\n" in said
    assert "  stg_sales                 1 executed: 1 withheld\n" in said
    assert "6 publications replayed; partitions executed: 6 of raw_sales, 5 of stg_sales, 4 of mart_days" in said
    assert "For vendors it is 2026-03-10 06:00 UTC in this state folder now; delete " in said
    assert "No incident is open." in said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--feed", "loans"], "tests.published has no feed 'loans'; it has sales"),
        (["--feed", "sales=other/*"], "no commit of HEAD in"),
        (["--revision", "v9"], "bad revision 'v9'"),
        (["--until", "2020-01-01"], "no commit of HEAD in"),
    ],
)
def test_what_cannot_be_replayed_is_said_in_words(
    vendor: Repository, tmp_path: Path, arguments: list[str], says: str
) -> None:
    home = tmp_path / "home"
    done = CliRunner().invoke(app, ["replay-history", str(vendor.folder), "--home", str(home), *arguments])
    assert done.exit_code == 1, done.output
    assert says in " ".join(done.stderr.split())
