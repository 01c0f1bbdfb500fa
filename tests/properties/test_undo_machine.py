"""Any order of deliveries, runs, forced runs, rollbacks and tidyings, against a model that knows nothing of traces.

The incident: the fifth rollback of a bad day, after two redeliveries and a tidying, shows content that somebody had
taken back before; or leaves rows that nobody can account for, or offers a snapshot whose file is gone.
"""

import shutil
import tempfile
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sh_core.errors import RollbackError
from sh_core.outcome import Outcome, Published, Reused, Withheld
from sh_core.records import Snapshot
from sh_core.rollback import returnable
from sh_resources.clock import ManualClock
from sh_resources.rollback import Wish
from sh_resources.tidying import disagreements
from tests.conftest import MEMORY
from tests.little import DAYS, GRAPH, NAMES, NOON, deliver, engine_at

ONE = DAYS.keys()[0]
RAW, STAGED, _ = NAMES
CONTENTS = {
    "x": (("a", 1, 1.0), ("b", 1, 2.0)),
    "y": (("a", 1, 3.0), ("b", 1, 1000.0)),
    "z": (("c", 1, 5.0), ("c", 1, 5.0)),
}
File = tuple[str, bool]
"""Which content, and whether its rows come in reverse: other bytes with the same content."""
files = st.tuples(st.sampled_from(sorted(CONTENTS)), st.booleans())


def bytes_of(file: File) -> tuple[tuple[object, ...], ...]:
    """Rows of a file, in order; in reverse, equal rows are the same bytes."""
    rows = CONTENTS[file[0]]
    return rows[::-1] if file[1] else rows


@dataclass
class Model:
    """What a person who takes notes knows of the raw table's day.

    Attributes:
        delivered: The file in the landing zone.
        settled: The file that was last decided upon.
        published: Every content ever published, with the file that it was last found in; the last one shows.
        barred: Content that was taken back, with the file that it had come in.
    """

    delivered: File | None = None
    settled: tuple[object, ...] | None = None
    published: list[tuple[str, tuple[object, ...]]] = field(default_factory=list)
    barred: list[tuple[str, tuple[object, ...]]] = field(default_factory=list)

    def run(self, *, force: bool) -> type[Outcome]:
        assert self.delivered is not None
        content, file = self.delivered[0], bytes_of(self.delivered)
        if not force and (file == self.settled or file in [f for _, f in self.barred]):
            return Reused
        self.settled = file
        if content in [c for c, _ in self.barred]:
            return Withheld
        if self.published and self.published[-1][0] == content:
            self.published[-1] = (content, file)
        else:
            self.published.append((content, file))
        return Published

    def roll_back(self, to: int) -> None:
        bad, good = self.published[-1], self.published[to]
        self.barred = [*(b for b in self.barred if b[0] != good[0]), bad]
        self.published.append(good)
        self.settled = good[1]


class Undoing(RuleBasedStateMachine):
    """What readers see is what the model says; the ledger, Delta and the files agree; every row is accounted for."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(prefix="undoing-", dir=MEMORY if MEMORY.is_dir() else None))
        self.clock = ManualClock(NOON)
        self.engine = engine_at(self.home, self.clock)
        self.model = Model()
        self.tidied = False

    @rule(file=files)
    def a_file_lands(self, file: File) -> None:
        """Whatever was there before."""
        deliver(self.home, ONE, bytes_of(file))
        self.model.delivered = file
        self.everything_runs(force=False)

    @rule(force=st.booleans())
    def everything_runs(self, force: bool) -> None:
        """Quiet afterwards: nothing is due."""
        self.clock.sleep(60)
        if self.model.delivered is None:
            return
        expected = self.model.run(force=force)
        for name in NAMES:
            (outcome,) = self.engine.materialize(name, [ONE], run_id="run", force=force)
            assert name != RAW or isinstance(outcome, expected), f"{outcome} instead of {expected}"
        for name in NAMES:
            assert self.engine.look(name, [ONE]).stale == {}, f"{name} is due again"

    @rule(choice=st.integers(0, 9), named=st.booleans())
    def somebody_rolls_back(self, choice: int, named: bool) -> None:
        """To what is newest, or to one of those that are offered."""
        self.clock.sleep(60)
        history = self.engine.ledger.publications.history(RAW, ONE)
        options = returnable(history, history[0]) if history else []
        to = options[choice % len(options)].attempt_id if named and options else None
        outcome = self._rolled_back(to)
        if outcome is None:
            assert to is None, "what is offered is refused"
            return
        if isinstance(outcome, Published):
            place = [s.attempt_id for s in reversed(history)].index(outcome.returned_to or "")
            self.model.roll_back(place)
        else:
            assert to is None, "what is offered is not what readers see"

    def _rolled_back(self, to: str | None) -> Outcome | None:
        try:
            return self.engine.rollback(RAW, ONE, Wish(to, "ada"), run_id="undo")
        except RollbackError:
            return None

    @rule(name=st.sampled_from(NAMES), keep_days=st.sampled_from([0, 1]), newest=st.integers(0, 2))
    def somebody_tidies(self, name: str, keep_days: int, newest: int) -> None:
        """Some hours later."""
        self.clock.sleep(7200)
        list(self.engine.tidier.tidy(GRAPH[name], "tidy", keep_days, newest))
        left = [s for s in self._history(name) if s.tidied_utc is None]
        if keep_days == 0 and left:
            assert len(self.engine.store.table(GRAPH[name]).found()) == len(left)
            barred = [bar.root for bar in self.engine.ledger.bars.standing(name).get(ONE, ())]
            assert len([s for s in left if s.version.root not in barred]) <= 1 + newest

    @rule()
    def a_day_goes_by(self) -> None:
        """Whatever was replaced grows older."""
        self.clock.sleep(timedelta(days=1).total_seconds())

    def _history(self, name: str) -> list[Snapshot]:
        return self.engine.ledger.publications.history(name, ONE)

    @invariant()
    def readers_see_what_was_published_last_and_not_taken_back(self) -> None:
        """Whole, and known to everybody."""
        rows = self.engine.store.published(GRAPH[RAW], [ONE]).collect()
        seen = sorted(zip(rows["sensor"], rows["value"].cast(float), strict=True)) if rows.height else None
        if self.model.published:
            content = self.model.published[-1][0]
            assert seen == sorted((sensor, value) for sensor, _, value in CONTENTS[content])
            assert content not in [c for c, _ in self.model.barred]
        else:
            assert seen is None
        barred = {bar.root for bar in self.engine.ledger.bars.standing(RAW).get(ONE, ())}
        assert len(barred) == len({c for c, _ in self.model.barred})

    @invariant()
    def nothing_is_lost(self) -> None:
        """Neither a row nor a file, and no two memories differ."""
        for account in self.engine.ledger.accounts("readings", RAW, STAGED):
            assert account.account.missing == 0
            assert account.is_read, "a file whose content was read before is not unread"
        for table in GRAPH.tables:
            assert disagreements(table, self.engine.store, self.engine.ledger, self.clock.now_utc()) == []
            assert self.engine.ledger.publications.unconfirmed(table.name) == []

    def teardown(self) -> None:
        """Give the memory back."""
        self.engine.ledger.close()
        shutil.rmtree(self.home)


TestUndoing = Undoing.TestCase
TestUndoing.settings = settings(max_examples=max(6, settings().max_examples // 8), stateful_step_count=25)
