"""Running: materializing a table in this process, as a run that the web interface shows like its own.

Belongs here: cutting a wish for partitions into runs. Does not belong here: what a run does (``sh_assets.build``).
Invariant: every wished partition is asked for in exactly one run.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import dagster as dg

from sh_assets.build import FORCE_TAG, ROLLBACK_TAG
from sh_assets.dagster_runs import run_here
from sh_assets.keys import table_key
from sh_core.partitions import Dimension, Multi, Partitions, Unpartitioned
from sh_core.table import Table

_FAILURES = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}

LOCATION = "selfheal"
"""Name of the code location, as in ``workspace.yaml``."""


@dataclass(frozen=True)
class Ran:
    """One run that is over.

    Attributes:
        run_id: Dagster's id.
        partitions: The partitions it was asked for, in order.
        success: Whether all of them are published.
    """

    run_id: str
    partitions: tuple[str, ...]
    success: bool


def run_table(
    instance: dg.DagsterInstance,
    defs: dg.Definitions,
    table: Table,
    partitions: Collection[str],
    *,
    force: bool = False,
) -> list[Ran]:
    """Materialize partitions of one table and keep the runs in Dagster's storage.

    Dagster names the partitions of a run by the first and the last, so each span without gaps takes a run of its own;
    of two dimensions, each rectangle.

    Args:
        instance: Where the runs are kept.
        defs: From ``sh_defs.definitions``, holding the table.
        table: The table.
        partitions: Partition keys.
        force: Compute also where nothing changed.

    Returns:
        One entry per run. A run fails if one of its partitions was not published; the others of it are, all the same.

    Raises:
        DeclarationError: If a partition does not exist; nothing was run then.
    """
    for key in partitions:
        table.partitions.check(key)
    extra = {FORCE_TAG: "true"} if force else {}
    runs = []
    for span in spans(table.partitions, partitions):
        run = run_here(instance, defs, table_key(table.name), {**_tags(table.partitions, span), **extra}, LOCATION)
        runs.append(Ran(run.run_id, span, run.success))
    return runs


def run_rollback(
    instance: dg.DagsterInstance,
    defs: dg.Definitions,
    table: Table,
    partition: str,
    to: str,
    *,
    made_by: str,
    why: str,
) -> Ran:
    """Return one partition to earlier content, as a run like any other.

    Args:
        instance: Where the run is kept.
        defs: From ``sh_defs.definitions``, holding the table.
        table: The table.
        partition: Partition key.
        to: How the snapshot's attempt id or root begins, or ``sh_assets.build.PREVIOUS``.
        made_by: Who wants it.
        why: For what reason.

    Returns:
        The run. It fails if the rollback was refused, or another run has the partition.
    """
    tags = {**_tags(table.partitions, [partition]), ROLLBACK_TAG: to}
    run = run_here(instance, defs, table_key(table.name), tags, LOCATION, {"made_by": made_by, "why": why})
    return Ran(run.run_id, (partition,), run.success)


def what_was_raised(instance: dg.DagsterInstance, run_id: str) -> str:
    """What a failed run says was raised, Dagster's own wrapping left out."""
    for record in instance.get_records_for_run(run_id, of_type=_FAILURES).records:
        event = record.event_log_entry.dagster_event
        data = event.event_specific_data if event is not None else None
        said = getattr(data, "user_failure_data", None)
        if said is not None and said.description:
            return str(said.description)
        error = getattr(data, "error", None)
        while error is not None and error.cause is not None and str(error.cls_name).startswith("Dagster"):
            error = error.cause
        if error is not None:
            return str(error.message).strip()
    return "its log does not say why"


def _tags(partitions: Partitions, span: Sequence[str]) -> dict[str, str]:
    if isinstance(partitions, Unpartitioned):
        return {}
    if len(span) == 1:
        return {"dagster/partition": span[0]}
    return {"dagster/asset_partition_range_start": span[0], "dagster/asset_partition_range_end": span[-1]}


def spans(partitions: Partitions, wanted: Collection[str]) -> Iterator[tuple[str, ...]]:
    """Wanted keys in order, cut where they are not neighbours: each span can be a run."""
    match partitions:
        case Unpartitioned():
            yield from [tuple(wanted)] if wanted else []
        case Multi():
            yield from _rectangles(partitions, wanted)
        case _:
            yield from _neighbours(partitions, wanted)


def _neighbours(partitions: Dimension, wanted: Collection[str]) -> Iterator[tuple[str, ...]]:
    numbers = {key: partitions.number(key) for key in wanted}
    span: list[str] = []
    for key in sorted(wanted, key=numbers.__getitem__):
        if span and numbers[key] != numbers[span[-1]] + 1:
            yield tuple(span)
            span = []
        span.append(key)
    if span:
        yield tuple(span)


def _rectangles(partitions: Multi, wanted: Collection[str]) -> Iterator[tuple[str, ...]]:
    """Keys of two dimensions as Dagster names them by a first and a last: every combination of two spans."""
    (first, outer), (second, inner) = partitions.of
    rows: dict[str, list[str]] = {}
    for pieces in map(partitions.pieces, wanted):
        rows.setdefault(pieces[first], []).append(pieces[second])
    alike: dict[tuple[str, ...], list[str]] = {}
    for key, row in rows.items():
        for span in _neighbours(inner, row):
            alike.setdefault(span, []).append(key)
    for span, keys in alike.items():
        for block in _neighbours(outer, keys):
            yield tuple(partitions.joined({first: a, second: b}) for a in block for b in span)
