"""What becomes of files that land, on both kinds of landing zone: told as incidents.

Belongs here: from a file to the arrivals ledger, tick by tick. Does not belong here: what a landing zone promises
(``test_landing_zones``), what an arrival makes due (``scenarios``).
"""

import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from sh_core.errors import FeedError
from sh_core.feed import Feed
from sh_core.graph import Graph
from sh_core.partitions import Daily
from sh_core.table import raw_table
from sh_resources import intake
from sh_resources.clock import ManualClock
from sh_resources.engine import Engine
from sh_resources.landing import LandingZone, LocalFolder
from sh_resources.landing.local import LocalFile
from sh_resources.landing.s3 import S3Object
from sh_resources.settings import load
from sh_resources.wiring import open_engine
from tests.zones import Zone

NOW = datetime(2013, 6, 30, 12, tzinfo=UTC)
DAYS = Daily(date(2013, 1, 1))
FLIGHTS, WEATHER = (
    Feed(name, f"{name}_{{partition}}.csv", ("a", "b"), DAYS, owner="team:test") for name in ("flights", "weather")
)
SALES = Feed("sales", "sales_{partition}_v{version}.csv", ("a", "b"), DAYS, owner="team:test")
GRAPH = Graph.of([raw_table(FLIGHTS), raw_table(WEATHER), raw_table(SALES)])
OLD, YESTERDAY, TODAY = "2013-01-05", "2013-06-29", "2013-06-30"
A, B = b"a,b\n1,2\n", b"a,b\n3,4\n"


@dataclass
class Bed:
    """An engine on a landing zone; ``again`` is the same after a restart."""

    zone: Zone
    home: Path
    clock: ManualClock = field(default_factory=lambda: ManualClock(NOW))
    read: list[str] = field(default_factory=list)

    def engine(self) -> Engine:
        settings = load({"SELFHEAL_HOME": str(self.home), "SELFHEAL_LANDING": self.zone.named})
        return open_engine(settings, GRAPH, clock=self.clock)

    def put(self, key: str, content: bytes = A, feed: Feed = FLIGHTS) -> str:
        name = feed.expected_file(key)
        self.zone.vendors.put(feed.name, name, content)
        settle()
        return name

    def history(self, engine: Engine, key: str) -> list[bytes]:
        """Contents that arrived for a partition, in order."""
        contents = {hashlib.sha256(c).hexdigest(): c for c in (A, B)}
        return [contents[a.sha256] for a in engine.ledger.arrivals.all("flights") if a.partition == key]


def settle() -> None:
    """Let what was written be older than a tick of the disk's clock: before that it is read twice."""
    threading.Event().wait(0.06)


def tick(engine: Engine, now: datetime = NOW) -> dict[str, int]:
    return engine.take_in(now, everything=False)


@pytest.fixture
def bed(zone: Zone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bed:
    made = Bed(zone, tmp_path / "home")
    for kind in (LocalFile, S3Object):
        pieces = kind.pieces

        def counted(source: LocalFile | S3Object, pieces: Callable[..., Iterator[bytes]] = pieces) -> Iterator[bytes]:
            made.read.append("one")
            return pieces(source)

        monkeypatch.setattr(kind, "pieces", counted)
    return made


# --------------------------------------------------------------------------------------------- what is read, once


def test_what_is_known_is_never_read_again(bed: Bed) -> None:
    """Not by ticks, sweeps, looks, plans and runs, and not after a restart."""
    for key in (OLD, YESTERDAY, TODAY):
        bed.put(key)
    engine = bed.engine()
    assert engine.take_in(NOW) == {"flights": 3}
    assert len(bed.read) == 3
    for _ in range(2):
        assert (tick(engine), engine.take_in(NOW), engine.landed(NOW)) == ({}, {}, {})
        engine.look("raw_flights", [OLD, TODAY])
        list(engine.materialize("raw_flights", [OLD], run_id="r"))
        engine.take_in_files("flights", [FLIGHTS.expected_file(OLD)])
        engine = bed.engine()
    assert len(bed.read) == 3


def test_a_ledger_that_forgot_its_files_reads_them_once_more_and_records_nothing(bed: Bed) -> None:
    bed.put(TODAY)
    engine = bed.engine()
    engine.take_in(NOW)
    with engine.ledger._database.write() as connection:
        connection.exec_driver_sql("DELETE FROM ledger_files")
    engine.take_in(NOW)
    assert len(bed.read) == 2
    assert bed.history(engine, TODAY) == [A]


def test_what_landed_is_told_before_it_is_taken_in(bed: Bed) -> None:
    engine = bed.engine()
    bed.put(TODAY)
    bed.put(OLD)
    engine.take_in(NOW)
    bed.put(OLD, B)
    bed.put(TODAY)  # once more, the same
    bed.put(YESTERDAY)
    names = {OLD: FLIGHTS.expected_file(OLD), YESTERDAY: FLIGHTS.expected_file(YESTERDAY)}
    assert engine.landed(NOW) == {"raw_flights": names}
    assert engine.landed(NOW, {"raw_flights": [OLD, TODAY]}) == {"raw_flights": {OLD: names[OLD]}}
    assert len(engine.ledger.arrivals.all()) == 2


# ------------------------------------------------------------------------------------------------ windows and sweep


def test_a_file_of_an_open_window_is_taken_in_by_the_next_tick_and_an_old_one_by_the_sweep(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever else there is: within files / slice ticks everything has been looked at."""
    monkeypatch.setattr(intake, "SLICE", 10)
    monkeypatch.setattr(intake, "PAGE", 5)
    keys = [(date(2013, 1, 1) + timedelta(days=n)).isoformat() for n in range(60)]
    for key in keys:
        bed.zone.vendors.put("flights", FLIGHTS.expected_file(key), A)
    settle()
    engine = bed.engine()
    engine.take_in(NOW)
    tick(engine)
    bed.put(TODAY)
    bed.put(keys[3], B)
    assert tick(engine)["flights"] >= 1
    assert bed.history(engine, TODAY) == [A]
    most = (61 + 61) // 10 + 3
    ticks = 0
    while bed.history(engine, keys[3]) == [A]:
        tick(engine)
        ticks += 1
        assert ticks <= most
    assert bed.history(engine, keys[3]) == [A, B]
    assert len(bed.read) == 62


def test_a_restart_between_ticks_loses_nothing(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the sweep was is forgotten; what it found is not."""
    monkeypatch.setattr(intake, "SLICE", 4)
    monkeypatch.setattr(intake, "PAGE", 2)
    keys = [(date(2013, 1, 1) + timedelta(days=n)).isoformat() for n in range(12)]
    for key in keys:
        bed.zone.vendors.put("flights", FLIGHTS.expected_file(key), A)
    settle()
    engine = bed.engine()
    tick(engine)
    first = len(engine.ledger.arrivals.all())
    assert 0 < first < 12
    engine = bed.engine()
    for _ in range(20):
        tick(engine)
    assert sorted(a.partition for a in engine.ledger.arrivals.all()) == keys
    assert len(bed.read) == 12


def test_a_tick_that_runs_out_of_time_goes_on_with_the_next(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    """The incident: ten thousand files at once, and Dagster ends every tick before it has noted anything."""
    monkeypatch.setattr(intake, "BATCH", 2)
    monkeypatch.setattr(intake, "TICK_S", 0.0)
    for n in range(1, 8):
        bed.zone.vendors.put("flights", FLIGHTS.expected_file(f"2013-01-0{n}"), A)
    settle()
    engine = bed.engine()
    assert tick(engine) == {}
    monkeypatch.setattr(intake, "TICK_S", 60.0)
    assert tick(engine) == {"flights": 7}


def test_files_of_days_that_have_not_begun_wait(bed: Bed) -> None:
    bed.put("2013-07-01")
    engine = bed.engine()
    assert engine.take_in(NOW) == tick(engine) == {}
    assert engine.landed(NOW) == {}
    assert engine.take_in_files("flights", [FLIGHTS.expected_file("2013-07-01")]) == {
        "flights_2013-07-01.csv": "it is for a time that has not come"
    }
    assert tick(engine, NOW + timedelta(days=1)) == {"flights": 1}


# ------------------------------------------------------------------------------------------- what vendors do


def test_content_decides_and_not_the_time_at_a_file(bed: Bed) -> None:
    """A, the same A again, B, A: ends at A, and the second A was no delivery."""
    engine = bed.engine()
    said = []
    for content in (A, A, B, A):
        bed.put(TODAY, content)
        said.append(tick(engine))
    assert said == [{"flights": 1}, {}, {"flights": 1}, {"flights": 1}]
    assert bed.history(engine, TODAY) == [A, B, A]


def test_a_file_that_is_deleted_and_put_back_changes_nothing(bed: Bed) -> None:
    """The incident: a clean-up on the vendor's side, and the dashboards lose a month."""
    name = bed.put(OLD)
    bed.put(TODAY)
    engine = bed.engine()
    engine.take_in(NOW)
    list(engine.materialize("raw_flights", [OLD], run_id="one"))
    before = engine.ledger.publications.current("raw_flights")
    bed.zone.vendors.delete("flights", name)
    bed.clock.advance(timedelta(hours=1))
    assert tick(engine) == {}
    assert engine.ledger.files.known("flights", [name])[name].gone_utc == NOW + timedelta(hours=1)
    list(engine.materialize("raw_flights", [OLD], run_id="two"))
    assert engine.ledger.publications.current("raw_flights") == before
    bed.put(OLD)
    assert tick(engine) == {}
    known = engine.ledger.files.known("flights", [name])[name]
    assert (known.gone_utc, known.seen_utc) == (None, NOW)
    assert bed.history(engine, OLD) == [A]


def test_a_file_that_was_deleted_and_comes_back_with_other_content_is_a_delivery(bed: Bed) -> None:
    name = bed.put(OLD)
    bed.put(TODAY)
    engine = bed.engine()
    engine.take_in(NOW)
    bed.zone.vendors.delete("flights", name)
    tick(engine)
    bed.put(OLD, B)
    assert tick(engine) == {"flights": 1}
    assert bed.history(engine, OLD) == [A, B]


def test_a_file_that_is_renamed_arrives_for_its_new_day_and_stays_what_it_was_for_its_old_one(bed: Bed) -> None:
    name, new = bed.put(OLD), FLIGHTS.expected_file("2013-01-06")
    engine = bed.engine()
    engine.take_in(NOW)
    bed.zone.vendors.rename("flights", name, new)
    settle()
    assert tick(engine) == {"flights": 1}
    known = engine.ledger.files.known("flights", [name, new])
    assert {n: k.gone_utc is None for n, k in known.items()} == {name: False, new: True}
    assert bed.history(engine, OLD) == bed.history(engine, "2013-01-06") == [A]


def test_a_feed_that_names_its_files_otherwise_now_takes_them_in_anew(bed: Bed) -> None:
    """The incident: day and month were exchanged in the declaration; corrected, and the files count as known."""
    bed.put("2013-02-03")
    bed.engine().take_in(NOW)
    engine = bed.engine()
    known = engine.ledger.files.known("flights", ["flights_2013-02-03.csv"])
    with engine.ledger._database.write() as connection:
        connection.exec_driver_sql("UPDATE ledger_files SET partition_key = '2013-03-02'")
    assert engine.take_in(NOW) == {"flights": 1}
    assert engine.ledger.files.known("flights", ["flights_2013-02-03.csv"]) == known


def test_of_several_files_that_land_at_once_the_one_written_last_arrives_last(bed: Bed) -> None:
    keys = ["2013-01-09", "2013-01-02", "2013-01-05"]
    for key in keys:
        bed.put(key)
        threading.Event().wait(1.1 if bed.zone.named.startswith("s3") else 0)  # a store tells seconds
    engine = bed.engine()
    engine.take_in(NOW)
    assert [arrival.partition for arrival in engine.ledger.arrivals.all()] == keys


@pytest.mark.parametrize("everything", [False, True])
def test_versions_in_names_are_found_and_ordered_whatever_came_first(bed: Bed, *, everything: bool) -> None:
    """The incident: version 2 lands before version 1, and the older numbers are shown."""
    bed.zone.vendors.put("sales", f"sales_{TODAY}_v10.csv", B)
    settle()
    bed.zone.vendors.put("sales", f"sales_{TODAY}_v9.csv", A)
    settle()
    engine = bed.engine()
    assert engine.landed(NOW)["raw_sales"].keys() == {TODAY}
    assert engine.take_in(NOW, everything=everything) == {"sales": 2}
    assert len(bed.read) == 4
    (current,) = engine.ledger.arrivals.counting("sales", [TODAY])[TODAY]
    assert (current.file_name, current.version) == (f"sales_{TODAY}_v10.csv", "10")
    assert engine.landed(NOW) == engine.take_in(NOW, everything=everything) == {}
    list(engine.materialize("raw_sales", [TODAY], run_id="r"))
    assert len(bed.read) == 4


# ------------------------------------------------------------------------------------------------- pushed


def test_files_of_which_a_store_tells_are_taken_in_at_once(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LandingZone, "slices", None)  # nothing is listed
    name = bed.put(OLD)
    engine = bed.engine()
    asked = [name, "flights_2013-01-06.csv", "nonsense.csv", "../weather/weather_2013-01-01.csv"]
    assert engine.take_in_files("flights", asked) == {
        name: "new",
        "flights_2013-01-06.csv": "it is not there",
        "nonsense.csv": f"flights takes {FLIGHTS.takes}",
        "../weather/weather_2013-01-01.csv": f"flights takes {FLIGHTS.takes}",
    }
    assert engine.take_in_files("flights", [name]) == {name: "known"}
    assert bed.history(engine, OLD) == [A]


# ------------------------------------------------------------------------------------------- what breaks


def test_two_processes_take_in_the_same_at_once(bed: Bed) -> None:
    keys = [(date(2013, 1, 1) + timedelta(days=n)).isoformat() for n in range(30)]
    for key in keys:
        bed.zone.vendors.put("flights", FLIGHTS.expected_file(key), A)
    settle()
    engines = [bed.engine() for _ in range(4)]
    failed: list[BaseException] = []

    def work(engine: Engine) -> None:
        try:
            engine.take_in(NOW)
        except FeedError as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=[engine]) for engine in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert sorted(arrival.partition for arrival in engines[0].ledger.arrivals.all()) == keys
    assert len(engines[0].ledger.files.there("flights", "", 100)) == 30


def test_a_full_archive_is_said_and_the_files_are_taken_in_once_there_is_room(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    bed.put(TODAY)
    engine = bed.engine()

    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("sh_resources.archive.os.fsync", no_space)
        for _ in range(2):
            with pytest.raises(FeedError, match=r"No space left on device\); make room"):
                tick(engine)
    assert engine.ledger.arrivals.all() == []
    assert tick(engine) == {"flights": 1}


def test_a_process_that_dies_between_recording_and_noting_records_nothing_twice(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    bed.put(TODAY)
    engine = bed.engine()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(type(engine.ledger.files), "note", killed)
        with pytest.raises(KeyboardInterrupt):
            tick(engine)
    engine = bed.engine()
    tick(engine)
    assert bed.history(engine, TODAY) == [A]
    assert len(engine.ledger.files.there("flights", "", 9)) == 1


def test_a_zone_that_cannot_be_reached_for_a_while_loses_nothing(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    bed.put(OLD)
    bed.put(TODAY)
    engine = bed.engine()
    engine.take_in(NOW)
    place = bed.zone.landing.place
    if isinstance(place, LocalFolder):
        place.root.rename(place.root.with_name("unmounted"))
    else:
        endpoint = os.environ["AWS_ENDPOINT_URL"]
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    cut_off = bed.engine()
    for take_in in (cut_off.take_in, lambda now: tick(cut_off, now)):
        with pytest.raises(FeedError):
            take_in(NOW)
    assert len(engine.ledger.files.there("flights", "", 9)) == 2
    if isinstance(place, LocalFolder):
        place.root.with_name("unmounted").rename(place.root)
    else:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    bed.put(TODAY, B)
    assert tick(bed.engine()) == {"flights": 1}


def test_a_clock_that_is_set_back_makes_nothing_new(bed: Bed) -> None:
    bed.put(OLD)
    bed.put(TODAY)
    engine = bed.engine()
    engine.take_in(NOW)
    bed.clock = ManualClock(NOW - timedelta(days=90))
    engine = bed.engine()
    for take_in in (engine.take_in, lambda now: tick(engine, now)):
        assert take_in(NOW - timedelta(days=90)) == {}
    assert len(engine.ledger.arrivals.all()) == 2
    bed.put(OLD, B)
    assert tick(engine, NOW - timedelta(days=90)) == {"flights": 1}
    assert bed.history(engine, OLD) == [A, B]


# ------------------------------------------------------------------------------------------- a folder's own troubles


only_folders = pytest.mark.parametrize("zone", ["folder"], indirect=True)


@only_folders
def test_an_unmounted_disk_deletes_nothing(bed: Bed) -> None:
    """The incident: below the place where the disk should be is an empty folder, and 200 files count as deleted."""
    for key in (OLD, YESTERDAY, TODAY):
        bed.put(key)
    engine = bed.engine()
    engine.take_in(NOW)
    root = Path(bed.zone.named)
    root.rename(root.with_name("disk"))
    root.mkdir()
    for take_in in (engine.take_in, lambda now: tick(engine, now), bed.engine().take_in):
        with pytest.raises(FeedError, match="flights is not there, and files were known in it; mount the disk"):
            take_in(NOW)
    assert len(engine.ledger.files.there("flights", "", 9)) == 3
    root.rmdir()
    root.with_name("disk").rename(root)
    assert tick(engine) == {}
    assert len(bed.read) == 3


@only_folders
def test_a_half_written_file_is_taken_in_once_it_is_whole(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one of a partition that is not open any more: it is looked at again at once, and not by the next sweep."""
    for n in range(40):
        bed.zone.vendors.put("flights", FLIGHTS.expected_file((date(2013, 2, 1) + timedelta(days=n)).isoformat()), A)
    bed.put(TODAY)
    engine = bed.engine()
    engine.take_in(NOW)
    monkeypatch.setattr(intake, "SLICE", 1)
    monkeypatch.setattr(intake, "PAGE", 1)
    path = Path(bed.zone.named, "flights", FLIGHTS.expected_file("2013-01-07"))
    with path.open("wb") as writing:
        writing.write(A[:5])
        writing.flush()
        for _ in range(100):  # sooner or later the sweep comes by
            assert tick(engine) == {}
            if engine._intake._again.get("flights"):
                break
        assert tick(engine) == {}
        (said,) = engine.look("raw_flights", ["2013-01-07"]).waiting["2013-01-07"]
        assert "still being written" in said
        writing.write(A[5:])
    assert tick(engine) == {"flights": 1}
    assert bed.history(engine, "2013-01-07") == [A]


@only_folders
def test_a_feed_in_trouble_keeps_no_other_back(bed: Bed) -> None:
    bed.put(TODAY)
    bed.put(TODAY, feed=WEATHER)
    folder = Path(bed.zone.named, "flights")
    shutil.move(folder, folder.with_name("kept"))
    folder.write_text("no folder\n")
    engine = bed.engine()
    with pytest.raises(FeedError, match="feed flights"):
        tick(engine)
    assert [arrival.feed for arrival in engine.ledger.arrivals.all()] == ["weather"]
    folder.unlink()
    shutil.move(folder.with_name("kept"), folder)
    assert tick(engine) == {"flights": 1}
