"""From a graph of tables to Dagster assets.

Belongs here: one asset per table and feed, and what its body does. Does not belong here: what Dagster is told
(``describing``, ``telling``, ``wording``), computing (the engine). Invariant: a body asks the engine and tells Dagster,
chunk by chunk; it decides nothing.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import dagster as dg

from sh_assets import on_time, staleness, telling, wording
from sh_assets.dagster_health import LEASES_TAG, lease_owner
from sh_assets.dagster_private import let_downstream_run
from sh_assets.describing import describe_checks, describe_feed, describe_table
from sh_core.errors import RollbackError
from sh_core.graph import Graph
from sh_core.outcome import Outcome
from sh_core.partitions import Unpartitioned
from sh_core.table import Table
from sh_resources.engine import CHUNK, Engine
from sh_resources.rollback import Wish

ENGINE = "engine"
"""Resource key of the ``Engine``."""

FORCE_TAG = "selfheal/force"
"""Run tag that, set to ``true``, has every requested partition computed, also where nothing changed."""

ROLLBACK_TAG = "selfheal/rollback"
"""Run tag that has the one requested partition returned to earlier content: how the attempt id or version of a snapshot
begins, or ``PREVIOUS``."""

PREVIOUS = "previous"
"""For a rollback, the newest earlier content that was not rolled back itself."""

OnOutcome = Callable[[Table, Outcome], None]


class Request(dg.Config):
    """How a table is materialized."""

    force: bool = False
    """Compute also where nothing changed since the last time."""
    rollback: str = ""
    """Return the one requested partition to earlier content instead: how a snapshot's attempt id or version begins, or
    ``previous``."""
    made_by: str = ""
    """Of a rollback: who wants it."""
    why: str = ""
    """Of a rollback: for what reason."""


def build(
    graph: Graph, folder: Callable[[Table], Path], on_outcome: OnOutcome | None = None, *, automated: bool = False
) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """Every table and feed of a graph as an asset, with a check per rule.

    Args:
        graph: The declared tables.
        folder: Where a table's Delta files are.
        on_outcome: Told what became of each partition, before Dagster is.
        automated: Whether Dagster requests what is due; it takes the sensors of ``automation`` to do so.

    Returns:
        Definitions that need an ``Engine`` as the resource ``engine``. The checks of feeds are in ``checks``.
    """
    feeds = [describe_feed(t.feed) for t in graph.tables if t.feed is not None]
    specs = {t: describe_table(t, graph, folder(t), automated=automated) for t in graph.tables}
    return [*feeds, *(_asset(table, graph, spec, on_outcome) for table, spec in specs.items())]


def checks(graph: Graph) -> list[dg.AssetChecksDefinition]:
    """Whether the files of feeds are there in time, for each feed that owes them."""
    return [on_time.check(feed, ENGINE) for feed in graph.feeds if feed.due is not None]


def _asset(table: Table, graph: Graph, spec: dg.AssetSpec, on_outcome: OnOutcome | None) -> dg.AssetsDefinition:
    @dg.multi_asset(
        name=table.name,
        specs=[spec],
        check_specs=describe_checks(table, graph),
        can_subset=True,  # checks can be deselected, and run alone
        backfill_policy=dg.BackfillPolicy.single_run(),
        required_resource_keys={ENGINE},
        op_tags={LEASES_TAG: "true"},
    )
    def body(context: dg.AssetExecutionContext, config: Request):  # noqa: ANN202  # Dagster reads the annotation
        engine: Engine = getattr(context.resources, ENGINE)
        if not context.selected_asset_keys:
            told = telling.recorded(_partitions(context, table), table, engine.ledger)
            telling.tell(context, table, told, {}, engine)
            telling.tell_on_time(context, table, _partitions(context, table), engine)
            return
        to = config.rollback or context.run.tags.get(ROLLBACK_TAG)
        if to:
            failed = _roll_back(context, engine, table, on_outcome, Wish(None if to == PREVIOUS else to, *_who(config)))
            if failed:
                raise wording.failure(table, failed, 1)
            yield let_downstream_run(context)
            return
        force = config.force or context.run.tags.get(FORCE_TAG) == "true"
        failed = _materialize(context, engine, table, on_outcome, force=force)
        if failed:
            raise wording.failure(table, failed, len(_partitions(context, table)))
        yield let_downstream_run(context)

    return body


def _who(config: Request) -> tuple[str, str]:
    return config.made_by or "a run in Dagster", config.why


def _roll_back(
    context: dg.AssetExecutionContext, engine: Engine, table: Table, on_outcome: OnOutcome | None, wish: Wish
) -> Sequence[Outcome]:
    """Return the requested partition to earlier content and tell Dagster; returns it if that could not be done."""
    keys = _partitions(context, table)
    if len(keys) != 1:
        said = f"A rollback is of one partition; this run was asked for {len(keys):,}. Launch it for one of them."
        raise dg.Failure(said, allow_retries=False)
    tags = staleness.input_tags(context.instance, table, engine.graph, keys)
    try:
        outcome = engine.rollback(table.name, keys[0], wish, run_id=lease_owner(context.run.run_id, table.name))
    except RollbackError as refused:
        raise dg.Failure(str(refused), allow_retries=False) from None
    if on_outcome is not None:
        on_outcome(table, outcome)
    telling.tell(context, table, telling.settled([outcome], table, engine.ledger), tags, engine)
    telling.tell_on_time(context, table, keys, engine)
    context.log.info("%s: %s", table.name, wording.word(outcome))
    return wording.not_published([outcome])


def _partitions(context: dg.AssetExecutionContext, table: Table) -> Sequence[str]:
    if isinstance(table.partitions, Unpartitioned):
        return table.partitions.keys()
    return [str(key) for key in context.partition_keys]  # Dagster's keys of two dimensions are texts of its own kind


def _materialize(
    context: dg.AssetExecutionContext, engine: Engine, table: Table, on_outcome: OnOutcome | None, *, force: bool
) -> Sequence[Outcome]:
    """Bring the requested partitions up to date and tell Dagster; returns those that were not published."""
    counts, failed = Counter[str](), list[Outcome]()
    rest = iter(_partitions(context, table))
    while keys := list(islice(rest, CHUNK)):
        tags = staleness.input_tags(context.instance, table, engine.graph, keys)
        owner = lease_owner(context.run.run_id, table.name)
        outcomes = list(engine.materialize(table.name, keys, run_id=owner, force=force))
        if on_outcome is not None:
            for outcome in outcomes:
                on_outcome(table, outcome)
        told = telling.settled(outcomes, table, engine.ledger)
        telling.tell(context, table, told, tags, engine)
        telling.tell_on_time(context, table, keys, engine)
        counts.update(wording.word(o) for o in outcomes)
        failed += wording.not_published(outcomes)
    context.log.info("%s: %s", table.name, wording.summary(counts))
    return failed
