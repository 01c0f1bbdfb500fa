"""Lateness: what should be there and is not is noticed without anybody asking.

Belongs here: the sensor. Does not belong here: what is late (``sh_core.lateness``), incidents
(``sh_resources.overdue``), what is new since it was told (``sh_resources.on_time``). Invariant: it launches nothing; a
tick that is lost or comes twice, and a lost cursor, change no incident, and leave nothing untold.
"""

from collections.abc import Callable, Sequence

import dagster as dg

from sh_core.graph import Graph
from sh_resources.engine import Engine
from sh_resources.on_time import OnTime, Remark
from sh_resources.overdue import Kept, Watchman

EVERY_S = 30

Tell = Callable[[dg.DagsterInstance, Sequence[Remark], Graph], Sequence[dg.AssetCheckEvaluation]]
"""Remarks in Dagster's words, to be reported to an instance."""


def lateness(tell: Tell) -> dg.SensorDefinition:
    """The sensor that opens and closes incidents about what is late, and has Dagster's checks say so.

    Args:
        tell: Makes evaluations of remarks.
    """
    watching: list[OnTime] = []  # one per process: it remembers what has arrived

    @dg.sensor(
        minimum_interval_seconds=EVERY_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Opens an incident for each file that is late, closes it when the file comes, and tells both.",
        required_resource_keys={"engine"},
    )
    def lateness(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        """Keep incidents, and tell what has changed since it was told."""
        engine: Engine = context.resources.engine
        if not watching or watching[0].watchman.engine is not engine:
            watching[:] = [OnTime(Watchman(engine))]
        (on_time,) = watching
        kept = on_time.watchman.keep(engine.now_utc())
        remarks, cursor = on_time.changes(context.cursor, engine.now_utc())
        said = f"{_said(kept)} {len(remarks):,} results of checks are new."
        return dg.SensorResult(
            skip_reason=said, cursor=cursor, asset_events=tell(context.instance, remarks, engine.graph)
        )

    return lateness


def _said(kept: Kept) -> str:
    counts = {"opened": kept.opened, "closed": kept.closed, "withdrawn": kept.withdrawn, "left": kept.left}
    told = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    return f"Incidents about what is late: {told or 'none is new, none is over'}."
