"""Asking why: what was requested of partitions, by whom and for what reasons, as plain JSON values.

Belongs here: finding requests by partition or by who asked. Does not belong here: explaining a reason (``explaining``,
``reasons``). Invariant: reads only; what is told is what was noted before the request was made.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from dagster import DagsterInstance

from sh_core.errors import SelfHealError
from sh_core.staleness import Stale
from sh_defs.facts.explaining import explain
from sh_defs.facts.reasons import reason_facts
from sh_resources.engine import Engine
from sh_resources.ledger.requests import Requested

Facts = dict[str, Any]

EVALUATION_TAG = "dagster/asset_evaluation_id"
"""Where Dagster keeps, with a backfill or run, which evaluation of automation has requested it."""


class UnknownBackfillError(SelfHealError):
    """A backfill that Dagster does not know, or that nobody but a person has asked for."""


def evaluation_of(instance: DagsterInstance, backfill: str) -> str:
    """The evaluation of automation that requested a backfill.

    Raises:
        UnknownBackfillError: If there is no such backfill, or automation has not requested it.
    """
    found = instance.get_backfill(backfill)
    if found is None:
        raise UnknownBackfillError(f"Dagster knows no backfill {backfill!r}; its web interface lists them")
    evaluation = found.tags.get(EVALUATION_TAG)
    if evaluation is None:
        msg = f"backfill {backfill} was not requested by automation: a person launched it, for reasons of their own"
        raise UnknownBackfillError(msg)
    return evaluation


def of_partition(engine: Engine, table: str, partition: str | None, limit: int) -> Facts:
    """What was requested of a table, or of one partition of it, newest first."""
    found = engine.ledger.requests.of(table, partition, limit=limit + 1)
    what = table if partition is None else f"{table} {partition}"
    nothing = f"Nothing was ever requested of {what} by automation or a repair. selfheal show has its history."
    return {**_told(engine, found[:limit], nothing), "more": len(found) > limit}


def by_somebody(engine: Engine, asked_by: str) -> Facts:
    """What somebody asked for, in order."""
    nothing = f"No request of {asked_by.replace(':', ' ')} is noted: either it asked for nothing, or there was none."
    return {**_told(engine, engine.ledger.requests.by(asked_by), nothing), "more": False}


def _told(engine: Engine, found: Sequence[Requested], nothing: str) -> Facts:
    known = [r for r in found if r.table in engine.graph]
    details = explain(engine, ((r.table, r.partition, Stale(r.trace, r.reasons)) for r in known))
    return {
        "nothing": nothing,
        "requests": [
            {
                "at_utc": at_utc.isoformat(),
                "asked_by": by,
                "partitions": [
                    {
                        "table": r.table,
                        "partition": r.partition,
                        "status": "requested",
                        "trace": r.trace,
                        "reasons": [reason_facts(reason, details.get(reason), r.partition) for reason in r.reasons],
                    }
                    for r in asked
                ],
            }
            for (at_utc, by), asked in groupby(found, key=lambda r: (r.at_utc, r.asked_by))
        ],
    }
