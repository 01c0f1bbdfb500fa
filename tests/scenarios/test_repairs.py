"""What runs after a change, on the flight graph with Dagster's real daemon: exactly what read the change, once.

The incidents: a restated file of an old day that no automation picks up; a corrected aircraft that has the whole year
computed anew; an update that arrives while its readers run, and is lost.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import pytest
from rich.console import Console

import sh_assets.flights
from sh_assets.flights.feeds import FLIGHT_FEEDS, PLANES
from sh_core.feed import Feed
from sh_core.partitions import WHOLE
from sh_core.records import Action
from sh_defs.updating import update
from sh_drills.replay import Replay, land, morning_after
from sh_resources.clock import ReplayCalendar, SystemClock
from sh_resources.ledger import Ledger
from sh_resources.settings import Settings, load
from tests.daemon import Services, running, ticks, under_way

pytestmark = [pytest.mark.slow]

DAYS = [date(2013, 1, 1) + timedelta(days=n) for n in range(34)]
DAY = date(2013, 1, 10)
JFK = next(feed for feed in FLIGHT_FEEDS if feed.name.endswith("jfk"))
HEALED_S = 600.0

Executed = Counter[tuple[str, str]]
Change = Callable[[list[str]], None]


def days(first: date, count: int) -> list[str]:
    return [(first + timedelta(days=n)).isoformat() for n in range(count)]


def places(table: str, *keys: str) -> dict[tuple[str, str], int]:
    return {(table, key): 1 for key in keys}


@dataclass
class Bench:
    """A state folder whose tables are a copy of the flight graph that may be edited, under a daemon."""

    settings: Settings
    code: Path
    services: Services
    ledger: Ledger

    def path(self, feed: Feed, key: str) -> Path:
        return self.settings.landing / feed.name / feed.expected_file(key)

    def after(self, change: Callable[[], None]) -> Executed:
        """What is executed because of a change, by table and partition, until nothing happens any more."""
        before = self.attempts()
        change()
        self.wait_until_quiet()
        return Counter(place for attempt, place in self.attempts().items() if attempt not in before)

    def attempts(self) -> dict[str, tuple[str, str]]:
        """Every execution so far, by its id."""
        return {
            tracked.attempt.id: (tracked.attempt.table, tracked.attempt.partition)
            for table in self.tables()
            for tracked in self.ledger.publications.log(table, limit=100_000)
        }

    def tables(self) -> list[str]:
        return [table.name for table in sh_assets.flights.TABLES]

    def wait_until_quiet(self) -> None:
        """Until nothing is under way and automation has asked for nothing twice, after a look at the landing zone."""
        with self.services.instance() as instance:
            since = time.time()
            self.services.wait_for(lambda: self._looked(instance, "arrivals", since, 1), HEALED_S, "a look at arrivals")
            while True:
                self.services.wait_for(lambda: not under_way(instance), HEALED_S, "the end of all runs")
                # From here on two whole ticks: what the last run has changed is in the second one at the latest.
                since = time.time()
                self.services.wait_for(lambda: self._looked(instance, "due", since, 2), HEALED_S, "two ticks")  # noqa: B023
                if not self._requested(instance, since) and not under_way(instance):
                    return

    def _looked(self, instance: dg.DagsterInstance, sensor: str, since: float, times: int) -> bool:
        return sum(tick.timestamp >= since and tick.is_completed for tick in ticks(instance, sensor)) >= times

    def _requested(self, instance: dg.DagsterInstance, since: float) -> bool:
        return any(tick.timestamp >= since and tick.run_ids for tick in ticks(instance, "due"))

    def command(self, *words: str) -> None:
        """Run a command as a person does."""
        command = [sys.executable, "-c", "from sh_defs.cli import app; app()", *words]
        environment = {**os.environ, **self.services.environment}
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr

    def edit(self, module: str, old: str, new: str) -> None:
        """Change the code and deploy it."""
        path = self.code / f"{module}.py"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        self.services.kill("code")
        self.services.start()

    def restate(
        self, feed: Feed, key: str, change: Callable[[list[str]], None], *, row: Callable[[list[str]], bool]
    ) -> None:
        """Deliver a file again, with its first row of some kind changed."""
        path = self.path(feed, key)
        header, *lines = path.read_text().splitlines()
        number = next(i for i, line in enumerate(lines) if row(line.split(",")))
        cells = lines[number].split(",")
        change(cells)
        lines[number] = ",".join(cells)
        land(path, ("\n".join([header, *lines]) + "\n").encode())


def flew(cells: list[str]) -> bool:
    """Departed, at a minute to which some can be added within the hour, and arrived."""
    needed = ("dep_time", "arr_time", "dep_delay", "arr_delay", "tailnum")
    return all(cells[column(name)] not in ("", "NA") for name in needed) and int(cells[column("dep_time")][-2:]) < 50


def column(name: str, feed: Feed = JFK) -> int:
    return feed.columns.index(name)


def later(*names: str, by: int = 1) -> Change:
    """So many minutes more."""

    def change(cells: list[str]) -> None:
        for name in names:
            cells[column(name)] = str(int(cells[column(name)]) + by)

    return change


def departed_later(by: int = 1) -> Change:
    """A departure restated; clock and delay agree, or the row would be set aside."""
    return later("dep_time", "dep_delay", by=by)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Thirty-four days brought up to date, and everything running."""
    root = tmp_path_factory.mktemp("repairs")
    code = root / "flightgraph"
    shutil.copytree(Path(sh_assets.flights.__file__).parent, code, ignore=shutil.ignore_patterns("__pycache__"))
    for path in code.glob("*.py"):
        path.write_text(re.sub(r"\bsh_assets\.flights\b", "flightgraph", path.read_text()))
    marts = code / "marts.py"
    text, begin = marts.read_text(), '    return stg_flights.group_by("date", "origin", "carrier")'
    waits = "    while Path(__file__).with_name('hold').exists():\n        time.sleep(0.05)\n"
    assert text.count(begin) == 1
    text = text.replace(begin, waits + begin).replace(
        "import pandera", "import time\nfrom pathlib import Path\nimport pandera"
    )
    environment = {"SELFHEAL_HOME": str(root / "state"), "SELFHEAL_TABLES": "flightgraph"}
    settings = load(environment)
    settings.landing.mkdir(parents=True)
    Replay.load().deliver(settings.landing, DAYS)
    ReplayCalendar(settings.calendar).put(morning_after(DAYS[-1]))
    sys.path.insert(0, str(root))
    try:
        with (root / "first.log").open("w") as log:
            update(settings, None, None, Console(file=log))
        told = {**environment, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        services = Services(settings.dagster_home, "sh_defs.definitions", told, backfills_every_s=1.0)
        with running(services), Ledger.open(settings.ledger_url) as ledger:
            bench = Bench(settings, code, services, ledger)
            bench.wait_until_quiet()
            yield bench
    finally:
        sys.path.remove(str(root))


OF_A_DEPARTURE = {
    **places("raw_flights_jfk", DAY.isoformat()),
    **places("stg_flights", DAY.isoformat()),
    **places("mart_daily_delays", DAY.isoformat()),
    **places("mart_route_rolling_7d", *days(DAY, 7)),
    **places("feat_departure_delay", *days(DAY + timedelta(days=1), 7)),
}
"""What reads, directly or not, by how much a flight departed late: its day, the rolling weeks that hold it, and the
features of the days after; neither monthly punctuality nor weather nor utilisation."""


def test_a_restated_row_of_an_old_day(bench: Bench) -> None:
    """Each partition that read it, however old, and each once."""
    changed = bench.after(lambda: bench.restate(JFK, DAY.isoformat(), departed_later(), row=flew))
    assert changed == OF_A_DEPARTURE


def test_a_rollback(bench: Bench) -> None:
    """What read the bad content reads the good one again; and the bad file, delivered once more, changes nothing."""
    key = DAY.isoformat()
    bad = bench.path(JFK, key).read_bytes()
    before = bench.ledger.publications.history("raw_flights_jfk", key)
    changed = bench.after(lambda: bench.command("rollback", "raw_flights_jfk", key, "--why", "a test"))
    assert changed == OF_A_DEPARTURE
    now = bench.ledger.publications.current("raw_flights_jfk", [key])[key]
    assert now.version.root == before[-1].version.root != before[0].version.root
    assert bench.after(lambda: land(bench.path(JFK, key), bad)) == {}


def test_the_same_file_again(bench: Bench) -> None:
    path = bench.path(JFK, DAY.isoformat())
    assert bench.after(lambda: land(path, path.read_bytes())) == {}


def test_a_restated_column_that_nobody_reads(bench: Bench) -> None:
    """The vendor's own minute of departure is kept as it came, and stops there: what is staged comes out equal."""
    key = (DAY + timedelta(days=1)).isoformat()

    def another(cells: list[str]) -> None:
        cells[column("minute")] = str((int(float(cells[column("minute")])) + 1) % 60)

    changed = bench.after(lambda: bench.restate(JFK, key, another, row=flew))
    assert changed == {**places("raw_flights_jfk", key), **places("stg_flights", key)}


def test_one_aircrafts_seats(bench: Bench) -> None:
    """Only the days on which it flew."""
    tailnum, seats = column("tailnum", PLANES), column("seats", PLANES)
    flown: dict[str, set[str]] = {}
    for feed in FLIGHT_FEEDS:
        for day in DAYS:
            for line in bench.path(feed, day.isoformat()).read_text().splitlines()[1:]:
                cells = line.split(",")
                if cells[column("tailnum")] not in ("", "NA"):
                    flown.setdefault(cells[column("tailnum")], set()).add(day.isoformat())
    registered = {line.split(",")[tailnum] for line in bench.path(PLANES, WHOLE).read_text().splitlines()[1:]}
    some = min((name for name in registered & flown.keys() if len(flown[name]) > 3), key=lambda n: (len(flown[n]), n))

    def more(cells: list[str]) -> None:
        cells[seats] = str(int(cells[seats]) + 1)

    changed = bench.after(lambda: bench.restate(PLANES, WHOLE, more, row=lambda c: c[tailnum] == some))
    assert changed == {
        **places("raw_planes", WHOLE),
        **places("stg_planes", WHOLE),
        **places("mart_aircraft_utilisation", *flown[some]),
    }


def test_a_changed_comment(bench: Bench) -> None:
    text = '"""Minutes after schedule from which a flight counts as delayed'
    assert bench.after(lambda: bench.edit("marts", text, f"# A comment, and nothing else.\n{text}")) == {}


def test_a_changed_threshold(bench: Bench) -> None:
    """The figures that are made with it; their readers read other columns, and stay as they are."""
    changed = bench.after(lambda: bench.edit("marts", "LATE_MIN = 15", "LATE_MIN = 20"))
    assert changed == {
        **places("mart_daily_delays", *days(DAYS[0], len(DAYS))),
        **places("mart_monthly_punctuality", "2013-01-01"),
    }


def test_an_upstream_that_changes_while_its_downstream_runs(bench: Bench) -> None:
    """The second change is not lost: what was computed from the first one is computed again."""
    hold, key = bench.code / "hold", DAYS[20].isoformat()
    before = bench.attempts()

    def mart_runs() -> bool:
        held = bench.ledger.leases.held("mart_daily_delays", SystemClock().now_utc())
        return key in {lease.partition for lease in held}

    def staged_twice() -> bool:
        new = [place for attempt, place in bench.attempts().items() if attempt not in before]
        return new.count(("stg_flights", key)) == 2

    hold.touch()
    try:
        bench.restate(JFK, key, departed_later(), row=flew)
        bench.services.wait_for(mart_runs, HEALED_S, "the mart")
        bench.restate(JFK, key, departed_later(5), row=flew)
        bench.services.wait_for(staged_twice, HEALED_S, "the second change in stg_flights")
    finally:
        hold.unlink()
    bench.wait_until_quiet()
    executed = Counter(place for attempt, place in bench.attempts().items() if attempt not in before)
    twice = {("raw_flights_jfk", key), ("stg_flights", key), ("mart_daily_delays", key)}
    assert {place: count for place, count in executed.items() if place in twice} == dict.fromkeys(twice, 2)
    assert max(executed.values()) == 2  # one for each of its two traces
    published = bench.ledger.publications.current("mart_daily_delays", [key])[key]
    staged = bench.ledger.publications.current("stg_flights", [key])[key]
    assert all(read.digest == staged.version.of(read.columns) for read in published.trace.reads)


def test_a_withheld_partition_that_gets_a_good_file(bench: Bench) -> None:
    """While it is withheld nobody downstream runs; then everything that reads what is new does."""
    key = DAYS[25].isoformat()
    path = bench.path(JFK, key)
    good = path.read_bytes()
    worse = bench.after(lambda: land(path, good.replace(b"dep_delay", b"departure_delay", 1)))
    assert worse == places("raw_flights_jfk", key)
    assert bench.ledger.publications.settlements("raw_flights_jfk", [key])[key].action is Action.WITHHOLD
    land(path, good)
    healed = bench.after(lambda: bench.restate(JFK, key, departed_later(), row=flew))
    until = (DAYS[-1] - DAYS[25]).days + 1
    assert healed == {
        **places("raw_flights_jfk", key),
        **places("stg_flights", key),
        **places("mart_daily_delays", key),
        **places("mart_route_rolling_7d", *days(DAYS[25], min(7, until))),
        **places("feat_departure_delay", *days(DAYS[26], min(7, until - 1))),
    }
