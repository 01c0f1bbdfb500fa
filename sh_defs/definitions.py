"""Dagster's definitions: what ``dagster dev`` and ``dg`` load.

Belongs here: which tables, which state folder, and how the two meet. Does not belong here: the shape of assets
(``sh_assets``). Invariant: loading touches no state; folders and the ledger are made when a run or tick needs them.
"""

from collections.abc import Sequence
from functools import cache
from importlib import import_module

import dagster as dg

from sh_assets.build import ENGINE, OnOutcome, build
from sh_core.errors import DeclarationError, SettingsError
from sh_core.graph import Graph
from sh_core.table import Table
from sh_resources import settings as environment
from sh_resources.engine import Engine
from sh_resources.settings import Settings
from sh_resources.store import Store
from sh_resources.wiring import open_engine
from sh_sensors.recovery import recovery


@dg.definitions
def defs() -> dg.Definitions:
    """What the environment names: the tables of ``SELFHEAL_TABLES`` with their state in ``SELFHEAL_HOME``."""
    settings = environment.load()
    return definitions(declared_graph(settings.tables_module), settings)


def definitions(graph: Graph, settings: Settings, on_outcome: OnOutcome | None = None) -> dg.Definitions:
    """Everything that Dagster needs to know of a graph.

    Args:
        graph: The declared tables.
        settings: Where their state is.
        on_outcome: Told what became of each partition, in the process that computes it.
    """
    store = Store(settings.home, graph)

    @cache
    def engine() -> Engine:
        return open_engine(settings, graph)

    return dg.Definitions(
        assets=build(graph, lambda table: store.table(table).folder, on_outcome),
        sensors=[recovery],
        resources={
            ENGINE: dg.ResourceDefinition(lambda _: engine(), description="One per process; holds the ledger open.")
        },
        # One process per run: Polars uses every core by itself, and a step costs nothing to start.
        executor=dg.in_process_executor,
    )


def declared_graph(module: str) -> Graph:
    """The graph that a module declares as ``TABLES``.

    Raises:
        SettingsError: If there is no such module, or it has no ``TABLES``.
        DeclarationError: If the tables contradict each other.
    """
    try:
        found = import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # something that the module itself imports
        msg = f"SELFHEAL_TABLES is {module!r}, but there is no module {error.name!r}: name one that can be imported"
        raise SettingsError(msg) from error
    tables = getattr(found, "TABLES", None)
    if not isinstance(tables, Sequence) or not tables:
        msg = f"SELFHEAL_TABLES is {module!r}, which declares no TABLES: add TABLES = (raw_…, stg_…), inputs included"
        raise SettingsError(msg)
    strange = [item for item in tables if not isinstance(item, Table)]
    if strange:
        msg = f"{module}.TABLES holds {strange[0]!r}, which is no table: use @table or raw_table(feed)"
        raise DeclarationError(msg)
    return Graph.of(tables)
