"""Arrivals: what has landed is taken in without anybody asking, and Dagster is told of it.

Belongs here: the sensor. Does not belong here: finding and archiving files (``sh_resources.intake``), how an arrival is
told (``sh_assets``), what follows from one (``sh_core.watch``: it makes its raw partition due). Invariant: it launches
nothing; a file that is missed once is found later, and so is an arrival that was recorded and not told, by whatever
process. The cursor is the number of the last arrival that was told; losing it costs looking at all of them once more.
"""

from collections.abc import Callable, Sequence

import dagster as dg

from sh_core.errors import FeedError
from sh_core.records import Arrival
from sh_resources.engine import Engine
from sh_resources.ledger import Ledger

EVERY_S = 2

MOST_TOLD = 200
"""Arrivals that one tick tells of; the others wait for the next ones."""

Untold = Callable[[dg.DagsterInstance, Ledger, Sequence[Arrival]], Sequence[dg.AssetMaterialization]]
"""Events of those arrivals of a ledger that Dagster was not told of."""


def arrivals_sensor(untold: Untold) -> dg.SensorDefinition:
    """The sensor.

    Args:
        untold: How arrivals are told.
    """

    @dg.sensor(
        minimum_interval_seconds=EVERY_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Takes in files that are new in the landing zone, or not those that were there a moment ago.",
        required_resource_keys={"engine"},
    )
    def arrivals(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        """Archive new files and record them; automation sees them at its next tick."""
        engine: Engine = context.resources.engine
        said = "Nothing new has landed."
        failed: FeedError | None = None
        try:
            if taken := engine.take_in(engine.today_utc(), everything=False):
                said = f"Taken in: {', '.join(f'{count} of {feed}' for feed, count in taken.items())}."
        except FeedError as error:
            failed, said = error, str(error)
        last = int(context.cursor or 0)
        came = engine.ledger.arrivals.since(last, MOST_TOLD)
        events = untold(context.instance, engine.ledger, came)
        if failed is not None and not events:
            raise failed  # one feed's trouble must not keep the others' arrivals from being told
        cursor = str(came[-1].id) if came else context.cursor
        return dg.SensorResult(skip_reason=said, asset_events=events, cursor=cursor)

    return arrivals
