"""Hop by hop against the whole reach: what it takes until a change has gone through the flight graph.

Belongs here: both ways of asking for what a change reaches, on the same daemon and code server, as ``selfheal dev``
starts them. Does not belong here: what is due (``sh_core.watch``), the cost of a tick. Invariant: both ways begin with
the same files and end with the same content; the engine reuses whatever has not changed, whoever asks.

    hop by hop   what the project does: automation asks for what is due, and again once that has been published
    whole reach  one backfill over everything that the links reach from the change; automation is off

The seconds are counted from the moment that a file lands, to the last partition that was executed, and to the end of
the last run. Hop by hop, a sensor has to notice the file; the whole reach is asked for at once. Where the seconds of a
healing go is told along its longest chain of runs, each of which was asked for after the one before had ended:

    until asked for   a sensor notices the file, or what a run has changed, decides, and Dagster makes a backfill a run
    in the queue      until the run is given to the code server
    process starts    until the run's process has imported everything and begins
    runs              reading, computing, judging, publishing, telling Dagster
"""

import csv
import io
import os
import re
import subprocess
import sysconfig
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import dagster as dg
import numpy as np
from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus, PartitionBackfill
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES
from sqlalchemy import select

from sh_assets.flights import TABLES
from sh_core.graph import Graph
from sh_core.links import places
from sh_core.partitions import WHOLE
from sh_core.suspects import linked
from sh_defs.definitions import definitions
from sh_defs.home import dagster_instance, prepare_dagster_home
from sh_defs.serve import services
from sh_defs.supervising import Supervisor
from sh_drills.replay import land
from sh_resources import settings as environment
from sh_resources.ledger.schema import attempts
from sh_resources.settings import Settings
from sh_resources.wiring import open_engine

Results = dict[str, dict[str, dict[str, float]]]

DAY = "2013-01-09"
"""The day whose file is delivered again."""

AIRCRAFT = "N11113"
"""The aircraft that is given another seat: it flew on 5 days of January."""

QUIET_S = 6.0
"""So long nothing must be going on before a change counts as dealt with."""

HEALED_S = 900.0
_POLL_S = 0.25
_NEVER_S = "1000000"


@dataclass(frozen=True)
class Change:
    """A file that is delivered again.

    Attributes:
        name: As the table of results calls it.
        feed: Whose file.
        key: Its partition.
        column: Whose value is another.
        row: In which row: the first of which this is true.
    """

    name: str
    feed: str
    key: str
    column: str
    row: Callable[[Mapping[str, str]], bool]


CHANGES = (
    Change("a day's delay", "flights_jfk", DAY, "arr_delay", lambda row: row["arr_delay"].lstrip("-").isdigit()),
    Change("a column nobody reads", "flights_jfk", DAY, "minute", lambda row: row["minute"].isdigit()),
    Change("an aircraft's seats", "planes", WHOLE, "seats", lambda row: row["tailnum"] == AIRCRAFT),
)


def run(days: int = 30, say: Callable[[str], None] = print) -> Results:
    """Measure.

    Args:
        days: Days of the demo.
        say: Told what is going on.
    """
    rows: dict[str, dict[str, float]] = {}
    parts: dict[str, dict[str, float]] = {}
    for way, ask in (("hop by hop", None), ("whole reach", _ask_for_reach)):
        with TemporaryDirectory(prefix="selfheal-bench-") as folder:
            home = Path(folder) / "home"
            say(f"hops: demo of {days} days")
            _selfheal("demo", "--on-time", "--days", str(days), "--home", str(home))
            settings = environment.load({"SELFHEAL_HOME": str(home)})
            with _dagster(settings, automated=ask is None, say=say):
                for change in CHANGES:
                    say(f"hops: {change.name}, {way}")
                    measured, spent = _measure(settings, change, ask)
                    rows[f"{change.name}, {way}"] = measured
                    if ask is None:
                        parts[change.name] = spent
    return {
        f"hops: from landing to healed, {days} days": rows,
        f"hops: where the seconds go, hop by hop, {days} days": parts,
    }


def _selfheal(*arguments: str) -> None:
    command = [str(Path(sysconfig.get_path("scripts")) / "selfheal"), *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603  # built here


@contextmanager
def _dagster(settings: Settings, *, automated: bool, say: Callable[[str], None]) -> Iterator[None]:
    """Code server and daemon on a state folder, with automation or without."""
    home = prepare_dagster_home(settings)
    told = {**os.environ, "DAGSTER_HOME": str(home), "SELFHEAL_HOME": str(settings.home)}
    if not automated:
        told["SELFHEAL_SENSORS_EVERY_S"] = _NEVER_S  # they are asked once, when nothing is due
    with TemporaryDirectory(prefix="selfheal-") as meeting, Supervisor(told, home, say) as kept:
        code, _, daemon = services(Path(meeting), 0)
        kept.keep(code)
        while not kept.ready(code):
            kept.look()
            time.sleep(_POLL_S)
        kept.keep(daemon)
        time.sleep(QUIET_S * 2)  # until it has found its way
        yield


Ask = Callable[[Settings, Graph, Change, dg.DagsterInstance], None]


def _measure(settings: Settings, change: Change, ask: Ask | None) -> tuple[dict[str, float], dict[str, float]]:
    """Deliver a changed file, and say what became of it, and where the seconds went."""
    graph = Graph.of(TABLES)
    engine = open_engine(settings, graph)
    with dagster_instance(settings.dagster_home) as instance:
        before = {run.run_id for run in instance.get_runs()}
        _deliver(settings, graph, change)
        began, began_s = datetime.now(UTC), time.time()
        if ask is not None:
            engine.take_in(began)
            ask(settings, graph, change, instance)
        _await_quiet(instance)
        made = [record for record in instance.get_run_records() if record.dagster_run.run_id not in before]
        spent = _spent(instance, made, began_s)
        said = [entry for record in made for entry in instance.all_logs(record.dagster_run.run_id)]
    with engine.ledger._database.read() as connection:  # noqa: SLF001  # it has no question that asks for all of them
        executed = connection.execute(
            select(attempts.c.action, attempts.c.decided_utc).where(attempts.c.intended_utc >= began)
        ).all()
    outcomes = _outcomes(entry.user_message for entry in said if not entry.is_dagster_event)
    kinds = Counter(entry.dagster_event.event_type for entry in said if entry.dagster_event is not None)
    measured: dict[str, float] = {
        "s to last executed": max((row.decided_utc.timestamp() for row in executed), default=began_s) - began_s,
        "s to last run's end": max((record.end_time or began_s for record in made), default=began_s) - began_s,
        "runs": len(made),
        "steps": kinds[dg.DagsterEventType.STEP_SUCCESS],
        "events": sum(kinds.values()),
        "executed": len(executed),
        "published": outcomes["published"],
        "reused": outcomes["reused"],
    }
    return measured, spent


def _spent(instance: dg.DagsterInstance, made: Sequence[dg.RunRecord], landed_s: float) -> dict[str, float]:
    """Seconds of the longest chain of runs, by what they went on."""
    chain: list[dg.RunRecord] = []
    left = list(made)
    while left:
        chain.append(max(left, key=lambda record: record.end_time or 0.0))
        asked_s = chain[-1].create_timestamp.timestamp()
        left = [record for record in left if (record.end_time or 0.0) <= asked_s]
    spent = dict.fromkeys(("until asked for", "in the queue", "process starts", "runs"), 0.0)
    before_s = landed_s
    for record in reversed(chain):
        created_s, began_s, ended_s = record.create_timestamp.timestamp(), record.start_time, record.end_time
        (given,) = instance.all_logs(record.dagster_run.run_id, of_type=dg.DagsterEventType.RUN_STARTING)
        if began_s is None or ended_s is None:
            raise AssertionError(record)
        spent["until asked for"] += created_s - before_s
        spent["in the queue"] += given.timestamp - created_s
        spent["process starts"] += began_s - given.timestamp
        spent["runs"] += ended_s - began_s
        before_s = ended_s
    return {**spent, "all": before_s - landed_s, "runs one after the other": len(chain)}


def _deliver(settings: Settings, graph: Graph, change: Change) -> None:
    (feed,) = (f for f in graph.feeds if f.name == change.feed)
    file = settings.landing / feed.name / feed.expected_file(change.key)
    rows = list(csv.DictReader(io.StringIO(file.read_text())))
    row = next(filter(change.row, rows))
    row[change.column] = str(int(row[change.column]) + 1)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(row), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    land(file, text.getvalue().encode())


def _ask_for_reach(settings: Settings, graph: Graph, change: Change, instance: dg.DagsterInstance) -> None:
    """One backfill over everything that the links reach, of what has ever been settled."""
    repository = definitions(graph, settings).get_repository_def()
    subsets, whole = {}, set()
    for name, keys in _reach(settings, graph, change).items():
        asset = dg.AssetKey([name])
        partitions = repository.asset_graph.get(asset).partitions_def
        if partitions is None:
            whole.add(asset)
        else:
            subsets[asset] = partitions.subset_with_partition_keys(keys)
    backfill = PartitionBackfill.from_asset_graph_subset(
        backfill_id=uuid4().hex[:8],
        backfill_timestamp=time.time(),
        tags={},
        dynamic_partitions_store=instance,
        asset_graph_subset=AssetGraphSubset(subsets, whole),  # type: ignore[call-arg]  # it has both
        title=None,
        description=None,
        run_config=None,
    )
    instance.add_backfill(backfill)


def _reach(settings: Settings, graph: Graph, change: Change) -> dict[str, list[str]]:
    now, engine = datetime.now(UTC), open_engine(settings, graph)
    flags: dict[str, np.ndarray[tuple[int], np.dtype[np.bool_]]] = {}
    for table in graph.tables:
        place = places(table.partitions, now)
        reached = np.zeros(len(place), np.bool_)
        if table.feed is not None and table.feed.name == change.feed:
            reached[place[change.key]] = True
        for given in table.reads:
            if given.table in flags:
                reached |= linked(table, given, graph, now).reading(flags[given.table])
        settled = {key for key, *_ in engine.ledger.serials.standings(table.name)}
        reached &= np.array([key in settled for key in place], np.bool_)
        if reached.any():
            flags[table.name] = reached
    named = {name: zip(places(graph[name].partitions, now), hits, strict=True) for name, hits in flags.items()}
    return {name: [key for key, hit in keys if hit] for name, keys in named.items()}


def _await_quiet(instance: dg.DagsterInstance) -> None:
    """Wait until for a while no run and no backfill is under way."""
    active = BulkActionsFilter(statuses=[BulkActionStatus.REQUESTED])
    end = time.monotonic() + HEALED_S
    since = time.monotonic()
    while time.monotonic() < since + QUIET_S:
        if instance.get_runs(dg.RunsFilter(statuses=NOT_FINISHED_STATUSES)) or instance.get_backfills(active):
            since = time.monotonic()
        if time.monotonic() > end:
            msg = f"not healed within {HEALED_S:.0f} s"
            raise AssertionError(msg)
        time.sleep(_POLL_S)


def _outcomes(messages: Iterable[str]) -> Counter[str]:
    """How many partitions were published, reused, and so on, by what runs say at the end of a step."""
    found: Counter[str] = Counter()
    for message in messages:
        for count, word in re.findall(r"([\d,]+) (published|reused|refreshed|withheld)", message):
            found[word] += int(count.replace(",", ""))
    return found
