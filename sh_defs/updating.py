"""Updating: every table brought up to date, inputs first, through Dagster.

Belongs here: going through the tables, and telling a run that failed from one that merely has partitions which may not
be published. Does not belong here: what is delivered (``demo``), how a run is made (``running``), what a terminal
shows (``progress``, ``shown``). Invariant: only partitions that need it are run, so interrupting it and starting it
again, or starting two at once, gives what one undisturbed update gives.
"""

import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from itertools import islice
from pathlib import Path

import dagster as dg
from rich.console import Console
from sqlalchemy.exc import OperationalError

from sh_assets.dagster_private import ask_here
from sh_assets.dagster_runs import give_up_dead_runs
from sh_assets.deciding import WatchDecider
from sh_assets.wording import SHOWN, not_published, word
from sh_core.errors import SelfHealError
from sh_core.outcome import Outcome, awaited
from sh_core.partitions import Partitions
from sh_core.policy import Policy
from sh_core.table import Table
from sh_core.watch import Decision, Watch
from sh_defs.declaring import declared_graph, refuse_other_tables
from sh_defs.definitions import definitions
from sh_defs.facts.report import Report, Run, gather
from sh_defs.facts.saying import visible
from sh_defs.healing import decided
from sh_defs.home import dagster_instance, prepare_dagster_home
from sh_defs.interrupts import hearing_interrupts
from sh_defs.progress import Tally, Watcher, watching
from sh_defs.running import Ran, run_table, what_was_raised
from sh_defs.shown import terminal
from sh_defs.shown.json_form import write_json
from sh_defs.shown.page import write_page
from sh_resources.book import LedgerBook
from sh_resources.clock import SystemClock
from sh_resources.engine import Engine
from sh_resources.settings import Settings
from sh_resources.wiring import new_id, open_engine

LONG_AGO = date(1900, 1, 1)
"""Before the first partition of anything."""

AT_ONCE = Policy(most_tries=sys.maxsize, first_pause_s=0.0).without_bounds()
"""A person who asks is not told to wait because of what failed before."""

MOST_TRIES = 3
"""Runs of one partition in one update; what is due again after that goes round in circles."""

ASKED_WHY = 32
"""Waiting partitions of a table that are asked what they wait for."""

STRAYS_SHOWN = 5
"""Files under wrong names that are named."""

FULL_BYTES = 16 * 2**20
"""Free space below which whatever went wrong probably did because the disk is full."""


class RunError(SelfHealError):
    """A run failed for another reason than the data."""


def update(settings: Settings, first: date | None, last: date | None, console: Console) -> Report:
    """Take in what has landed, bring every table up to date, and write the report.

    Args:
        settings: Where the state is, and whose tables.
        first: First day looked at; None for all.
        last: Last day; None for whatever has begun.
        console: Where to show it.

    Returns:
        What there is now, as in ``report.json``.

    Raises:
        SelfHealError: If something else than the data is wrong; what was published until then stays.
        KeyboardInterrupt: If it was interrupted.
    """
    graph = declared_graph(settings.tables_module)
    refuse_other_tables(graph, settings)
    home = prepare_dagster_home(settings)
    told = f"Tables of [bold]{settings.tables_module}[/], state in [bold]{settings.home}[/]"
    console.print(told, highlight=False, soft_wrap=True)
    engine = open_engine(settings, graph)
    with dagster_instance(home) as instance, hearing_interrupts() as stop_if_told, watching(console) as watcher:
        going = Update(settings, engine, instance, watcher, stop_if_told)
        going.note_strays()
        going.bring_up_to_date(first, last)
        report = going.report()
    write_report(report, settings.home)
    terminal.tables(console, report.tables)
    terminal.quarantined(console, report.quarantined)
    terminal.incidents(console, report.incidents)
    terminal.next_steps(console, settings.home, report)
    return report


@dataclass
class Update:
    """One update, and what it has done so far.

    Attributes:
        settings: Where the state is.
        engine: What the tables are computed with.
        instance: Where Dagster keeps its runs.
        watcher: Who is told how it goes on.
        stop_if_told: Raises where a person has interrupted; called between runs.
        runs: Runs made so far.
        seconds: How long each part took.
    """

    settings: Settings
    engine: Engine
    instance: dg.DagsterInstance
    watcher: Watcher
    stop_if_told: Callable[[], None]
    runs: list[Run] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    _waiting: set[str] = field(default_factory=set)
    _tried: Counter[tuple[str, str]] = field(default_factory=Counter)

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Count what a block takes as the seconds of a part."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds[part] = self.seconds.get(part, 0.0) + time.monotonic() - started

    def bring_up_to_date(self, first: date | None, last: date | None) -> None:
        """Run what automation asks for, until it asks for nothing more.

        Days are those of each table's own calendar; partitions that are no periods are looked at whatever the days.

        Args:
            first: First day looked at; None for all.
            last: Last day; None for all periods that have begun.

        Raises:
            RunError: If something else than the data failed; what was published until then stays.
        """
        graph, clock = self.engine.graph, SystemClock()
        spans = {
            table.name: _looked_at(table.partitions, first, last, self.engine.today_utc()) for table in graph.tables
        }
        meant = {name: frozenset(keys) for name, keys in spans.items()}
        watch = Watch(graph, LedgerBook(self.engine, clock), AT_ONCE)
        decider = WatchDecider(lambda: watch, clock, lambda name, key: key in meant[name], f"run:{new_id()[:12]}")
        told: dict[str, Outcome] = {}
        tallies = {name: Tally(len(keys), before=len(self._settled(name, keys))) for name, keys in spans.items()}

        def on_outcome(table: Table, outcome: Outcome) -> None:
            told[outcome.partition] = outcome
            tallies[table.name].add(word(outcome), outcome)
            self.watcher.update(table.name, tallies[table.name])

        defs = definitions(graph, self.settings, on_outcome, decider)
        give_up_dead_runs(self.instance)  # what they were to do would count as in progress
        self.engine.take_in(self.engine.today_utc())
        finished = set[str]()
        while True:
            asked = self._asked(defs, decider)
            for table in graph.tables:
                # What neither it nor anything upstream has to do any more comes to nothing else.
                if table.name not in finished | asked.keys() and finished.issuperset(i.table for i in table.reads):
                    self._finish(table, spans[table.name], tallies[table.name])
                    finished.add(table.name)
            if not asked:
                return
            for table in (table for table in graph.tables if table.name in asked):
                told.clear()
                again = self._settled(table.name, asked[table.name])
                tallies[table.name].before -= len(again)
                self.watcher.update(table.name, tallies[table.name])
                with self.timed(table.name):
                    for ran in self._run(defs, table, asked[table.name]):
                        self.stop_if_told()
                        if not ran.success:
                            self._refuse_failure(table, ran, told)
                        self.runs.append(self._as_told(table, ran, told))

    def _settled(self, name: str, keys: Collection[str]) -> frozenset[str]:
        """Partitions about which something was ever decided."""
        return frozenset(keys).intersection(key for key, *_ in self.engine.ledger.serials.standings(name))

    def _asked(self, defs: dg.Definitions, decider: WatchDecider) -> dict[str, tuple[str, ...]]:
        """What automation asks for now, by table; nothing once it is quiet.

        What another process works on, or died on a moment ago, is waited for as long as its lease may last.
        """
        asked: dict[str, tuple[str, ...]] = {}

        def decide() -> Decision:
            nonlocal asked
            self.stop_if_told()
            with self.timed("automation"):
                asked = {asset.path[0]: tuple(sorted(keys)) for asset, keys in ask_here(defs, self.instance).items()}
            found = decider.decided or Decision({}, {}, {})
            # Each sensor has its own tables, and this is what the last one decided: the others' are due, too.
            return replace(found, due={name: found.stale.get(name, {}) for name in asked})

        decided(decide, SystemClock(), patience_s=self.engine.patience_s)
        for name, keys in asked.items():
            self._tried.update((name, key) for key in keys)
        often = [place for place, count in self._tried.items() if count > MOST_TRIES]
        if often:
            name, key = often[0]
            msg = f"{name}[{key}] was run {MOST_TRIES} times and is due again. {_advice(self.settings)}"
            raise RunError(msg)
        return asked

    def _finish(self, table: Table, keys: Sequence[str], tally: Tally) -> None:
        """Say what became of a table, and what its partitions wait for that are left."""
        settled = self._settled(table.name, keys)
        left = [key for key in keys if key not in settled]
        tally.outcomes["waiting"] = len(left)
        self.watcher.finish(table.name, tally, self.seconds.get(table.name, 0.0))
        self._note_waiting(self.engine.look(table.name, left[:ASKED_WHY]).waiting)
        self._waiting.update(f"{table.name}[{key}]" for key in left)

    def note_strays(self) -> None:
        """Say what has landed under a name that no feed takes: nobody would ever look at it."""
        feeds = self.engine.graph.feeds
        strays = self.engine.landing.strays(feeds, self.engine.today_utc())
        for path, feed in islice(strays.items(), STRAYS_SHOWN):
            names = ", ".join(f.name for f in feeds)
            if feed is None:
                why = f"no feed has that name, there are {names}"
            elif feed.partition_of(path.rpartition("/")[2]) is not None:
                why = "it is for a time that has not come"
            else:
                why = f"{feed.name} takes {feed.takes}"
            self.watcher.note(f"landing/{visible(path)} is not looked at: {why}")
        if len(strays) > STRAYS_SHOWN:
            self.watcher.note(f"and {len(strays) - STRAYS_SHOWN:,} more in landing/")

    def _note_waiting(self, waiting: Mapping[str, Sequence[str]]) -> None:
        """Say what the first partition waits for, unless that waits itself and was said before."""
        causes = ((key, missing) for key, missing in waiting.items() if not self._waiting.issuperset(missing))
        for key, missing in islice(causes, 1):
            self.watcher.note(f"  {key} waits for {awaited(missing, SHOWN)}")

    def report(self, span: Sequence[str] = ()) -> Report:
        """Read back what there is.

        Args:
            span: Days that were asked for, if they were.
        """
        with self.timed("report"):
            found = gather(
                self.engine.graph,
                self.engine.store,
                self.engine.ledger,
                now_utc=SystemClock().now_utc(),
                span=span,
                runs=self.runs,
            )
        return replace(found, seconds={**self.seconds, "total": sum(self.seconds.values())})

    def _run(self, defs: dg.Definitions, table: Table, due: tuple[str, ...]) -> list[Ran]:
        try:
            return run_table(self.instance, defs, table, due)
        except OperationalError as error:
            storage = self.settings.dagster_home
            msg = f"Dagster's storage in {storage} cannot be used: {error.orig}. {_advice(self.settings)}"
            raise RunError(msg) from error

    def _as_told(self, table: Table, ran: Ran, told: Mapping[str, Outcome]) -> Run:
        record = self.instance.get_run_record_by_id(ran.run_id)
        seconds = (record.end_time or 0.0) - (record.start_time or 0.0) if record is not None else 0.0
        outcomes = Counter(word(told[key]) for key in ran.partitions)
        return Run(ran.run_id, table.name, ran.partitions[0], ran.partitions[-1], dict(outcomes), seconds)

    def _refuse_failure(self, table: Table, ran: Ran, told: Mapping[str, Outcome]) -> None:
        """Tell a run that failed from one that merely has partitions which may not be published."""
        if all(key in told for key in ran.partitions) and not_published(told[key] for key in ran.partitions):
            return
        raised = what_was_raised(self.instance, ran.run_id)
        msg = f"the run of {table.name} failed: {raised}\n{_advice(self.settings)} Its run is {ran.run_id}."
        raise RunError(msg)


def _looked_at(partitions: Partitions, first: date | None, last: date | None, today: datetime) -> Sequence[str]:
    if last is None:
        return partitions.begun(today, first)
    return partitions.between(first or LONG_AGO, last)


def write_report(report: Report, home: Path) -> None:
    """Write both forms of the report into the state folder."""
    write_page(report, home / "report.html")
    write_json(report, home / "report.json")


def _advice(settings: Settings) -> str:
    free = shutil.disk_usage(settings.home).free
    full = (
        f"The disk of {settings.home} is full ({free / 2**20:,.0f} MB free): make room. " if free < FULL_BYTES else ""
    )
    return f"{full}What was published stays; run the same command again to go on."
