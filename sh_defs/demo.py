"""The demo: days of real flights delivered, and every table of them brought up to date through Dagster.

Belongs here: the order of the demo's parts, and when it has failed. Does not belong here: what a terminal shows
(``progress``, ``show``), how a run is made (``running``). Invariant: only partitions that need it are run, so
interrupting the demo and starting it again, or starting two at once, gives what one undisturbed demo gives.
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

from sh_assets.wording import awaited, not_published, word
from sh_core.errors import SelfHealError, SettingsError
from sh_core.graph import Graph
from sh_core.outcome import Outcome
from sh_core.table import Table
from sh_defs import show
from sh_defs.definitions import declared_graph, definitions
from sh_defs.home import dagster_instance, prepare_dagster_home
from sh_defs.interrupts import hearing_interrupts
from sh_defs.progress import Tally, Watcher, watching
from sh_defs.report import Report, Run, gather, specimens, write
from sh_defs.running import Ran, run_table
from sh_drills.replay import FEEDS, Replay
from sh_resources.clock import SystemClock
from sh_resources.engine import Engine
from sh_resources.settings import Settings
from sh_resources.wiring import open_engine

_FAILURES = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}

ROOM_BYTES, ROOM_PER_DAY = 64 * 2**20, 2 * 2**20
"""Free space below which nothing is started: so much, and so much for each day."""


FULL_BYTES = 16 * 2**20
"""Free space below which whatever went wrong probably did because the disk is full."""


class DemoError(SelfHealError):
    """A run of the demo failed for another reason than the data."""


def demonstrate(settings: Settings, days: Sequence[date], console: Console) -> Report:
    """Run the demo and show what it found.

    Args:
        settings: Where its state is.
        days: Days of 2013 to replay, in order.
        console: Where to show it.

    Returns:
        What it found, as in ``report.json``.

    Raises:
        SelfHealError: If something else than the data is wrong; what was published until then stays.
        KeyboardInterrupt: If it was interrupted.
    """
    graph = declared_graph(settings.tables_module)
    _refuse(settings, graph, days)
    home = prepare_dagster_home(settings)
    console.print(f"{len(days):,} days from {days[0]}, state in [bold]{settings.home}[/]", highlight=False)
    with (
        dagster_instance(home) as instance,
        hearing_interrupts() as stop_if_told,
        watching(console) as watcher,
    ):
        demo = _Demo(settings, graph, instance, watcher, days, stop_if_told)
        demo.deliver()
        engine = open_engine(settings, graph)
        try:
            demo.materialize(engine)
        except OperationalError as error:
            msg = f"Dagster's storage in {home} cannot be used: {error.orig}. {_advice(settings)}"
            raise DemoError(msg) from error
        report = demo.report(engine)
    write(report, settings.home / "report.json")
    _show(console, settings, report, engine)
    return report


@dataclass
class _Demo:
    """One run of the demo, and what it has done so far."""

    settings: Settings
    graph: Graph
    instance: dg.DagsterInstance
    watcher: Watcher
    days: Sequence[date]
    stop_if_told: Callable[[], None]
    runs: list[Run] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Count what a block takes as the seconds of a part."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds[part] = time.monotonic() - started

    def deliver(self) -> None:
        """Land the registers and the files of the days."""
        part = "landing zone"
        with self.timed("load"):
            replay = Replay.load()
        tally = Tally(len(replay.deliveries(self.days)))
        self.watcher.update(part, tally)

        def landed(_: Path) -> None:
            tally.outcomes["delivered"] += 1
            self.watcher.update(part, tally)

        with self.timed("deliver"):
            delivery = replay.deliver(self.settings.landing, self.days, landed)
        tally.before, tally.outcomes = delivery.unchanged, Counter({"delivered": delivery.written})
        self.watcher.finish(part, tally, self.seconds["load"] + self.seconds["deliver"])

    def materialize(self, engine: Engine) -> None:
        """Run, station by station, those partitions that need it."""
        told: dict[str, Outcome] = {}
        tally = Tally(0)

        def on_outcome(table: Table, outcome: Outcome) -> None:
            told[outcome.partition] = outcome
            tally.add(word(outcome), outcome)
            self.watcher.update(table.name, tally)

        defs = definitions(self.graph, self.settings, on_outcome)
        for table in (table for station in self.graph.stations for table in station):
            told.clear()
            keys = table.partitions.between(self.days[0], self.days[-1])
            self.watcher.update(table.name, Tally(len(keys)))
            with self.timed(table.name):
                outlook = engine.outlook(table.name, keys)
                tally = Tally(len(keys), before=len(keys) - len(outlook.due) - len(outlook.waiting))
                tally.outcomes["waiting"] = len(outlook.waiting)
                self.watcher.update(table.name, tally)
                for ran in run_table(self.instance, defs, table, outlook.due):
                    self.stop_if_told()
                    if not ran.success:
                        _refuse_failure(self.instance, self.settings, table, ran, told)
                    self.runs.append(_run(self.instance, table, ran, told))
            self.watcher.finish(table.name, tally, self.seconds[table.name])
            for key, missing in islice(outlook.waiting.items(), 1):
                self.watcher.note(f"  {key} waits for {awaited(missing)}")

    def report(self, engine: Engine) -> Report:
        """Read back what there is."""
        with self.timed("report"):
            found = gather(
                self.graph,
                engine.store,
                engine.ledger,
                now_utc=SystemClock().now_utc(),
                span=[day.isoformat() for day in self.days],
                runs=self.runs,
            )
        return replace(found, seconds={**self.seconds, "total": sum(self.seconds.values())})


def _run(instance: dg.DagsterInstance, table: Table, ran: Ran, told: Mapping[str, Outcome]) -> Run:
    record = instance.get_run_record_by_id(ran.run_id)
    seconds = (record.end_time or 0.0) - (record.start_time or 0.0) if record is not None else 0.0
    outcomes = Counter(word(told[key]) for key in ran.partitions)
    return Run(ran.run_id, table.name, ran.partitions[0], ran.partitions[-1], dict(outcomes), seconds)


def _refuse_failure(
    instance: dg.DagsterInstance, settings: Settings, table: Table, ran: Ran, told: Mapping[str, Outcome]
) -> None:
    """Tell a run that failed from one that merely has partitions which may not be published.

    Raises:
        DemoError: If something else than the data failed.
    """
    if all(key in told for key in ran.partitions) and not_published(told[key] for key in ran.partitions):
        return
    msg = (
        f"the run of {table.name} failed: {_raised(instance, ran.run_id)}\n{_advice(settings)} Its run is {ran.run_id}."
    )
    raise DemoError(msg)


def _advice(settings: Settings) -> str:
    free = shutil.disk_usage(settings.home).free
    full = (
        f"The disk of {settings.home} is full ({free / 2**20:,.0f} MB free): make room. " if free < FULL_BYTES else ""
    )
    return f"{full}What was published stays; run the same command again to go on."


def _raised(instance: dg.DagsterInstance, run_id: str) -> str:
    """What a failed run says was raised, Dagster's own wrapping left out."""
    for record in instance.get_records_for_run(run_id, of_type=_FAILURES).records:
        event = record.event_log_entry.dagster_event
        error = getattr(event.event_specific_data, "error", None) if event is not None else None
        while error is not None and error.cause is not None and str(error.cls_name).startswith("Dagster"):
            error = error.cause
        if error is not None:
            return str(error.message).strip()
    return "its log does not say why"


def _refuse(settings: Settings, graph: Graph, days: Sequence[date]) -> None:
    """Refuse what cannot work before anything is started.

    Raises:
        SettingsError: If the tables are not the demo's, or the disk is full.
    """
    unread = sorted({feed.name for feed in FEEDS} - {feed.name for feed in graph.feeds})
    if unread:
        msg = f"the demo delivers {unread[0]}, which {settings.tables_module} does not read: unset SELFHEAL_TABLES"
        raise SettingsError(msg)
    folder = next(f for f in (settings.home, *settings.home.parents) if f.exists())
    free, needed = shutil.disk_usage(folder).free, ROOM_BYTES + len(days) * ROOM_PER_DAY
    if free < needed:
        msg = (
            f"{len(days)} days need about {needed / 2**20:,.0f} MB, and the disk of {settings.home} has "
            f"{free / 2**20:,.0f} MB free: make room, replay fewer --days, or name a folder on another disk with --home"
        )
        raise SettingsError(msg)


def _show(console: Console, settings: Settings, report: Report, engine: Engine) -> None:
    """What a person wants to know at the end."""
    show.accounts(console, report.feeds)
    show.tables(console, report.tables)
    show.quarantined(console, report.quarantined)
    show.incidents(console, report.incidents)
    for example in specimens(engine.graph, engine.store):
        show.specimen(console, example)
    show.next_steps(console, settings.home, report)
