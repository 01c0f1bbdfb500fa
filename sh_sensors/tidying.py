"""Tidying every day: files that nothing can return to do not wait for somebody to run out of disk.

Belongs here: the job, and the sensor that asks for it once a day. Does not belong here: what can go
(``sh_resources.tidying``). Invariant: it computes and publishes nothing; a run that was killed is made up for by the
next; one day asks for one run, however often the sensor ticks.

A sensor and no schedule, and by the name of its job: this release of Dagster warns of its own doing whenever it loads a
schedule, or a sensor that holds a job with resources.
"""

from collections import Counter
from collections.abc import Iterator

import dagster as dg

from sh_resources.engine import Engine
from sh_resources.tidying import disagreements
from sh_resources.wiring import new_id

EVERY_S = 3600
"""Seconds between looks at the date."""


@dg.op(
    required_resource_keys={"engine"},
    description="Removes files that no reader sees, no rollback can return to and no run is about to publish.",
)
def remove_what_nothing_returns_to(context: dg.OpExecutionContext) -> None:
    """Tidy every table, and check that Delta and the ledger agree before and after."""
    engine: Engine = context.resources.engine
    run_id, wrong = f"tidy:{new_id()}", list[str]()
    for table in engine.graph.tables:
        before = set(disagreements(table, engine.store, engine.ledger, engine.now_utc()))
        files, size_bytes = Counter[str](), 0
        for swept in engine.tidier.tidy(table, run_id):
            files.update(file.kind.value for file in swept.files)
            size_bytes += sum(file.size_bytes for file in swept.files)
        if files:
            said = ", ".join(f"{n:,} {kind}" for kind, n in files.items())
            context.log.info("%s: removed %s; %s bytes", table.name, said, f"{size_bytes:,}")
        after = disagreements(table, engine.store, engine.ledger, engine.now_utc())
        for sentence in after:
            context.log.warning(sentence)
        wrong += [sentence for sentence in after if sentence not in before]
    forgotten = engine.tidier.forget()
    if forgotten:
        context.log.info("removed %s old requests from the ledger", f"{forgotten:,}")
    if wrong:
        raise dg.Failure("After tidying, Delta and the ledger disagree: " + "; ".join(wrong[:5]), allow_retries=False)


@dg.job(
    description="Removes what nothing can return to any more; selfheal tidy --dry-run lists it.",
    executor_def=dg.in_process_executor,
)
def tidy() -> None:
    """Remove what nothing can return to."""
    remove_what_nothing_returns_to()


@dg.sensor(
    job_name=tidy.name,
    minimum_interval_seconds=EVERY_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Once a day (UTC) removes files that nothing can return to; on the first day it only notes the date.",
    required_resource_keys={"engine"},
)
def tidying(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Ask for a tidying when a new day has begun since the last one."""
    engine: Engine = context.resources.engine
    today, last = engine.now_utc().date().isoformat(), context.cursor
    context.update_cursor(today)
    if last is None or last == today:
        yield dg.SkipReason("The next tidying is due tomorrow (UTC).")
    else:
        yield dg.RunRequest(run_key=f"tidy-{today}")
