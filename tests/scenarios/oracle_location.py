"""A code location whose tables are those written down in a file: an edit of the file and a new code server deploy them.

Everything is as in ``sh_defs.definitions`` but for the policy: whatever a killed process left undone is tried again
after seconds, so that a test need not wait for minutes, and as often as a test kills processes.
"""

import os
import pickle
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from sh_assets.deciding import WatchDecider
from sh_core.policy import Policy
from sh_core.watch import Watch
from sh_defs.definitions import definitions
from sh_drills.oracle.declared import graph_of
from sh_drills.oracle.shapes import Shape
from sh_resources.book import LedgerBook
from sh_resources.clock import SystemClock
from sh_resources.settings import load
from sh_resources.wiring import open_engine

POLICY = Policy(most_tries=50, first_pause_s=4.0, growth=1.0, sweep_s=1e9)
"""Nothing is looked at again merely because time has passed: what was missed is missed."""

FILE = "ORACLE_SHAPES"
"""Environment variable: where the tables are written down."""


def write_down(path: Path, shapes: Mapping[str, Shape]) -> None:
    """Edit the code."""
    new = path.with_suffix(".new")
    new.write_bytes(pickle.dumps(dict(shapes)))
    new.replace(path)


if FILE in os.environ:
    graph, settings, clock = graph_of(pickle.loads(Path(os.environ[FILE]).read_bytes())), load(), SystemClock()

    @cache
    def watch() -> Watch:
        """The watch of this process."""
        return Watch(graph, LedgerBook(open_engine(settings, graph), clock), POLICY)

    defs = definitions(graph, settings, decider=WatchDecider(watch, clock))
