"""What a contender is: something that builds the chain in a folder, and puts it right after a change.

Belongs here: the protocol, and what contenders in this environment share. Does not belong here: any contender.
Invariant: a contender runs in a process of its own, and the folder is all it has. Opening it is not timed.
"""

import importlib
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import polars as pl

from benchmarks.peers.changes import CHAIN
from sh_core.graph import Graph

Executed = Mapping[str, tuple[str, ...]]
"""Per table the partitions whose transform ran; one that ran twice is there twice."""


@dataclass(frozen=True)
class Done:
    """What putting things right took.

    Attributes:
        executed: What ran.
        seconds: From the moment that the contender can know of the change until it rests.
        cpu_s: CPU seconds of all threads meanwhile; they suffer less from other work on the machine.
        batches: Runs, or SQL statements that fill tables.
        ticks: Looks at whether there is anything to do, the last one, which finds nothing, included; 0 where a person
            launches.
    """

    executed: Executed
    seconds: float
    cpu_s: float
    batches: int
    ticks: int = 0


class Stopwatch:
    """Seconds and CPU seconds since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        """Both."""
        return time.perf_counter() - self._wall, time.process_time() - self._cpu


class Contender(Protocol):
    """One way of keeping the chain right."""

    def build(self) -> None:
        """Make every table from the files that have landed."""

    def repair(self) -> Done:
        """A change has just happened in the folder: do what this contender does about it, be it nothing at all."""

    def content(self, table: str) -> pl.DataFrame:
        """All rows that a reader of a table sees: its contract's columns."""


def chain_in(folder: Path) -> Graph:
    """The chain as the folder's code declares it."""
    sys.path.insert(0, str(folder / "project"))
    return Graph.of(importlib.import_module(CHAIN).TABLES)
