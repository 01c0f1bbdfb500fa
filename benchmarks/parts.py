"""Timers put around functions of the product, to see which part of a run takes how long.

Belongs here: the timers, and which functions make up which part. Does not belong here: running anything.
Invariant: product code is not touched, and every moment of the thread that made the timers counts once: time in a timed
function called by a timed function is the inner one's, so the parts never add up to more than the whole.
"""

import functools
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any, ParamSpec, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")

Where = tuple[str, str]
"""Module and dotted name in it, such as ``("sh_resources.partition_files", "PartitionFiles.stage")``."""

ENGINE: Mapping[str, tuple[Where, ...]] = {
    "open": (("sh_resources.ledger", "Ledger.open"),),
    "ingest + archive": (
        ("sh_resources.landing", "LandingZone.delivered"),
        ("sh_resources.landing", "LandingZone.ingest"),
    ),
    "read raw CSV": (("sh_resources.computing", "read_raw"),),
    "read inputs": (
        ("sh_resources.inputs", "Sighting.load"),
        ("sh_resources.inputs", "look"),
    ),
    "look up": (("sh_resources.inputs", "pick"),),
    "transforms": (("sh_resources.computing", "_run"),),
    "conservation": (("sh_resources.computing", "not_conserved"), ("sh_resources.judging", "shares_of")),
    "references": (("sh_resources.computing", "unmatched"),),
    "traces": (("sh_resources.inputs", "Sighting.reads"), ("sh_resources.engine", "code_version")),
    "gate": (("sh_resources.judging", "judge_partitions"),),
    "hashing": (("sh_resources.judging", "_versions"),),
    "Parquet staging": (("sh_resources.partition_files", "PartitionFiles.stage"),),
    "quarantine": (("sh_resources.publisher", "Publisher._set_aside"),),
    "Delta log": tuple(
        ("sh_resources.delta", f"PartitionedDelta.{name}") for name in ("prepare", "state", "commit", "burn")
    ),
    "ledger": tuple(
        (f"sh_resources.ledger.{module}", f"{owner}.{name}")
        for module, owner, names in (
            ("arrivals", "Arrivals", ("record", "current")),
            ("leases", "Leases", ("acquire", "release", "current")),
            (
                "publications",
                "Publications",
                ("intend", "confirm", "discard", "unconfirmed", "current", "versions", "settlements"),
            ),
            ("sources", "Sources", ("keep",)),
        )
        for name in names
    ),
    "between": (("sh_resources.engine", "Engine._settle"),),
}
"""Parts of a run of the engine; ``between`` is what it does itself between the others."""

DAGSTER: Mapping[str, tuple[Where, ...]] = {
    "Dagster definitions": (("sh_defs.definitions", "definitions"),),
    "Dagster events": (
        ("sh_assets.staleness", "input_tags"),
        *(("sh_assets.telling", name) for name in ("settled", "tell")),
    ),
    "Dagster runs": (("sh_defs.running", "run_here"),),
}
"""What comes on top of it through Dagster: our events of each partition, and everything else that Dagster does."""

WHOLE = frozenset({"open", "quarantine"})
"""Parts that keep what they call, staging and commits included."""

STEPS: Mapping[str, tuple[Where, ...]] = {
    "lease": (("sh_resources.ledger.leases", "Leases.acquire"), ("sh_resources.ledger.leases", "Leases.release")),
    "look": (("sh_resources.delta", "PartitionedDelta.prepare"),),
    "stage": (("sh_resources.partition_files", "PartitionFiles.stage"),),
    "intend": (("sh_resources.ledger.publications", "Publications.intend"),),
    "quarantine": (("sh_resources.publisher", "Publisher._set_aside"),),
    "commit": (("sh_resources.delta", "PartitionedDelta.commit"),),
    "confirm": (("sh_resources.ledger.publications", "Publications.confirm"),),
}
"""Steps of one publish. What is in none of them is preparing, computing, judging and hashing."""


class Parts:
    """Seconds and CPU seconds per part, counted in the thread that made it; CPU is that of all threads meanwhile."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.cpu_s: dict[str, float] = defaultdict(float)
        self._thread = threading.get_ident()
        self._running: list[str] = []
        self._since = self._cpu_since = 0.0

    def _switch(self) -> None:
        now, cpu = time.perf_counter(), time.process_time()
        if self._running:
            self.seconds[self._running[-1]] += now - self._since
            self.cpu_s[self._running[-1]] += cpu - self._cpu_since
        self._since, self._cpu_since = now, cpu

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the block as this part, unless it runs inside one of ``WHOLE`` or in another thread."""
        if threading.get_ident() != self._thread or (self._running and self._running[-1] in WHOLE):
            yield
            return
        self._switch()
        self._running.append(name)
        try:
            yield
        finally:
            self._switch()
            self._running.pop()

    def watch(self, parts: Mapping[str, tuple[Where, ...]]) -> None:
        """Put timers around functions, for the rest of this process.

        Raises:
            AttributeError: If the product no longer has one of them under that name.
        """
        for name, functions in parts.items():
            for module, path in functions:
                self._wrap(module, path, name)

    def _wrap(self, module: str, path: str, part: str) -> None:
        *owners, attribute = path.split(".")
        owner: Any = functools.reduce(getattr, owners, import_module(module))
        plain = vars(owner)[attribute] if isinstance(owner, type) else getattr(owner, attribute)
        if isinstance(plain, classmethod):
            setattr(owner, attribute, classmethod(self._timed(plain.__func__, part)))
        else:
            setattr(owner, attribute, self._timed(plain, part))

    def _timed(self, plain: Callable[_P, _R], part: str) -> Callable[_P, _R]:
        @functools.wraps(plain)
        def timed(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            with self.part(part):
                return plain(*args, **kwargs)

        return timed
