"""Recovery: what a stopped process left half-done does not wait for somebody to ask for its partition.

Belongs here: the sensor. Does not belong here: how an intent is finished or discarded (``sh_resources.recovery``).
Invariant: it computes nothing and launches nothing; what another process is working on is left alone.
"""

import dagster as dg

from sh_resources.engine import Engine
from sh_resources.wiring import new_id

EVERY_S = 60


@dg.sensor(
    minimum_interval_seconds=EVERY_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Finishes or discards publications whose process stopped before it could confirm them.",
    required_resource_keys={"engine"},
)
def recovery(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Deal with every unconfirmed publication whose lease has run out."""
    engine: Engine = context.resources.engine
    dealt = {table: count for table, count in engine.recover(f"recovery:{new_id()}").items() if count}
    if not dealt:
        return dg.SkipReason("Nothing was left half-done.")
    where = ", ".join(f"{count} of {table}" for table, count in dealt.items())
    return dg.SkipReason(f"Finished or discarded what stopped processes had left half-done: {where}.")
