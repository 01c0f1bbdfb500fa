"""Results of checks that no run has brought, for the same partition more than once.

Belongs here: ``make_room`` and the private part of Dagster's storage that it stands on. Does not belong here: which
results there are (``on_time``). Invariant: nothing is removed but what the results at hand are about to replace.

A result that a sensor reports belongs to no run. Dagster's table of results allows one row per check, run and
partition, no run being one of these; so whatever a sensor says of a partition for the second time ends in a
constraint's violation, and the daemon repeats that tick for ever. ``tests/graph/test_dagster_private.py`` says when a
release of Dagster no longer needs this. Results of runs have rows of their own and stay; the event log keeps all.
"""

from collections.abc import Sequence

import dagster as dg
from dagster._core.storage.event_log import SqlEventLogStorage
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable
from sqlalchemy import and_, delete, or_

TOGETHER = 100
"""Partitions named by one statement."""

NO_RUN = ""


def make_room(instance: dg.DagsterInstance, evaluations: Sequence[dg.AssetCheckEvaluation]) -> None:
    """Remove the results without a run that these are about to replace, from the index of results.

    Args:
        instance: Whose storage it is; one that is not kept in SQL is left as it is.
        evaluations: Of partitioned checks, to be reported next. If they are not, the next tick reports them.
    """
    storage, table = instance.event_log_storage, AssetCheckExecutionsTable
    if not isinstance(storage, SqlEventLogStorage) or not evaluations:
        return
    with storage.index_connection() as connection:
        for start in range(0, len(evaluations), TOGETHER):
            replaced = [
                and_(
                    table.c.asset_key == e.asset_key.to_string(),
                    table.c.check_name == e.check_name,
                    table.c.partition == e.partition,
                )
                for e in evaluations[start : start + TOGETHER]
            ]
            connection.execute(delete(table).where(table.c.run_id == NO_RUN, or_(*replaced)))
