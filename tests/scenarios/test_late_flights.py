"""What vendors do to a day's file of flights, from an hour too late to never: exactly what has to run, and the truth.

One feed, JFK's flights of 10 January, misbehaves in some way; all others are on time. Time is moved by the test, tick
by tick. In the end every table is what it is where that file came on time.

The incidents: a vendor is late and a dashboard is empty; a file comes twice, or with the rows of another day; a vendor
is silent for three days and delivers everything at once; somebody tidies the landing zone.
"""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from sh_assets.flights import TABLES
from sh_assets.flights.feeds import FLIGHT_FEEDS
from sh_assets.flights.zones import NEW_YORK
from sh_core.graph import Graph
from sh_core.outcome import Withheld
from sh_defs.facts.report import feed_accounts
from sh_drills.replay import DAILY_FEEDS, Replay, land, morning_after
from sh_resources.overdue import Watchman
from tests.late import Shop

pytestmark = [pytest.mark.slow]

GRAPH = Graph.of(TABLES)
JFK = next(feed for feed in FLIGHT_FEEDS if feed.name.endswith("jfk"))
DAY = date(2013, 1, 10)
KEY = DAY.isoformat()
FIRST = date(2013, 1, 1)

READING_THE_DAY = ("stg_flights", "int_flights_weather", "mart_aircraft_utilisation", "mart_daily_delays")
"""Tables of which one partition reads the day, its own."""


def days(first: date, last: date) -> list[date]:
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def in_new_york(day: date, hour: int, minute: int = 0) -> datetime:
    return datetime.combine(day, time(hour, minute), ZoneInfo(NEW_YORK)).astimezone(UTC)


@dataclass
class Airline(Shop):
    """A state folder with the flight graph."""

    replay: Replay = field(default_factory=Replay.load)

    def heal(self) -> dict[str, list[str]]:
        """As ever, and incidents about what is late are kept, as the sensor does."""
        ran = super().heal()
        Watchman(self.engine).keep(self.clock.now_utc())
        return ran

    def late(self) -> list[str]:
        """Days of JFK's flights of which the file is late, by their open incidents; nothing else may have one."""
        incidents = [i for i in self.engine.ledger.incidents.open() if i.cause_key.startswith("late:")]
        assert {i.cause_key for i in incidents} <= {f"late:{JFK.name}"}
        return sorted(i.partition for i in incidents)

    def day(self, day: date, *, without: str = "") -> dict[str, list[str]]:
        """A day goes by: its files land by five the next morning, but for one feed's; what was executed."""
        self.until(morning_after(day))
        for feed in DAILY_FEEDS:
            if feed.name != without:
                self.land(feed, day.isoformat(), self.replay.files[feed.name, day])
        return self.heal()

    def deliver(self, content: bytes | None = None, day: date = DAY) -> dict[str, list[str]]:
        """JFK's file of a day lands, as it is or with other content; what was executed."""
        self.land(JFK, day.isoformat(), content if content is not None else self.replay.files[JFK.name, day])
        return self.heal()

    def restated(self, day: date = DAY) -> bytes:
        """JFK's file of a day, one flight another minute late."""
        header, *lines = self.replay.files[JFK.name, day].decode().splitlines()
        at = JFK.columns.index("arr_delay")
        number = next(n for n, line in enumerate(lines) if line.split(",")[at].lstrip("-").isdigit())
        cells = lines[number].split(",")
        cells[at] = str(int(cells[at]) + 1)
        lines[number] = ",".join(cells)
        return ("\n".join([header, *lines]) + "\n").encode()


def opened(home: Path, at_utc: datetime) -> Airline:
    shop = Shop.at(home, at_utc, GRAPH)
    return Airline(shop.graph, shop.home, shop.clock, shop.engine, shop.watch)


@pytest.fixture(scope="module")
def nine_days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine days on time: the state folder that each scenario begins with a copy of."""
    home = tmp_path_factory.mktemp("nine")
    airline = opened(home, morning_after(FIRST))
    for feed, name, content in airline.replay.deliveries(days(FIRST, DAY - timedelta(days=1))):
        path = home / "landing" / feed.name / name
        path.parent.mkdir(parents=True, exist_ok=True)
        land(path, content)
    airline.until(morning_after(DAY - timedelta(days=1)))
    airline.heal()
    airline.engine.ledger.close()
    return home


@pytest.fixture(scope="module")
def on_time(nine_days: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[date, Mapping[tuple[str, str], str]]:
    """What every table holds after each of eight more days on which everybody was on time."""
    home = tmp_path_factory.mktemp("on_time") / "home"
    shutil.copytree(nine_days, home)
    airline = opened(home, morning_after(DAY - timedelta(days=1)))
    found = {}
    for day in days(DAY, DAY + timedelta(days=7)):
        airline.day(day)
        found[day] = airline.roots()
    airline.engine.ledger.close()
    return found


@pytest.fixture
def airline(nine_days: Path, tmp_path: Path) -> Iterator[Airline]:
    """Nine days on time."""
    home = tmp_path / "home"
    shutil.copytree(nine_days, home)
    airline = opened(home, morning_after(DAY - timedelta(days=1)))
    yield airline
    airline.engine.ledger.close()


def reading(*more: date) -> dict[str, list[str]]:
    """What reads the flights of the day: its own partitions, and those of days after it that look back."""
    return {name: [KEY] for name in READING_THE_DAY} | {
        "mart_route_rolling_7d": [KEY, *(day.isoformat() for day in more)],
    }


def test_an_hour_late(airline: Airline, on_time: Mapping[date, Mapping[tuple[str, str], str]]) -> None:
    ran = airline.day(DAY, without=JFK.name)
    assert "stg_flights" not in ran
    assert airline.marks() == {}
    assert airline.late() == []
    airline.until(in_new_york(DAY + timedelta(days=1), 6, 30))
    stood_in = airline.heal()
    assert stood_in == reading()
    assert airline.marks() == reading()
    assert airline.late() == [KEY]
    accounts = {a.feed: a.rows for a in feed_accounts(GRAPH, airline.engine.ledger)}
    assert {feed for feed, rows in accounts.items() if rows.pending} == {"flights_ewr", "flights_lga"}
    assert sum(rows.missing for rows in accounts.values()) == 0
    airline.until(in_new_york(DAY + timedelta(days=1), 7))
    repaired = airline.deliver()
    assert repaired == {f"raw_{JFK.name}": [KEY], **reading(), "feat_departure_delay": [KEY]}
    assert airline.marks() == {}
    assert airline.late() == []
    assert airline.roots() == on_time[DAY]
    assert airline.heal() == {}


def test_a_week_late(airline: Airline, on_time: Mapping[date, Mapping[tuple[str, str], str]]) -> None:
    airline.day(DAY, without=JFK.name)
    last = DAY + timedelta(days=7)
    for day in days(DAY + timedelta(days=1), last):
        airline.day(day)
    looking_back = days(DAY + timedelta(days=1), DAY + timedelta(days=6))
    assert airline.marks() == reading(*looking_back)
    assert airline.late() == [KEY]
    repaired = airline.deliver()
    assert airline.late() == []
    assert repaired["mart_route_rolling_7d"] == [KEY, *(day.isoformat() for day in looking_back)]
    assert all(repaired[name] == [KEY] for name in READING_THE_DAY)
    assert airline.marks() == {}
    assert airline.roots() == on_time[last]


def test_never(airline: Airline, on_time: Mapping[date, Mapping[tuple[str, str], str]]) -> None:
    airline.day(DAY, without=JFK.name)
    last = DAY + timedelta(days=7)
    for day in days(DAY + timedelta(days=1), last):
        airline.day(day)
    assert airline.heal() == {}
    assert airline.late() == [KEY]
    marked = {(name, key) for name, keys in airline.marks().items() for key in keys}
    there = airline.roots()
    features = {place for place in on_time[last] if place[0].startswith("feat_")}
    untouched = {place: root for place, root in on_time[last].items() if place not in marked | features}
    del untouched[f"raw_{JFK.name}", KEY]
    assert {place: there.get(place) for place in untouched} == untouched


def test_early(airline: Airline, on_time: Mapping[date, Mapping[tuple[str, str], str]]) -> None:
    assert airline.deliver() == {f"raw_{JFK.name}": [KEY]}
    airline.day(DAY, without=JFK.name)
    airline.until(in_new_york(DAY + timedelta(days=1), 12))
    assert airline.heal() == {}
    assert airline.late() == []
    assert airline.roots() == on_time[DAY]


def test_twice_the_same(airline: Airline, on_time: Mapping[date, Mapping[tuple[str, str], str]]) -> None:
    airline.day(DAY)
    assert airline.deliver() == {}
    assert airline.roots() == on_time[DAY]


def test_twice_with_other_content_and_back(
    airline: Airline, on_time: Mapping[date, Mapping[tuple[str, str], str]]
) -> None:
    """A, B, A: it ends at A, and each of the two is taken for the news that it is."""
    airline.day(DAY)
    there = airline.deliver(airline.restated())
    assert there["stg_flights"] == [KEY]
    assert airline.roots() != on_time[DAY]
    back = airline.deliver()
    assert back == there
    assert airline.roots() == on_time[DAY]
    assert airline.heal() == {}


def test_restated_a_month_later(airline: Airline) -> None:
    """The file of a day that nobody looks at any more: its own partitions, and the week that looks back on it."""
    airline.day(DAY)
    last = DAY + timedelta(days=30)
    for day in days(DAY + timedelta(days=1), last):
        airline.until(morning_after(day))
        for feed in DAILY_FEEDS:
            airline.land(feed, day.isoformat(), airline.replay.files[feed.name, day])
    airline.heal()
    repaired = airline.deliver(airline.restated())
    assert repaired[f"raw_{JFK.name}"] == repaired["stg_flights"] == repaired["mart_daily_delays"] == [KEY]
    assert repaired["mart_route_rolling_7d"] == [day.isoformat() for day in days(DAY, DAY + timedelta(days=6))]
    assert "stg_weather" not in repaired
    assert set(repaired) <= {f"raw_{JFK.name}", *reading(), "feat_departure_delay", "mart_monthly_punctuality"}


def test_another_day_inside(airline: Airline, on_time: Mapping[date, Mapping[tuple[str, str], str]]) -> None:
    """Yesterday's rows under today's name: neither day shows them."""
    airline.day(DAY, without=JFK.name)
    yesterday = DAY - timedelta(days=1)
    before = airline.roots()
    airline.deliver(airline.replay.files[JFK.name, yesterday])
    outcome = airline.ran["stg_flights"][KEY]
    assert isinstance(outcome, Withheld)
    (incident,) = [i for i in airline.engine.ledger.incidents.open() if i.table == "stg_flights"]
    assert incident.partition == KEY
    assert {p: r for p, r in airline.roots().items() if p[1] == yesterday.isoformat()} == {
        p: r for p, r in before.items() if p[1] == yesterday.isoformat()
    }
    airline.until(in_new_york(DAY + timedelta(days=1), 9))
    airline.heal()
    assert airline.late() == []  # it has arrived: it is held, with an incident of its own
    airline.deliver()
    assert airline.engine.ledger.incidents.open() == []
    assert airline.roots() == on_time[DAY]


def test_half_of_it_and_then_all(airline: Airline, on_time: Mapping[date, Mapping[tuple[str, str], str]]) -> None:
    airline.day(DAY, without=JFK.name)
    whole = airline.replay.files[JFK.name, DAY].splitlines(keepends=True)
    airline.deliver(b"".join(whole[: len(whole) // 2]))
    assert airline.roots() != on_time[DAY]
    repaired = airline.deliver()
    assert repaired["stg_flights"] == [KEY]
    assert airline.roots() == on_time[DAY]
    assert airline.engine.ledger.incidents.open() == []


def test_deleted_after_it_was_taken_in(airline: Airline, on_time: Mapping[date, Mapping[tuple[str, str], str]]) -> None:
    airline.day(DAY)
    (airline.home / "landing" / JFK.name / JFK.expected_file(KEY)).unlink()
    airline.until(in_new_york(DAY + timedelta(days=1), 12))
    assert airline.heal() == {}
    assert airline.deliver() == {}  # and it comes back
    assert airline.roots() == on_time[DAY]


def test_renamed(airline: Airline, on_time: Mapping[date, Mapping[tuple[str, str], str]]) -> None:
    """A name of nobody's is nothing; the name of the next day makes it a file of other days' rows."""
    airline.day(DAY)
    folder = airline.home / "landing" / JFK.name
    (folder / JFK.expected_file(KEY)).rename(folder / "old.csv")
    assert airline.heal() == {}
    tomorrow = DAY + timedelta(days=1)
    (folder / "old.csv").rename(folder / JFK.expected_file(tomorrow.isoformat()))
    airline.heal()
    assert airline.roots().items() >= on_time[DAY].items()
    airline.day(tomorrow)
    assert airline.engine.ledger.incidents.open() == []
    assert airline.roots() == on_time[tomorrow]


def test_silent_for_three_days_then_all_at_once(
    airline: Airline, on_time: Mapping[date, Mapping[tuple[str, str], str]]
) -> None:
    silent = days(DAY, DAY + timedelta(days=2))
    for day in silent:
        airline.day(day, without=JFK.name)
    airline.until(in_new_york(silent[-1] + timedelta(days=1), 8))
    airline.heal()
    assert airline.marks()["stg_flights"] == airline.late() == [day.isoformat() for day in silent]
    for day in silent:
        airline.land(JFK, day.isoformat(), airline.replay.files[JFK.name, day])
    repaired = airline.heal()
    assert repaired["stg_flights"] == [day.isoformat() for day in silent]
    assert airline.marks() == {}
    assert airline.late() == []
    assert airline.roots() == on_time[silent[-1]]
    assert airline.heal() == {}


def test_the_clock_jumps_back(airline: Airline, on_time: Mapping[date, Mapping[tuple[str, str], str]]) -> None:
    airline.day(DAY, without=JFK.name)
    airline.until(in_new_york(DAY + timedelta(days=1), 7))
    airline.heal()
    marked = airline.marks()
    back = opened(airline.home, in_new_york(DAY, 23))
    assert back.heal() == {}
    assert back.marks() == marked
    assert back.late() == [KEY]
    assert back.deliver()["stg_flights"] == [KEY]
    assert back.roots() == on_time[DAY]


def test_nobody_watches_while_files_land(
    airline: Airline, on_time: Mapping[date, Mapping[tuple[str, str], str]]
) -> None:
    """Down for two days: it was late, it came, others came; afterwards it is as if somebody had watched."""
    tomorrow = DAY + timedelta(days=1)
    for day in (DAY, tomorrow):
        for feed in DAILY_FEEDS:
            airline.land(feed, day.isoformat(), airline.replay.files[feed.name, day])
    after = opened(airline.home, in_new_york(tomorrow + timedelta(days=1), 12))
    ran = after.heal()
    assert ran["stg_flights"] == [KEY, tomorrow.isoformat()]
    assert after.marks() == {}
    assert after.engine.ledger.incidents.all(JFK.name) == []
    assert after.roots() == on_time[tomorrow]
    assert after.heal() == {}
