"""`selfheal run` and what another process works on.

The incident: nobody kept what was decided, so the update took a partition that somebody worked on for one with nothing
to do, and ended without it and without whatever reads it.
"""

from pathlib import Path

import pytest
from rich.console import Console

from sh_assets.flights.feeds import PLANES
from sh_core.partitions import WHOLE
from sh_defs.updating import update
from sh_drills.replay import Replay, land
from sh_resources.clock import SystemClock
from sh_resources.ledger import Ledger
from sh_resources.settings import load


@pytest.mark.slow
def test_an_update_waits_for_a_partition_that_somebody_works_on(tmp_path: Path) -> None:
    settings = load({"SELFHEAL_HOME": str(tmp_path)})
    path = settings.landing / PLANES.name / PLANES.expected_file(WHOLE)
    path.parent.mkdir(parents=True)
    land(path, Replay.load().snapshots[PLANES.name])
    with Ledger.open(settings.ledger_url) as ledger:
        # Whoever it is dies without giving it back; it runs out before an update stops waiting.
        assert ledger.leases.acquire("raw_planes", [WHOLE], "somebody", SystemClock().now_utc(), 12.0)
        with (tmp_path / "said").open("w") as said:
            update(settings, None, None, Console(file=said))
        for name in ("raw_planes", "stg_planes"):
            assert WHOLE in ledger.publications.current(name)
