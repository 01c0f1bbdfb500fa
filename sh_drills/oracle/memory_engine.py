"""An engine in memory: runs partitions the way the real engine does, in two steps between which anything may happen.

Belongs here: leases, looking at inputs once they are held, settling. Does not belong here: choosing what to run.
Invariant: as in the engine: what is computed is what the trace says; a partition whose trace is settled is not
executed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sh_core.records import Action
from sh_core.trace import Trace
from sh_drills.oracle.content import computed, judged
from sh_drills.oracle.memory_book import Content, Decided, MemoryBook, Place, periods, version_of
from sh_drills.oracle.shapes import KEY, Rows


@dataclass(frozen=True)
class Made:
    """A partition that was computed and not yet settled.

    Attributes:
        trace: From what.
        looked: Serial that was read before its inputs were.
        recipe: Recipe under which it was looked at.
        rows: What may be published; None if it is to be withheld.
    """

    trace: Trace
    looked: int
    recipe: int
    rows: Rows | None


@dataclass
class Run:
    """One run of some partitions of one table.

    Attributes:
        book: The facts, under the code with which it was started.
        table: Table.
        keys: Partitions that it was asked for.
        holder: Its name.
        made: What it has computed.
        reused: Partitions whose trace was settled when it looked.
        busy: Partitions that another one held.
        started: Whether it holds its leases; it is queued until then.
    """

    book: MemoryBook
    table: str
    keys: Sequence[str]
    holder: str
    made: dict[str, Made] = field(default_factory=dict)
    reused: list[str] = field(default_factory=list)
    busy: list[str] = field(default_factory=list)
    started: bool = False

    def start(self) -> None:
        """Take leases, look at inputs, compute."""
        self.started = True
        ledger, shape = self.book.ledger, self.book.shapes[self.table]
        held = [key for key in self.keys if ledger.leases.setdefault((self.table, key), self.holder) == self.holder]
        self.busy = [key for key in self.keys if key not in held]
        looked, recipe = ledger.serial, self.book.recipe(self.table)
        self.book.between()
        sight = self.book.see(self.table, held)
        for key in held:
            trace, before = sight.traces.get(key), ledger.decided.get(self.table, {}).get(key)
            if trace is None:
                continue
            if before is not None and before.trace.digest == trace.digest:
                self.reused.append(key)
                before.looked, before.recipe = max(before.looked, looked), recipe
                continue
            if key in sight.files:
                rows: Rows | None = tuple(sorted(sight.files[key].rows))
            else:
                handed = sight.handed(key)
                known = {row[KEY] for row in handed.get(f"@{shape.gate.refers}", ())}
                rows = judged(shape, computed(shape, handed), known)
            self.made[key] = Made(trace, looked, recipe, rows)

    def finish(self, executed: Callable[[Place, str], None]) -> None:
        """Settle what was computed and give leases back.

        Args:
            executed: Told of each partition that was executed, with its trace.
        """
        ledger, shape = self.book.ledger, self.book.shapes[self.table]
        table = self.book.graph[self.table]
        for key, made in self.made.items():
            content = None
            if made.rows is not None:
                version = version_of(shape.columns, made.rows, periods(table, key), keyed=shape.keyed)
                content = Content(made.rows, shape.columns, version, 0)
            before = ledger.contents.get(self.table, {}).get(key)
            if content is None:
                action = Action.WITHHOLD
            elif before is not None and before.version.root == content.version.root:
                action = Action.REFRESH
            else:
                action = Action.PUBLISH
            decided = Decided(made.trace, action, made.looked, made.recipe)
            ledger.settle(self.table, key, decided, content)
            executed((self.table, key), made.trace.digest)
        self.stop()

    def stop(self) -> None:
        """Give leases back without having settled anything more, as a crash does once they run out."""
        leases = self.book.ledger.leases
        for key in self.keys:
            if leases.get((self.table, key)) == self.holder:
                del leases[self.table, key]
