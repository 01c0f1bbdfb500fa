"""Repairing: carrying out a plan in this process, through Dagster, and nothing but the plan.

Belongs here: running a plan's steps hop by hop, and what became of each. Does not belong here: making the plan
(``facts.planning``), the loop (``healing``), what a terminal shows. Invariant: nothing is run that is no step of the
plan, or that turns out not to be due when its turn has come; and every step has one outcome.
"""

import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import dagster as dg

from sh_assets.wording import not_published, word
from sh_core.errand import Errand, Insistence, Insisting
from sh_core.mapping import mapped
from sh_core.outcome import Outcome, Waiting, Withheld, awaited
from sh_core.plan import Landed, Plan
from sh_core.policy import Policy
from sh_core.staleness import Stale
from sh_core.table import Table
from sh_core.watch import Decision, Watch
from sh_defs.definitions import definitions
from sh_defs.facts.saying import why
from sh_defs.healing import heal
from sh_defs.progress import Tally, Watcher
from sh_defs.running import run_table, what_was_raised
from sh_resources.book import LedgerBook
from sh_resources.clock import Clock
from sh_resources.engine import Engine
from sh_resources.settings import Settings

CUT_OFF, FAILED, LEFT, WAITING = "cut off", "failed", "left", "waiting"
"""Words for steps beside those for outcomes: nothing that it reads has changed; its run failed; not ours to do now; an
input is not there after all."""

_UNDONE = frozenset({FAILED, LEFT, "busy", "taken over"})
"""Words for what is still to be done."""

_NAMED = 3


def asked_by(repair: str) -> str:
    """Under which name a repair notes its requests."""
    return f"repair:{repair}"


@dataclass
class Repair:
    """One repair, and what it has done so far.

    Attributes:
        settings: Where the state is, and whose tables.
        engine: What the tables are computed with.
        instance: Where Dagster keeps its runs.
        clock: Time.
        watcher: Who is told how it goes on.
        stop_if_told: Raises where a person has interrupted; called between runs.
        patience_s: How long to wait for other processes, once there is nothing else to do.
        id: Its name in the ledger.
        became: What became of each step that was run, in a word or two, by table and partition.
        said: More about those that are not published.
        seconds: How long it took.
    """

    settings: Settings
    engine: Engine
    instance: dg.DagsterInstance
    clock: Clock
    watcher: Watcher
    stop_if_told: Callable[[], None]
    patience_s: float
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    became: dict[tuple[str, str], str] = field(default_factory=dict)
    said: dict[tuple[str, str], str] = field(default_factory=dict)
    seconds: float = 0.0
    _totals: Mapping[str, int] = field(default_factory=dict)
    _tallies: dict[str, Tally] = field(default_factory=dict)

    def carry_out(self, plan: Plan, insistence: Insistence) -> None:
        """Run the steps of a plan that are due when it is their turn.

        Args:
            plan: The plan.
            insistence: What a person insists on, as when the plan was made.
        """
        began, policy, by = time.monotonic(), Policy().without_bounds(), asked_by(self.id)
        book = LedgerBook(self.engine, self.clock)
        errand = Errand(Insisting(book, insistence, policy, self.clock.now_utc()), plan.steps)
        watch = Watch(self.engine.graph, errand, policy)
        self._totals = {table: len(keys) for table, keys in plan.steps.items()}
        for table, keys in _landed(plan).items():
            errand.look(table, keys)  # takes their files in
        defs = definitions(self.engine.graph, self.settings, self._on_outcome)

        def decide() -> Decision:
            self.stop_if_told()
            return watch.tick(self.clock.now_utc(), {}, by)

        def run(table: Table, due: Mapping[str, Stale]) -> None:
            self._run(defs, table, due)

        last = heal(self.engine.graph, decide, run, self.clock, patience_s=self.patience_s)
        self._note_rest(book, plan, last)
        self.seconds = time.monotonic() - began

    @property
    def counts(self) -> Mapping[str, int]:
        """How many steps became what."""
        return Counter(self.became.values())

    @property
    def is_done(self) -> bool:
        """Whether every step was decided about."""
        return not _UNDONE & set(self.became.values())

    def _run(self, defs: dg.Definitions, table: Table, due: Mapping[str, Stale]) -> None:
        began, tally = time.monotonic(), self._tally(table)
        self.watcher.update(table.name, tally)
        for key in due:
            self.became.pop((table.name, key), None)
        for ran in run_table(self.instance, defs, table, list(due)):
            if not ran.success:
                for key in ran.partitions:
                    if (table.name, key) not in self.became:
                        self.became[table.name, key] = FAILED
                        self.said[table.name, key] = what_was_raised(self.instance, ran.run_id)
                        tally.outcomes[FAILED] += 1
        self.watcher.finish(table.name, tally, time.monotonic() - began)
        self.stop_if_told()

    def _on_outcome(self, table: Table, outcome: Outcome) -> None:
        told = (table.name, outcome.partition)
        self.became[told] = word(outcome)
        self.said.pop(told, None)
        if not_published([outcome]):
            self.said[told] = _said(outcome)
        tally = self._tally(table)
        tally.add(word(outcome), outcome)
        self.watcher.update(table.name, tally)

    def _tally(self, table: Table) -> Tally:
        return self._tallies.setdefault(table.name, Tally(self._totals.get(table.name, 0)))

    def _note_rest(self, book: LedgerBook, plan: Plan, last: Decision) -> None:
        """What became of the steps that were not run, by what they are now."""
        troubled = {pair for pair, became in self.became.items() if became in _UNDONE}
        for table in self.engine.graph.tables:
            rest = sorted(key for key in plan.steps.get(table.name, ()) if (table.name, key) not in self.became)
            if not rest:
                continue
            look, held = book.look(table.name, rest), last.held.get(table.name, {})
            for key in rest:
                pair, said = (table.name, key), ""
                if key in look.waiting:
                    became, said = WAITING, f"for {awaited(look.waiting[key], _NAMED)}"
                elif key in look.stale or key in held:
                    became, said = LEFT, held[key].hold.value if key in held else "it has become due again"
                elif any(read in troubled for read in self._read_by(table, key)):
                    became, said = LEFT, "something that it reads was left, or failed"
                else:
                    became = CUT_OFF
                self.became[pair] = became
                if said:
                    self.said[pair] = said
                if became in _UNDONE:
                    troubled.add(pair)

    def _read_by(self, table: Table, key: str) -> Iterator[tuple[str, str]]:
        for given in table.reads:
            source = self.engine.graph[given.table].partitions
            yield from (
                (given.table, p) for p in mapped(given.window, table.partitions, source, key, self.engine.today_utc())
            )


def _landed(plan: Plan) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for table, key, status in plan:
        if isinstance(status, Landed):
            found.setdefault(table, []).append(key)
    return found


def _said(outcome: Outcome) -> str:
    match outcome:
        case Withheld(verdict=verdict):
            return "; ".join(why(verdict))
        case Waiting(missing=missing):
            return f"for {awaited(missing, _NAMED)}"
        case _:
            return "another run works on it"
