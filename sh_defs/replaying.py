"""Replaying: a Git history of published files, one publication after the other, through Dagster.

Belongs here: the order of a replay (calendar, landing, update, mark), counting what it led to. Does not belong here:
what a publication is (``sh_drills.history``), how tables are brought up to date (``updating``), showing it (``shown``).
Invariant: interrupted anywhere and started again, a replay goes on with the publication that it was at, and ends like
one that was not.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from sh_assets.wording import word
from sh_core.errors import FeedError, SettingsError
from sh_core.graph import Graph
from sh_core.outcome import Outcome, Published, Reused, Withheld
from sh_core.table import Table
from sh_defs.declaring import declared_graph, refuse_other_tables
from sh_defs.facts.report import Report, Run
from sh_defs.home import dagster_instance, prepare_dagster_home
from sh_defs.interrupts import hearing_interrupts
from sh_defs.progress import Tally
from sh_defs.updating import Update, write_report
from sh_drills.history import History, Landed, Publication, Source, last_replayed, note_replayed
from sh_resources.clock import ReplayCalendar
from sh_resources.settings import Settings
from sh_resources.wiring import open_engine


@dataclass(frozen=True)
class Replayed:
    """What one publication led to.

    Attributes:
        publication: The publication.
        landed: What it did in the landing zone.
        executed: Partitions computed, by table.
        outcomes: Partitions by what became of them (``published``, ``unchanged``, ``withheld``, ``reused``), by table;
            tables of which nothing was asked are left out.
        seconds: How long bringing the tables up to date took.
    """

    publication: Publication
    landed: Landed
    executed: Mapping[str, int]
    outcomes: Mapping[str, Mapping[str, int]]
    seconds: float


class Shown(Protocol):
    """Whoever is told how a replay goes on."""

    def begin(self, settings: Settings) -> None:
        """A replay begins."""

    def add(self, replayed: Replayed) -> None:
        """A publication was replayed."""

    def end(self, settings: Settings, report: Report) -> None:
        """Nothing is left to replay."""


def replay(
    settings: Settings,
    repository: Path,
    globs: Mapping[str, str | None],
    revision: str,
    until: datetime | None,
    shown: Shown,
) -> Report:
    """Replay what was not replayed yet.

    Args:
        settings: Where the state is, and whose tables.
        repository: A clone or a bundle.
        globs: Feeds whose files are in it, with the paths that are meant or None; none for all feeds.
        revision: Which commits, as ``git log`` takes it.
        until: Last moment, aware; None for all.
        shown: Told after each publication.

    Returns:
        What there is now, as in ``report.json``.

    Raises:
        SelfHealError: If something else than the data is wrong; what was replayed until then stays.
        KeyboardInterrupt: If it was interrupted.
    """
    graph = declared_graph(settings.tables_module)
    refuse_other_tables(graph, settings)
    sources = _sources(graph, globs, settings)
    home = prepare_dagster_home(settings)
    shown.begin(settings)
    engine, calendar = open_engine(settings, graph), ReplayCalendar(settings.calendar)
    marks = {s.feed.name: mark for s in sources if (mark := last_replayed(settings.landing, s.feed.name))}
    runs: list[Run] = []
    count = 0
    with (
        History.open(repository) as history,
        dagster_instance(home) as instance,
        hearing_interrupts() as stop_if_told,
    ):
        for publication in history.publications(sources, revision, until=until, replayed=marks):
            calendar.forward(publication.at_utc)
            landed = publication.land(settings.landing)
            told: dict[str, list[Outcome]] = defaultdict(list)

            def hear(table: Table, outcome: Outcome, told: dict[str, list[Outcome]] = told) -> None:
                told[table.name].append(outcome)

            started = time.monotonic()
            Update(settings, engine, instance, _Nobody(), stop_if_told, hear, runs).bring_up_to_date(None, None)
            for source in sources:  # not before: what landed and was not taken in yet would be replaced by the next
                note_replayed(settings.landing, source.feed.name, publication.commit)
            shown.add(counted(publication, landed, told, time.monotonic() - started))
            count += 1
        if not count and not marks:
            wanted = "; ".join(f"{s.feed.name} takes {s.feed.takes}" for s in sources)
            msg = f"no commit of {revision} in {repository} has a file of these feeds: {wanted}"
            raise FeedError(msg)
        report = Update(settings, engine, instance, _Nobody(), stop_if_told, runs=runs).report()
    write_report(report, settings.home)
    shown.end(settings, report)
    return report


def _sources(graph: Graph, globs: Mapping[str, str | None], settings: Settings) -> list[Source]:
    unknown = sorted(globs.keys() - {feed.name for feed in graph.feeds})
    if unknown:
        names = ", ".join(feed.name for feed in graph.feeds)
        msg = f"{settings.tables_module} has no feed {unknown[0]!r}; it has {names}"
        raise SettingsError(msg)
    return [Source(feed, globs.get(feed.name)) for feed in graph.feeds if not globs or feed.name in globs]


def counted(publication: Publication, landed: Landed, told: Mapping[str, list[Outcome]], seconds: float) -> Replayed:
    """What a publication led to, given the outcomes of each table."""
    executed = {name: sum(isinstance(o, Published | Withheld) for o in found) for name, found in told.items()}
    # What stays withheld without having been computed again is a reuse, too.
    outcomes = {
        name: dict(Counter("reused" if isinstance(o, Reused) else word(o) for o in found))
        for name, found in told.items()
    }
    return Replayed(publication, landed, executed, outcomes, seconds)


class _Nobody:
    """Nobody watches single tables: what is told is told per publication."""

    def update(self, part: str, tally: Tally) -> None:
        pass

    def finish(self, part: str, tally: Tally, seconds: float) -> None:
        pass

    def note(self, text: str) -> None:
        pass
