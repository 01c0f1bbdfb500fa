"""Dagster's definitions: what ``dagster dev`` and ``dg`` load.

Belongs here: the tables that the environment names, joined with their state folder. Does not belong here: the shape of
assets (``sh_assets``), finding and importing tables (``declaring``). Invariant: loading touches no state; folders and
the ledger are made when a run or tick needs them.
"""

from functools import cache

import dagster as dg

from sh_assets import on_time
from sh_assets.arriving import untold
from sh_assets.automation import Decider, sensors
from sh_assets.build import ENGINE, OnOutcome, build, checks
from sh_assets.deciding import WatchDecider
from sh_core.graph import Graph
from sh_core.watch import Watch
from sh_defs.declaring import declared_graph
from sh_resources import settings as environment
from sh_resources.book import LedgerBook
from sh_resources.clock import SystemClock
from sh_resources.engine import Engine
from sh_resources.settings import Settings
from sh_resources.store import Store
from sh_resources.wiring import open_engine
from sh_sensors.arrivals import arrivals_sensor
from sh_sensors.lateness import lateness
from sh_sensors.recovery import recovery
from sh_sensors.tidying import tidy, tidying


@dg.definitions
def defs() -> dg.Definitions:
    """What the environment names: the tables of ``SELFHEAL_TABLES`` with their state in ``SELFHEAL_HOME``."""
    settings = environment.load()
    return definitions(declared_graph(settings.tables_module), settings)


def definitions(
    graph: Graph, settings: Settings, on_outcome: OnOutcome | None = None, decider: Decider | None = None
) -> dg.Definitions:
    """Everything that Dagster needs to know of a graph.

    Args:
        graph: The declared tables.
        settings: Where their state is.
        on_outcome: Told what became of each partition, in the process that computes it.
        decider: Knows what is due, for Dagster to request it; None takes a watch of the ledger.
    """
    store, clock = Store(settings.home, graph), SystemClock()

    @cache
    def engine() -> Engine:
        return open_engine(settings, graph)

    @cache
    def watch() -> Watch:
        return Watch(graph, LedgerBook(engine(), clock))

    arrivals = arrivals_sensor(lambda instance, ledger, came: untold(instance, graph.feeds, ledger, came))
    tables = [table.name for table in graph.tables]
    return dg.Definitions(
        assets=build(graph, lambda table: store.table(table).folder, on_outcome, automated=True),
        asset_checks=checks(graph),
        jobs=[tidy],
        sensors=[
            arrivals,
            recovery,
            tidying,
            lateness(on_time.to_report),
            *sensors(tables, decider or WatchDecider(watch, clock)),
        ],
        resources={
            ENGINE: dg.ResourceDefinition(lambda _: engine(), description="One per process; holds the ledger open.")
        },
        # One process per run: Polars uses every core by itself, and a step costs nothing to start.
        executor=dg.in_process_executor,
    )
