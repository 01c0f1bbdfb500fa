"""The demo: days of real flights delivered, and every table of them brought up to date through Dagster.

Belongs here: the order of the demo's parts, and what it needs to start. Does not belong here: what a terminal shows
(``progress``, ``shown``), how tables are brought up to date (``updating``). Invariant: interrupting the demo and
starting it again, or starting two at once, gives what one undisturbed demo gives.
"""

import shutil
from collections import Counter
from collections.abc import Collection, Sequence
from datetime import date
from pathlib import Path

from rich.console import Console

from sh_core.errors import SettingsError
from sh_core.graph import Graph
from sh_defs.declaring import declared_graph
from sh_defs.facts.report import Report
from sh_defs.home import dagster_instance, prepare_dagster_home
from sh_defs.interrupts import hearing_interrupts
from sh_defs.late_vendor import LateVendor, Silent
from sh_defs.progress import Tally, watching
from sh_defs.shown import terminal
from sh_defs.updating import Update, write_report
from sh_drills.replay import FEEDS, Replay, morning_after
from sh_resources.clock import ReplayCalendar
from sh_resources.settings import Settings
from sh_resources.wiring import open_engine

ROOM_BYTES, ROOM_PER_DAY = 64 * 2**20, 2 * 2**20
"""Free space below which nothing is started: so much, and so much for each day."""


SPECIMENS_SHOWN = 3
"""Quarantined rows shown at the end."""


def demonstrate(settings: Settings, days: Sequence[date], console: Console, *, on_time: bool = False) -> Report:
    """Run the demo and show what it found.

    Args:
        settings: Where its state is.
        days: Days of 2013 to replay, in order.
        console: Where to show it.
        on_time: Let everybody be on time; otherwise one vendor is late on the last day.

    Returns:
        What it found, as in ``report.json`` and ``report.html``.

    Raises:
        SelfHealError: If something else than the data is wrong; what was published until then stays.
        KeyboardInterrupt: If it was interrupted.
    """
    graph = declared_graph(settings.tables_module)
    _refuse(settings, graph, days)
    home = prepare_dagster_home(settings)
    console.print(f"{len(days):,} days from {days[0]}, state in [bold]{settings.home}[/]", highlight=False)
    engine = open_engine(settings, graph)
    with dagster_instance(home) as instance, hearing_interrupts() as stop_if_told:
        update = Update(settings, engine, instance, Silent(), stop_if_told)
        with update.timed("load"):
            replay = Replay.load()
        vendor = LateVendor(update, replay, days[-1], console)
        is_late = not on_time and vendor.is_to_come()
        with watching(console) as update.watcher:
            _deliver(update, replay, days, without=[vendor.file] if is_late else [])
            update.bring_up_to_date(days[0], days[-1])
        if is_late:
            update.watcher = Silent()
            vendor.tell()
        report = update.report([day.isoformat() for day in days])
    write_report(report, settings.home)
    _show(console, settings, report)
    return report


def _deliver(update: Update, replay: Replay, days: Sequence[date], *, without: Collection[tuple[str, date]]) -> None:
    """Land the registers and the files of the days, one day after the other: they arrive when they should have.

    Args:
        update: Takes them in.
        replay: Has them.
        days: The days, in order.
        without: Feeds and days of which the file does not come.
    """
    part, watcher, settings = "landing zone", update.watcher, update.settings
    tally, calendar, unchanged = (
        Tally(len(replay.deliveries(days)) - len(without)),
        ReplayCalendar(settings.calendar),
        0,
    )
    watcher.update(part, tally)

    def landed(_: Path) -> None:
        tally.outcomes["delivered"] += 1
        watcher.update(part, tally)

    with update.timed("deliver"):
        for day in days:
            calendar.forward(morning_after(day))
            delivery = replay.deliver(settings.landing, [day], landed, registers=day == days[0], without=without)
            unchanged += delivery.unchanged
            if delivery.written:
                update.engine.take_in(update.engine.today_utc(), everything=False)
            update.stop_if_told()
    written = tally.outcomes["delivered"] - unchanged
    tally.before, tally.outcomes = unchanged, Counter({"delivered": written})
    watcher.finish(part, tally, update.seconds["load"] + update.seconds["deliver"])


def _refuse(settings: Settings, graph: Graph, days: Sequence[date]) -> None:
    """Refuse what cannot work before anything is started.

    Raises:
        SettingsError: If the tables are not the demo's, files land in a bucket, or the disk is full.
    """
    _ = settings.landing  # the demo delivers into a folder
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


def _show(console: Console, settings: Settings, report: Report) -> None:
    """What a person wants to know at the end."""
    terminal.accounts(console, report.feeds)
    terminal.tables(console, report.tables)
    terminal.quarantined(console, report.quarantined)
    terminal.incidents(console, report.incidents)
    for example in report.specimens[:SPECIMENS_SHOWN]:
        terminal.specimen(console, example)
    terminal.next_steps(console, settings.home, report)
