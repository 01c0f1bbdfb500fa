"""Tidying every day: files that nothing can return to do not wait for somebody to run out of disk.

Belongs here: the job and its schedule. Does not belong here: what can go (``sh_resources.tidying``). Invariant: it
computes and publishes nothing; a run that was killed is made up for by the next.
"""

from collections import Counter

import dagster as dg

from sh_resources.engine import Engine
from sh_resources.tidying import disagreements
from sh_resources.wiring import new_id

DAILY = "17 3 * * *"
"""At 03:17 UTC: at a time of its own, when most days' files have come and been worked on."""


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
    if wrong:
        raise dg.Failure("After tidying, Delta and the ledger disagree: " + "; ".join(wrong[:5]), allow_retries=False)


@dg.job(
    description="Removes what nothing can return to any more; selfheal tidy --dry-run lists it.",
    executor_def=dg.in_process_executor,
)
def tidy() -> None:
    """Remove what nothing can return to."""
    remove_what_nothing_returns_to()


tidying = dg.ScheduleDefinition(
    job=tidy,
    cron_schedule=DAILY,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Once a day; what it removes is older than 30 days, or was never published.",
)
