"""Whether what readers see of a partition is current: `selfheal show` says it, with real files.

The incident: a file landed an hour ago and nobody took it in, or automation is paused; show calls what readers see the
newest content, in green.
"""

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sh_defs.facts.inspecting import partition
from sh_defs.shown import terminal_tables
from sh_resources.clock import SystemClock
from sh_resources.engine import Engine
from tests.reading import BIKES, GOOD_BIKES, GOOD_RIDES, GRAPH, RIDES, D, deliver, engine_at, nine_of_ten_days, run

CLOCK = SystemClock()
WEEK = "2030-01-28"
Facts = dict[str, Any]
LONGER = [(*row[:5], 99) if row[0] == 1 else row for row in GOOD_RIDES]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with nine_of_ten_days(tmp_path, CLOCK) as engine:
        yield engine


def show(engine: Engine, table: str, key: str) -> tuple[Facts, list[str]]:
    """What programs and people are told."""
    facts, out = partition(engine, GRAPH[table], key, CLOCK), io.StringIO()
    terminal_tables.partition(Console(file=out, width=400), facts)
    return facts, [" ".join(line.split()) for line in out.getvalue().splitlines()]


def test_what_is_current_is_called_the_newest_and_nothing_is_added(engine: Engine) -> None:
    for table in GRAPH.tables:
        key = ([k for k in table.partitions.declared(CLOCK.now_utc()) if k == D[2]] or table.partitions.keys())[0]
        facts, lines = show(engine, table.name, key)
        assert facts["readers_see"] == "newest", table.name
        assert facts["currency"] == {"stale": [], "landed": None, "first": [], "waiting": [], "paused": []}
        assert lines[1] == "readers see its newest content"


def test_a_file_that_landed_and_was_not_taken_in_is_told_and_not_taken_in(engine: Engine) -> None:
    deliver(engine.store.root, RIDES, LONGER, D[2])
    before = engine.ledger.arrivals.current("rides", [D[2]])
    facts, lines = show(engine, "raw_rides", D[2])
    assert (facts["readers_see"], facts["currency"]["landed"]) == ("stale", f"rides_{D[2]}.csv")
    said = f"stale: rides_{D[2]}.csv has landed and was not taken in yet (selfheal plan raw_rides:{D[2]})"
    assert lines[1] == f"readers see {said}"
    assert engine.ledger.arrivals.current("rides", [D[2]]) == before
    assert show(engine, "raw_rides", D[3])[0]["readers_see"] == "newest"


def test_whatever_is_computed_from_it_may_change_however_far_away(engine: Engine) -> None:
    deliver(engine.store.root, RIDES, LONGER, D[2])
    for table, key in (("stg_rides", D[2]), ("ride_details", D[2]), ("week_totals", WEEK)):
        facts, lines = show(engine, table, key)
        assert facts["readers_see"] == "may change"
        assert facts["currency"]["first"] == [{"table": "raw_rides", "partitions": [D[2]]}]
        said = f"may change: raw_rides {D[2]} to be computed first (selfheal plan {table}:{key})"
        assert lines[1] == f"readers see {said}"
    assert show(engine, "stg_rides", D[3])[0]["readers_see"] == "newest"
    deliver(engine.store.root, RIDES, LONGER, D[3])
    assert "may change: 2 partitions of raw_rides to be computed first" in show(engine, "week_totals", WEEK)[1][1]


def test_why_it_is_stale_is_told_as_automation_tells_it(engine: Engine) -> None:
    deliver(engine.store.root, RIDES, LONGER, D[2])
    run(engine, "raw_rides")
    facts, lines = show(engine, "stg_rides", D[2])
    assert (facts["readers_see"], facts["currency"]["stale"]) == ("stale", ["raw_rides changed"])
    assert lines[1] == f"readers see stale: raw_rides changed (selfheal plan stg_rides:{D[2]})"
    run(engine, "stg_rides")
    facts, _ = show(engine, "stg_rides", D[2])
    assert facts["readers_see"] == "newest"


def test_what_is_paused_is_said_to_be_paused_by_whom_and_why(engine: Engine) -> None:
    engine.ledger.requests.pause("stg_rides", downstream=True, by="me", reason="moving", now_utc=CLOCK.now_utc())
    deliver(engine.store.root, RIDES, LONGER, D[2])
    run(engine, "raw_rides")
    facts, lines = show(engine, "ride_details", D[2])
    (pause,) = facts["currency"]["paused"]
    assert (pause["table"], pause["by"], pause["reason"]) == ("stg_rides", "me", "moving")
    assert facts["currency"]["first"] == [{"table": "stg_rides", "partitions": [D[2]]}]
    assert lines[2].startswith("paused stg_rides, by me since ")
    assert not show(engine, "raw_rides", D[2])[0]["currency"]["paused"]


def test_what_is_withheld_and_has_been_delivered_again_is_both(engine: Engine) -> None:
    deliver(engine.store.root, BIKES, [*GOOD_BIKES, (*GOOD_BIKES[0][:1], "other", 3)])
    run(engine, "raw_bikes")
    run(engine, "stg_bikes")
    facts, _ = show(engine, "stg_bikes", "all")
    assert (facts["readers_see"], facts["currency"]["first"]) == ("last good", [])
    deliver(engine.store.root, BIKES, GOOD_BIKES)
    facts, lines = show(engine, "stg_bikes", "all")
    assert facts["readers_see"] == "last good"
    assert lines[2] == "not current may change: raw_bikes all to be computed first (selfheal plan stg_bikes:all)"


def test_somebody_elses_file_and_a_lost_landing_zone_are_told_and_no_error(engine: Engine) -> None:
    shutil.rmtree(engine.store.root / "landing")
    (engine.store.root / "landing").write_text("not a folder")
    for table in ("raw_rides", "stg_rides"):
        facts, lines = show(engine, table, D[2])
        assert facts["readers_see"] == "unknown"
        (said, *_) = facts["currency"]["waiting"]
        assert "landing" in said
        assert lines[1] == "readers see content of which nobody can say now whether it is the newest"


def test_what_is_computed_from_something_unreadable_is_not_called_the_newest(engine: Engine) -> None:
    """A log that cannot be read tells nothing, and so nothing was told of it."""
    log = engine.store.table(GRAPH["stg_rides"]).folder / "_delta_log"
    for file in log.iterdir():
        file.write_text("no log")
    fresh = engine_at(engine.store.root, CLOCK)  # one that has not read it before
    facts, _ = show(fresh, "week_totals", WEEK)
    assert facts["readers_see"] == "unknown"
    fresh.ledger.close()


def test_what_never_came_is_waited_for(engine: Engine) -> None:
    facts, lines = show(engine, "raw_rides", D[9])
    assert facts["waits_for"] == [f"file rides_{D[9]}.csv of feed rides"]
    assert "it waits for file rides_" in lines[1]
    deliver(engine.store.root, RIDES, GOOD_RIDES, D[9])
    facts, lines = show(engine, "raw_rides", D[9])
    assert (facts["readers_see"], facts["waits_for"]) == ("nothing", [])
    assert lines[1].endswith("it was never computed; run selfheal run to compute it")
