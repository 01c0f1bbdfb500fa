"""A table that cannot be looked at keeps no other from being repaired.

The incident: somebody drops a file where a table's folder belongs, and from then on every tick fails: nothing at all is
repaired any more, and nobody is told which table it is.
"""

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sh_core.errors import FeedError, LedgerError
from sh_core.policy import Hold, Policy
from sh_core.staleness import Astray
from sh_core.watch import Watch
from sh_resources.book import LedgerBook
from sh_resources.clock import ManualClock
from sh_resources.landing import LocalFolder
from sh_resources.landing.port import UnreadableError
from tests import reading
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


def test_what_somebody_else_did_to_a_table_is_found_by_a_sweep(tmp_path: Path) -> None:
    """A table that was deleted, or restored from a backup: the ledger alone would call it up to date for ever."""
    deliver(tmp_path, ONE, [("a", 0, 20.5)])
    clock = ManualClock(NOON)
    engine = engine_at(tmp_path, clock)
    for name in ("raw_readings", "stg_readings", "mart_sensor_means"):
        list(engine.materialize(name, [ONE], run_id=name))
    watch = Watch(GRAPH, LedgerBook(engine, clock))
    assert watch.tick(clock.now_utc(), {}, "test").due == {}
    shutil.rmtree(tmp_path / "tables" / "stg_readings")
    found = watch.tick(clock.now_utc(), {}, "test", sweep=True)
    assert {name: {key: s.reasons for key, s in keys.items()} for name, keys in found.due.items()} == {
        "stg_readings": {ONE: (Astray(),)}
    }
    list(engine.materialize("stg_readings", [ONE], run_id="again"))
    assert watch.tick(clock.now_utc(), {}, "test", sweep=True).due == {}


def test_what_somebody_else_did_to_a_paused_table_is_still_known_when_it_is_resumed(tmp_path: Path) -> None:
    """The incident: files are deleted during a migration; all sweeps but the first take the table for up to date."""
    deliver(tmp_path, ONE, [("a", 0, 20.5)])
    clock = ManualClock(NOON)
    engine = engine_at(tmp_path, clock)
    for name in ("raw_readings", "stg_readings", "mart_sensor_means"):
        list(engine.materialize(name, [ONE], run_id=name))
    watch = Watch(GRAPH, LedgerBook(engine, clock), Policy(compared=1))
    for _ in GRAPH.tables:
        assert watch.tick(clock.now_utc(), {}, "test", sweep=True).due == {}
    shutil.rmtree(tmp_path / "tables" / "stg_readings")
    engine.ledger.requests.pause("stg_readings", downstream=False, by="me", reason="", now_utc=clock.now_utc())
    for _ in range(3 * len(GRAPH.tables)):
        decision = watch.tick(clock.now_utc(), {}, "test", sweep=True)
        assert decision.due == {}
    assert decision.held["stg_readings"][ONE].hold is Hold.PAUSED
    engine.ledger.requests.resume("stg_readings")
    assert list(watch.tick(clock.now_utc(), {}, "test").due) == ["stg_readings"]


def test_a_feed_that_cannot_be_listed_keeps_no_other_from_being_taken_in(tmp_path: Path) -> None:
    """The incident: somebody leaves a file where a vendor's folder belongs, and nothing of any vendor is seen again."""
    engine = reading.engine_at(tmp_path, ManualClock(reading.NOON))
    names = [feed.name for feed in engine.graph.feeds]
    reading.deliver_all(tmp_path)
    for broken in names:
        folder = tmp_path / "landing" / broken
        folder.rename(tmp_path / "kept")
        folder.write_text("no folder\n")
        fresh = reading.engine_at(tmp_path, ManualClock(reading.NOON))
        with pytest.raises(FeedError, match=broken):
            fresh.take_in(reading.NOON)
        assert {feed for feed in names if any(True for _ in fresh.ledger.serials.arrivals(feed))} >= {*names} - {broken}
        folder.unlink()
        (tmp_path / "kept").rename(folder)
        assert list(fresh.take_in(reading.NOON)) == [broken]
        assert fresh.take_in(reading.NOON) == {}
        shutil.rmtree(tmp_path / "archive")
        (tmp_path / "ledger.sqlite").unlink()


def test_a_file_that_could_not_be_read_is_tried_again_although_nothing_about_it_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The incident: a share on the network fails for a second, and the file is passed over until somebody restarts."""
    deliver(tmp_path, ONE, [("a", 0, 20.5)])
    engine = engine_at(tmp_path, ManualClock(NOON))
    failing, opened = [True], LocalFolder._opened

    def flaky(folder: LocalFolder, path: Path) -> Any:  # noqa: ANN401
        if failing:
            raise UnreadableError("Input/output error")
        return opened(folder, path)

    monkeypatch.setattr(LocalFolder, "_opened", flaky)
    assert engine.take_in(NOON) == {}
    failing.clear()
    assert engine.take_in(NOON) == {"readings": 1}
    assert engine.take_in(NOON) == {}


@pytest.mark.parametrize("how", ["gone", "damaged"])
def test_one_file_that_cannot_be_read_holds_up_only_who_reads_it(tmp_path: Path, how: str) -> None:
    """The incident: a disk loses one file of a table by which others look rows up, and every tick fails for ever."""
    reading.deliver_all(tmp_path)
    clock = ManualClock(reading.NOON)
    engine = reading.engine_at(tmp_path, clock)
    reading.run_all(engine)
    rides = engine.store.table(engine.graph["stg_rides"])
    day, other = reading.D[0], reading.D[3]
    lost = rides.folder / rides.files([day])[day].path
    lost.unlink()
    if how == "damaged":
        lost.write_bytes(b"no Parquet")
    reading.deliver(tmp_path, reading.BIKES, [("b1", "blue", 2), ("b2", "blue", 2)])
    reading.deliver(tmp_path, reading.WEATHER, [("Bern", 7)], other)
    for name in ("raw_bikes", "stg_bikes"):
        reading.run(engine, name)
    engine.take_in(clock.now_utc())
    for least in (1, 64):
        book = LedgerBook(engine, clock)
        book.registers.least = least
        due = Watch(engine.graph, book).tick(clock.now_utc(), {}, f"test {least}", sweep=True)
        assert list(due.stale["raw_weather"]) == [other]
        assert day not in due.stale["ride_details"]
        assert reading.D[1] in due.stale["ride_details"]
        (said,) = book.look("ride_details", [day]).waiting[day]
        assert "stg_rides" in said


def test_what_was_left_for_later_is_looked_at_although_the_ledger_failed_in_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The incident: the database is restarted while a tick looks; what that tick took up waits for the next sweep."""
    clock = ManualClock(NOON)
    engine = engine_at(tmp_path, clock)
    for day in DAYS.keys()[:4]:
        deliver(tmp_path, day, [("a", 0, 20.5)])
    engine.take_in(clock.now_utc())
    watch = Watch(GRAPH, LedgerBook(engine, clock), Policy(most_looks=2))
    assert len(watch.tick(clock.now_utc(), {}, "test").due["raw_readings"]) == 2

    def lost(*_: object) -> None:
        raise LedgerError("the database is restarted")

    with monkeypatch.context() as patched:
        patched.setattr(watch.book, "look", lost)
        with pytest.raises(LedgerError):
            watch.tick(clock.now_utc(), {}, "test")
    assert len(watch.tick(clock.now_utc(), {}, "test").due["raw_readings"]) == 2


def test_a_clock_that_is_set_back_puts_off_no_sweep(tmp_path: Path) -> None:
    clock = ManualClock(NOON)
    watch = Watch(GRAPH, LedgerBook(engine_at(tmp_path, clock), clock))
    assert watch.tick(NOON, {}, "test").swept
    assert not watch.tick(NOON, {}, "test").swept
    assert watch.tick(NOON - timedelta(hours=6), {}, "test").swept
