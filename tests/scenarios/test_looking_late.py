"""Looking at what is late: the command, a table's and a partition's page, the report.

The incidents: a dashboard shows yesterday's numbers, and only who made it knows; a person is told that a thousand
partitions wait, and not for which file; a report says that nothing is wrong while a vendor is silent.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sh_defs.cli import app
from sh_defs.facts.inspecting import partition
from sh_defs.facts.lateness import LISTED, late
from sh_defs.facts.report import Report, gather
from sh_defs.facts.standings import Visible
from sh_defs.shown.json_form import as_json
from sh_defs.shown.page import headline, page
from sh_resources.clock import SystemClock
from sh_resources.overdue import Watchman
from tests.late import GRAPH, MONDAY, SALES, TUESDAY, VISITS, WEDNESDAY, Shop, at, sales, visits, with_monday


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """Wednesday, seven in Berlin: the sales of Tuesday are late, a placeholder stands in."""
    shop = with_monday(tmp_path)
    shop.land(VISITS, TUESDAY, visits(5))
    shop.until(at(WEDNESDAY, 6))
    shop.heal()
    return shop


def run(shop: Shop, *arguments: str) -> str:
    """The command as people give it, at the time that the shop has."""
    environment = {"SELFHEAL_TABLES": "tests.late", "COLUMNS": "160"}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(SystemClock, "now_utc", lambda _: shop.clock.now_utc())
        done = CliRunner().invoke(app, [*arguments, "--home", str(shop.home)], env=environment)
    assert done.exit_code == 0, done.output
    return done.output


def facts_of(shop: Shop) -> Mapping[str, Any]:
    return late(shop.engine, shop.clock.now_utc())


def test_what_is_late_is_told_with_all_that_it_holds_up(shop: Shop) -> None:
    Watchman(shop.engine).keep(shop.clock.now_utc())
    facts = facts_of(shop)
    (feed,) = facts["feeds"]
    assert (feed["feed"], feed["files"], feed["owner"]) == ("sales", 1, "team:test")
    (file,) = feed["missing"]
    (incident,) = shop.engine.ledger.incidents.open()
    assert file == {
        "partition": TUESDAY,
        "file": f"sales_{TUESDAY}.csv",
        "due_utc": at(WEDNESDAY, 5).isoformat(),
        "late_utc": at(WEDNESDAY, 5, 30).isoformat(),
        "late_by_s": 3600.0,
        "incident": incident.id,
    }
    held = {of["table"]: of["spans"] for of in feed["holds_up"]}
    assert held["mart_rate"] == [[TUESDAY, TUESDAY]]
    assert held["mart_trend"] == [[TUESDAY, WEDNESDAY]]
    stands_in = {of["table"]: [own["marks"] for own in of["own"]] for of in facts["placeholders"]}
    assert stands_in == {
        "stg_sales": [[f"stg_sales[{TUESDAY}] from {MONDAY}"]],
        "mart_sales": [],
        "mart_trend": [],
        "mart_rate": [],
    }
    assert [(n["what"], n["partition"], n["late_utc"]) for n in facts["next"]] == [
        ("sales", WEDNESDAY, at("2024-03-28", 5, 30).isoformat()),
        ("visits", WEDNESDAY, at("2024-03-28", 6).isoformat()),
    ]


def test_looking_writes_nothing(shop: Shop) -> None:
    facts_of(shop)
    assert shop.engine.ledger.incidents.open() == []


def test_who_is_silent_for_long_takes_a_screen_and_not_a_thousand_lines(shop: Shop) -> None:
    shop.until(at("2026-01-01", 12))
    facts = facts_of(shop)
    assert [(f["feed"], f["files"], len(f["missing"]), f["more"]) for f in facts["feeds"]] == [
        ("sales", 646, LISTED, 646 - LISTED),
        ("visits", 645, LISTED, 645 - LISTED),
    ]
    assert facts["feeds"][0]["spans"] == [[TUESDAY, "2025-12-31"]]
    assert len(json.dumps(facts)) < 20_000


def test_a_partition_says_when_it_was_due_and_what_stands_in(shop: Shop) -> None:
    Watchman(shop.engine).keep(shop.clock.now_utc())
    (incident,) = shop.engine.ledger.incidents.open()
    facts = partition(shop.engine, GRAPH["mart_rate"], TUESDAY, shop.clock)
    assert facts["readers_see"] == "placeholder"
    assert facts["placeholder"] == [f"stg_sales[{TUESDAY}] from {MONDAY}"]
    owed = facts["deadline"]
    assert (owed["is_late"], owed["late_utc"], owed["file"], owed["incident"]) == (
        True,
        at(WEDNESDAY, 6).isoformat(),
        f"sales_{TUESDAY}.csv",
        incident.id,
    )
    waiting = partition(shop.engine, GRAPH["feat_trend"], TUESDAY, shop.clock)
    assert (waiting["readers_see"], waiting["deadline"]["is_late"]) == ("nothing", True)
    assert waiting["placeholder"] == []
    there = partition(shop.engine, GRAPH["mart_rate"], MONDAY, shop.clock)
    assert (there["readers_see"], there["deadline"]["is_late"]) == ("newest", False)
    coming = partition(shop.engine, GRAPH["mart_rate"], WEDNESDAY, shop.clock)
    assert (coming["deadline"]["is_late"], coming["deadline"]["there_utc"]) == (False, None)


def test_the_commands_say_it_in_words(shop: Shop) -> None:
    Watchman(shop.engine).keep(shop.clock.now_utc())
    said = run(shop, "late")
    assert "sales: " in said
    assert f"sales_{TUESDAY}.csv" in said
    assert "due 2024-03-27 05:00 UTC, 1 h ago, incident 1" in said
    assert "placeholders stand in" in said
    said = run(shop, "late", "--json")
    assert json.loads(said)["feeds"][0]["feed"] == "sales"
    said = run(shop, "show", f"mart_rate:{TUESDAY}")
    assert "a placeholder, or what rests on one" in said
    assert f"late since 2024-03-27 06:00 UTC; expected: sales_{TUESDAY}.csv; incident 1" in said
    shop.until(at(WEDNESDAY, 6, 30))
    shop.land(SALES, TUESDAY, sales(TUESDAY, 1))
    shop.heal()
    assert run(shop, "late").startswith("Nothing is late at 2024-03-27 06:30 UTC.")


def gathered(shop: Shop) -> Report:
    now = shop.clock.now_utc()
    return gather(GRAPH, shop.engine.store, shop.engine.ledger, now_utc=now, late=late(shop.engine, now))


def test_the_report_says_what_is_late_and_what_rests_on_placeholders(shop: Shop) -> None:
    Watchman(shop.engine).keep(shop.clock.now_utc())
    report = gathered(shop)
    assert headline(report).title == "1 file late; 4 partitions rest on placeholders"
    data = as_json(report)
    assert {t["table"]: t["placeholders"] for t in data["tables"] if t["placeholders"]} == {
        name: [TUESDAY] for name in ("stg_sales", "mart_sales", "mart_trend", "mart_rate")
    }
    assert data["late"]["feeds"][0]["missing"][0]["file"] == f"sales_{TUESDAY}.csv"
    (incident,) = data["incidents"]
    assert (incident["about"], incident["cause"]) == ("file", "late:sales")
    assert incident["says"][0] == f"sales_{TUESDAY}.csv was due 2024-03-27 05:00 UTC"
    assert "stg_sales" in incident["says"][1]
    (mart,) = (t for t in report.tables if t.table == "mart_sales")
    assert mart.visible[TUESDAY] is Visible.STANDS_IN
    html = page(report)
    assert f"sales_{TUESDAY}.csv, due 2024-03-27 05:00 UTC" in html
    assert f"mart_sales {TUESDAY}: placeholder" in html  # in the strip, in words
    assert "Resting on placeholders" in html
    assert "1 placeholder<" in html


def test_the_report_says_how_far_off_it_was_when_the_truth_has_landed(shop: Shop) -> None:
    shop.land(SALES, TUESDAY, sales(TUESDAY, 10, 25, 7))
    shop.heal()
    report = gathered(shop)
    assert report.late["feeds"] == []
    (found,) = as_json(report)["reconciliations"]
    said = (
        f"stg_sales[{TUESDAY}] from {MONDAY}: 2 rows stood in, 3 true; 0 only in the placeholder, 1 only in the truth; "
        "1 differ in euros (1); sum of euros 30 became 42"
    )
    assert found["says"] == said
    assert said in page(report)
    facts = partition(shop.engine, GRAPH["stg_sales"], TUESDAY, shop.clock)
    assert [r["says"] for r in facts["reconciled"]] == [said]
    assert facts["readers_see"] == "newest"


def test_where_nothing_is_late_the_report_is_as_it_was(tmp_path: Path) -> None:
    shop = Shop.at(tmp_path, at(TUESDAY, 4))
    shop.land(SALES, MONDAY, sales(MONDAY, 10))
    shop.land(VISITS, MONDAY, visits(3))
    shop.heal()
    html = page(gathered(shop))
    assert "Late files" not in html
    assert "Resting on placeholders" not in html
