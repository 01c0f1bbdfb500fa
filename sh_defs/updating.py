"""Updating: every table brought up to date, inputs first, through Dagster.

Belongs here: going through the tables, and telling a run that failed from one that merely has partitions which may not
be published. Does not belong here: what is delivered (``demo``), how a run is made (``running``), what a terminal
shows (``progress``, ``shown``). Invariant: only partitions that need it are run, so interrupting it and starting it
again, or starting two at once, gives what one undisturbed update gives.
"""

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import islice
from pathlib import Path

import dagster as dg
from rich.console import Console
from sqlalchemy.exc import OperationalError

from sh_assets.wording import SHOWN, not_published, word
from sh_core.errors import SelfHealError
from sh_core.outcome import Outcome, awaited
from sh_core.table import Table
from sh_defs.declaring import declared_graph, refuse_other_tables
from sh_defs.definitions import definitions
from sh_defs.facts.report import Report, Run, gather
from sh_defs.facts.saying import visible
from sh_defs.home import dagster_instance, prepare_dagster_home
from sh_defs.interrupts import hearing_interrupts
from sh_defs.progress import Tally, Watcher, watching
from sh_defs.running import Ran, raised, run_table
from sh_defs.shown import terminal
from sh_defs.shown.json_form import write_json
from sh_defs.shown.page import write_page
from sh_resources.clock import SystemClock
from sh_resources.engine import Engine
from sh_resources.settings import Settings
from sh_resources.wiring import open_engine

LONG_AGO = date(1900, 1, 1)
"""Before the first partition of anything."""

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
        last: Last day; None for today (UTC).
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
    today = SystemClock().now_utc().date()
    told = f"Tables of [bold]{settings.tables_module}[/], state in [bold]{settings.home}[/]"
    console.print(told, highlight=False, soft_wrap=True)
    engine = open_engine(settings, graph)
    with dagster_instance(home) as instance, hearing_interrupts() as stop_if_told, watching(console) as watcher:
        going = Update(settings, engine, instance, watcher, stop_if_told)
        going.note_strays()
        going.bring_up_to_date(first or LONG_AGO, last or today)
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

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Count what a block takes as the seconds of a part."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds[part] = self.seconds.get(part, 0.0) + time.monotonic() - started

    def bring_up_to_date(self, first: date, last: date) -> None:
        """Run, table by table, those partitions that need it.

        Args:
            first: First day looked at.
            last: Last day.

        Raises:
            RunError: If something else than the data failed; what was published until then stays.
        """
        told: dict[str, Outcome] = {}
        tally = Tally(0)

        def on_outcome(table: Table, outcome: Outcome) -> None:
            told[outcome.partition] = outcome
            tally.add(word(outcome), outcome)
            self.watcher.update(table.name, tally)

        defs = definitions(self.engine.graph, self.settings, on_outcome)
        for table in (table for station in self.engine.graph.stations for table in station):
            told.clear()
            keys = table.partitions.between(first, last)
            self.watcher.update(table.name, Tally(len(keys)))
            with self.timed(table.name):
                look = self.engine.look(table.name, keys)
                tally = Tally(len(keys), before=len(keys) - len(look.stale) - len(look.waiting))
                tally.outcomes["waiting"] = len(look.waiting)
                self.watcher.update(table.name, tally)
                for ran in self._run(defs, table, tuple(look.stale)):
                    self.stop_if_told()
                    if not ran.success:
                        self._refuse_failure(table, ran, told)
                    self.runs.append(self._as_told(table, ran, told))
            self.watcher.finish(table.name, tally, self.seconds[table.name])
            self._note_waiting(table, look.waiting)

    def note_strays(self) -> None:
        """Say what has landed under a name that no feed takes: nobody would ever look at it."""
        feeds = self.engine.graph.feeds
        today = SystemClock().now_utc().date()
        strays = self.engine.landing.strays(feeds, today)
        for path, feed in islice(strays.items(), STRAYS_SHOWN):
            names = ", ".join(f.name for f in feeds)
            if feed is None:
                why = f"no feed has that name, there are {names}"
            elif feed.partition_of(path.rpartition("/")[2]) is not None:
                why = "it is for a day that has not come"
            else:
                why = f"{feed.name} takes {feed.takes}"
            self.watcher.note(f"landing/{visible(path)} is not looked at: {why}")
        if len(strays) > STRAYS_SHOWN:
            self.watcher.note(f"and {len(strays) - STRAYS_SHOWN:,} more in landing/")

    def _note_waiting(self, table: Table, waiting: Mapping[str, Sequence[str]]) -> None:
        """Say what the first partition waits for, unless that waits itself and was said before."""
        causes = ((key, missing) for key, missing in waiting.items() if not self._waiting.issuperset(missing))
        for key, missing in islice(causes, 1):
            self.watcher.note(f"  {key} waits for {awaited(missing, SHOWN)}")
        self._waiting.update(f"{table.name}[{key}]" for key in waiting)

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
        why = raised(self.instance, ran.run_id)
        msg = f"the run of {table.name} failed: {why}\n{_advice(self.settings)} Its run is {ran.run_id}."
        raise RunError(msg)


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
