"""The year through Dagster, as ``selfheal demo`` runs it.

Belongs here: the instance and one range run per table. Does not belong here: the same without Dagster (``year``).
Invariant: the instance is persistent and set up by the project's own ``dagster.yaml``. It stands apart from ``year``
because importing Dagster would count in the memory of the other variants.
"""

import logging
from collections.abc import Sequence

from sh_assets.flights.feeds import DAYS
from sh_core.graph import Graph
from sh_defs.definitions import definitions
from sh_defs.home import dagster_instance, prepare_dagster_home
from sh_defs.running import run_table
from sh_resources.settings import Settings
from sh_resources.wiring import open_engine


def through_dagster(settings: Settings, graph: Graph, keys: Sequence[str]) -> None:
    """Every table of a graph, inputs first.

    Raises:
        AssertionError: If a run fails.
    """
    logging.getLogger("dagster").setLevel(logging.ERROR)
    home = prepare_dagster_home(settings)
    with dagster_instance(home) as instance:
        defs, engine = definitions(graph, settings), open_engine(settings, graph)
        for table in graph.tables:
            wanted = table.partitions.between(DAYS.value(keys[0]), DAYS.value(keys[-1]))
            due = list(engine.look(table.name, wanted).stale)  # not a month whose last day is not there
            if not all(run.success for run in run_table(instance, defs, table, due)):
                raise AssertionError(table.name)
