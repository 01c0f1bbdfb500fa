"""A table that cannot be looked at keeps no other from being repaired.

The incident: somebody drops a file where a table's folder belongs, and from then on every tick fails: nothing at all is
repaired any more, and nobody is told which table it is.
"""

import shutil
from pathlib import Path

from sh_core.watch import Watch
from sh_resources.book import LedgerBook
from sh_resources.clock import ManualClock
from tests.little import DAYS, GRAPH, NOON, deliver, engine_at

ONE = DAYS.keys()[0]


def test_the_others_go_on(tmp_path: Path) -> None:
    deliver(tmp_path, ONE, [("a", 0, 20.5)])
    clock = ManualClock(NOON)
    engine = engine_at(tmp_path, clock)
    for name in ("raw_readings", "stg_readings"):
        list(engine.materialize(name, [ONE], run_id=name))
    log = tmp_path / "tables" / "stg_readings" / "_delta_log"
    kept = tmp_path / "kept"
    shutil.move(log, kept)
    log.mkdir()
    (log / f"{0:020d}.json").write_text("no log\n")
    deliver(tmp_path, DAYS.keys()[1], [("a", 0, 20.5)])
    engine.take_in(clock.now_utc())
    watch = Watch(GRAPH, LedgerBook(engine, clock))
    due = watch.tick(clock.now_utc(), {}, "test").due
    assert {name: list(found) for name, found in due.items()} == {"raw_readings": [DAYS.keys()[1]]}
    shutil.rmtree(log)
    shutil.move(kept, log)
    assert "mart_sensor_means" in watch.tick(clock.now_utc(), {}, "test", sweep=True).due
