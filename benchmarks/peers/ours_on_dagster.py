"""This project through Dagster: its sensor is asked, and what it requests runs as Dagster's runs, until it is quiet.

Belongs here: the loop of ``selfheal run``, counted. Does not belong here: the engine alone (``ours``), Dagster alone
(``on_dagster``). Invariant: as there, runs are made in this process, one after the other; queues, processes and the
daemon's second between two ticks are left out.
"""

import logging
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

from benchmarks.peers.ours import Ours
from sh_assets.dagster_private import ask_here
from sh_core.outcome import Outcome, Published
from sh_core.table import Table
from sh_defs.definitions import definitions
from sh_defs.home import dagster_instance, prepare_dagster_home
from sh_defs.running import run_table
from sh_resources.clock import SystemClock


class OursOnDagster(Ours):
    """The same state, with Dagster's storage beside it."""

    def __init__(self, folder: Path) -> None:
        """Open the state in a folder, new or not."""
        logging.getLogger("dagster").setLevel(logging.ERROR)
        super().__init__(folder)
        self._executed: dict[str, list[str]] = defaultdict(list)
        self._defs = definitions(self._graph, self._settings, self._note)
        self._instance = ExitStack().enter_context(dagster_instance(prepare_dagster_home(self._settings)))

    def _note(self, table: Table, outcome: Outcome) -> None:
        match outcome:
            case Published():
                self._executed[table.name].append(outcome.partition)
            case _:
                raise AssertionError(table.name, outcome)

    def _until_quiet(self) -> tuple[dict[str, tuple[str, ...]], int, int]:
        runs = ticks = 0
        self._engine.take_in(SystemClock().now_utc())
        while True:
            ticks += 1
            asked = {asset.path[0]: keys for asset, keys in ask_here(self._defs, self._instance).items()}
            if not asked:
                return {table: tuple(keys) for table, keys in self._executed.items()}, runs, ticks
            for table in (table for table in self._graph.tables if table.name in asked):
                runs += len(run_table(self._instance, self._defs, table, asked[table.name]))
