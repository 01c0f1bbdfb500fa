"""Late files under Dagster's real daemon, on a calendar that the test puts where it wants.

The incidents: the daemon is down when a file becomes late, and nobody notices; it is down when the file lands, and the
placeholder stays; the calendar of a replay is that of one process only.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import dagster as dg
import pytest

from sh_core.feed import Feed
from sh_defs.home import prepare_dagster_home
from sh_drills.replay import land
from sh_resources.clock import ReplayCalendar, SystemClock
from sh_resources.engine import Engine
from sh_resources.settings import Settings, load
from sh_resources.wiring import open_engine
from tests.daemon import Services, running, under_way
from tests.late import GRAPH, MONDAY, SALES, TUESDAY, VISITS, WEDNESDAY, at, sales, visits

pytestmark = [pytest.mark.slow]

HEALED_S = 300.0


@dataclass
class Bench:
    """The shop under a daemon.

    Attributes:
        settings: Where its state is.
        services: The processes.
        engine: To look with.
    """

    settings: Settings
    services: Services
    engine: Engine

    def land(self, feed: Feed, day: str, content: bytes) -> None:
        folder = self.settings.landing / feed.name
        folder.mkdir(parents=True, exist_ok=True)
        land(folder / feed.expected_file(day), content)

    def put(self, now_utc: datetime) -> None:
        ReplayCalendar(self.settings.calendar).put(now_utc)

    def marked(self, table: str) -> list[str]:
        """Partitions that rest on placeholders."""
        found = self.engine.ledger.publications.current(table)
        return sorted(key for key, snapshot in found.items() if snapshot.version.marks)

    def euros(self, table: str) -> dict[str, int]:
        rows = self.engine.store.published(GRAPH[table]).collect()
        return {str(row["date"]): row["euros"] for row in rows.sort("date").to_dicts()}

    def until(self, holds: object, what: str) -> None:
        assert callable(holds)
        self.services.wait_for(holds, HEALED_S, what)

    def quiet(self, instance: dg.DagsterInstance) -> bool:
        return not under_way(instance)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    told = {"SELFHEAL_HOME": str(tmp_path / "state"), "SELFHEAL_TABLES": "tests.late"}
    settings = load(told)
    settings.landing.mkdir(parents=True)
    prepare_dagster_home(settings)
    engine = open_engine(settings, GRAPH, clock=SystemClock())
    services = Services(settings.dagster_home, "sh_defs.definitions", told)
    found = Bench(settings, services, engine)
    found.put(at(TUESDAY, 4))
    found.land(SALES, MONDAY, sales(MONDAY, 10, 20))
    found.land(VISITS, MONDAY, visits(3))
    with running(services):
        yield found
    engine.ledger.close()


def test_down_while_a_file_becomes_late_and_down_while_it_lands(bench: Bench) -> None:
    bench.until(lambda: MONDAY in bench.euros("feat_trend"), "Monday")
    bench.services.kill("daemon")
    bench.put(at(WEDNESDAY, 5, 31))
    bench.services.start()
    bench.until(lambda: bench.marked("mart_trend") == [TUESDAY], "a placeholder for Tuesday")
    assert bench.euros("mart_trend") == {MONDAY: 30, TUESDAY: 60}
    assert TUESDAY not in bench.euros("feat_trend")

    bench.services.kill("daemon")
    bench.land(SALES, TUESDAY, sales(TUESDAY, 7))
    bench.services.start()
    bench.until(lambda: TUESDAY in bench.euros("feat_trend"), "the truth")
    with bench.services.instance() as instance:
        bench.until(lambda: bench.quiet(instance), "the end of all runs")
    assert bench.marked("mart_trend") == bench.marked("stg_sales") == []
    assert bench.euros("mart_trend") == {MONDAY: 30, TUESDAY: 37}
    executed = {
        name: [t.attempt.partition for t in bench.engine.ledger.publications.log(name, limit=100)]
        for name in ("raw_sales", "stg_sales", "mart_sales", "mart_trend", "feat_trend")
    }
    assert {name: sorted(keys) for name, keys in executed.items()} == {
        "raw_sales": [MONDAY, TUESDAY],
        "stg_sales": [MONDAY, TUESDAY, TUESDAY],
        "mart_sales": [MONDAY, TUESDAY, TUESDAY],
        "mart_trend": [MONDAY, TUESDAY, TUESDAY],
        "feat_trend": [MONDAY, TUESDAY],
    }
