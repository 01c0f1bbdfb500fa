"""`selfheal run` and what another process works on.

The incident: nobody kept what was decided, so the update took a partition that somebody worked on for one with nothing
to do, and ended without it and without whatever reads it.
"""

from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console
from sqlalchemy import select

from sh_assets import automation
from sh_assets.flights.feeds import AIRLINES, PLANES
from sh_core.feed import Feed
from sh_core.partitions import WHOLE
from sh_defs.updating import update
from sh_drills.replay import Replay, land
from sh_resources.clock import SystemClock
from sh_resources.ledger import Ledger
from sh_resources.ledger.schema import requests
from sh_resources.settings import Settings, load


def deliver(settings: Settings, feed: Feed) -> None:
    path = settings.landing / feed.name / feed.expected_file(WHOLE)
    path.parent.mkdir(parents=True)
    land(path, Replay.load().snapshots[feed.name])


@pytest.mark.slow
def test_an_update_waits_for_a_partition_that_somebody_works_on(tmp_path: Path) -> None:
    settings = load({"SELFHEAL_HOME": str(tmp_path)})
    deliver(settings, PLANES)
    with Ledger.open(settings.ledger_url) as ledger:
        # Whoever it is dies without giving it back; it runs out before an update stops waiting.
        assert ledger.leases.acquire("raw_planes", [WHOLE], "somebody", SystemClock().now_utc(), 12.0)
        with (tmp_path / "said").open("w") as said:
            update(settings, None, None, Console(file=said))
        for name in ("raw_planes", "stg_planes"):
            assert WHOLE in ledger.publications.current(name)


@pytest.mark.slow
def test_waiting_for_one_sensors_tables_does_not_ask_anew_for_anothers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With more tables than one sensor has, only the last one's decision was looked at.

    While somebody worked on anything, what the others had asked for was noted five times a second and not run; and
    whoever then interrupted had partitions that had "failed too often" without a try.
    """
    monkeypatch.setattr(automation, "MOST", 4)
    settings = load({"SELFHEAL_HOME": str(tmp_path)})
    deliver(settings, PLANES)
    deliver(settings, AIRLINES)
    with Ledger.open(settings.ledger_url) as ledger:
        assert ledger.leases.acquire("raw_planes", [WHOLE], "somebody", SystemClock().now_utc(), 12.0)
        with (tmp_path / "said").open("w") as said:
            update(settings, None, None, Console(file=said))
        with ledger.requests._database.read() as connection:
            asked = Counter(connection.execute(select(requests.c.table_name)).scalars())
    assert asked["raw_airlines"] == asked["stg_airlines"] == 1
