"""Arrivals: what has landed is taken in without anybody asking.

Belongs here: the sensor. Does not belong here: finding and archiving files (``sh_resources.landing``), what follows
from them (``sh_core.watch``: an arrival makes its raw partition due). Invariant: it launches nothing; a file that is
missed once is found the next time.
"""

import dagster as dg

from sh_resources.clock import SystemClock
from sh_resources.engine import Engine

EVERY_S = 2


@dg.sensor(
    minimum_interval_seconds=EVERY_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Takes in files that are new in the landing zone, or not those that were there a moment ago.",
    required_resource_keys={"engine"},
)
def arrivals(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Archive new files and record them; automation sees them at its next tick."""
    engine: Engine = context.resources.engine
    taken = engine.take_in(SystemClock().now_utc(), everything=False)
    if not taken:
        return dg.SkipReason("Nothing new has landed.")
    return dg.SkipReason(f"Taken in: {', '.join(f'{count} of {feed}' for feed, count in taken.items())}.")
