"""Undoing: rolling a partition back as a run of Dagster's, and tidying every table.

Belongs here: launching it, and counting what went. Does not belong here: what a rollback is
(``sh_resources.rollback``), what can go (``sh_resources.tidying``), how it looks. Invariant: a rollback is visible in
Dagster like any other run.
"""

import getpass
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

from sh_core.errors import RollbackError
from sh_core.outcome import Busy, Fenced, Outcome, Published
from sh_core.table import Table
from sh_defs.definitions import definitions
from sh_defs.home import dagster_instance, prepare_dagster_home
from sh_defs.progress import Tally, Watcher
from sh_defs.running import run_rollback, what_was_raised
from sh_resources.engine import Engine
from sh_resources.settings import Settings
from sh_resources.tidying import Removable, disagreements
from sh_resources.wiring import new_id

Facts = dict[str, Any]


def roll_back(settings: Settings, engine: Engine, table: Table, key: str, to: str, why: str) -> Facts:
    """Return a partition to a snapshot, in a run of this process that Dagster shows.

    Args:
        settings: Where the state is.
        engine: On that state.
        table: The table.
        key: Partition key.
        to: The snapshot's attempt id.
        why: For what reason.

    Returns:
        Whether it is done, and by which run.

    Raises:
        RollbackError: If it was refused; everything stays as it was.
    """
    told: list[Outcome] = []
    defs = definitions(engine.graph, settings, lambda _, outcome: told.append(outcome))
    with dagster_instance(prepare_dagster_home(settings)) as instance:
        ran = run_rollback(instance, defs, table, key, to, made_by=getpass.getuser(), why=why)
        if not told:
            raise RollbackError(what_was_raised(instance, ran.run_id))
    (outcome,) = told
    if isinstance(outcome, Busy | Fenced):
        msg = f"another run is working on {table.name} {key}: try again when it has ended; nothing changed"
        raise RollbackError(msg)
    return {"done": isinstance(outcome, Published), "run": ran.run_id}


def tidy_up(engine: Engine, watcher: Watcher, *, keep_days: float, keep_newest: int, dry_run: bool) -> Facts:
    """Remove what nothing can return to, table by table.

    Args:
        engine: On the state.
        watcher: Who is told how it goes on.
        keep_days: Days for which replaced snapshots are kept.
        keep_newest: Replaced snapshots of each partition that are kept anyway.
        dry_run: Whether to count only.

    Returns:
        Files and bytes by table and kind; how many requests went; what was left as busy; where Delta and the
        ledger disagree.
    """
    run_id, tables, busy, disagree = f"tidy:{new_id()}", list[Facts](), list[str](), list[str]()
    for table in engine.graph.tables:
        started = time.monotonic()
        disagree += disagreements(table, engine.store, engine.ledger, engine.now_utc())
        plan = engine.tidier.plan(table, keep_days, keep_newest)
        tally = Tally(len(plan.files))
        watcher.update(table.name, tally)
        went, left = list(plan.files), plan.busy
        if not dry_run:
            went, left = [], ()
            for swept in engine.tidier.tidy(table, run_id, keep_days, keep_newest):
                went += swept.files
                left += swept.busy
                tally.outcomes["removed"] += len(swept.files)
                watcher.update(table.name, tally)
            after = disagreements(table, engine.store, engine.ledger, engine.now_utc())
            disagree += [sentence for sentence in after if sentence not in disagree]
        if went:
            watcher.finish(table.name, tally, time.monotonic() - started)
            tables.append({"table": table.name, **_summed(went)})
        busy += [f"{name} {partition}" for name, partition in left]
    requests = engine.tidier.forget(keep_days, dry_run=dry_run)
    return {
        "dry_run": dry_run,
        "tables": tables,
        "files": sum(t["files"] for t in tables),
        "size_bytes": sum(t["size_bytes"] for t in tables),
        "requests": requests,
        "busy": busy,
        "disagree": disagree,
    }


def _summed(files: Iterable[Removable]) -> Facts:
    every = list(files)
    kinds = Counter(file.kind.value for file in every)
    return {
        "files": len(every),
        "size_bytes": sum(file.size_bytes for file in every),
        "kinds": dict(sorted(kinds.items())),
    }
