"""Dagster's daemon, looking round more often: ``python -m sh_defs.daemon run …`` instead of ``dagster-daemon run …``.

Belongs here: how often. Does not belong here: what it touches of Dagster (``dagster_daemon``), starting and ending it
(``serve``). Invariant: whatever it does, ``dagster-daemon`` does too, only later: in place of this one it may be run by
hand, or by whoever operates Dagster.
"""

import os
import sys

from sh_assets.dagster_daemon import run_daemon

SENSORS_EVERY_S = 1.0
"""Seconds between two looks for sensors to evaluate; Dagster's own daemon: 5."""

BACKFILLS_EVERY_S = 2.0
"""Seconds between two looks at each running backfill; Dagster's own daemon: 30. How often it looks at the queue of runs
stands in ``dagster.yaml``."""

if __name__ == "__main__":
    run_daemon(
        sys.argv[1:],
        sensors_every_s=float(os.environ.get("SELFHEAL_SENSORS_EVERY_S", SENSORS_EVERY_S)),
        backfills_every_s=float(os.environ.get("SELFHEAL_BACKFILLS_EVERY_S", BACKFILLS_EVERY_S)),
    )
