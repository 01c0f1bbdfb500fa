"""A state folder with a Dagster of its own, and what a person reads there: for scenarios with real files."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import dagster as dg

from sh_assets.flights.feeds import REFERENCE_FEEDS
from sh_core.accounts import RowAccount
from sh_core.feed import Feed
from sh_core.graph import Graph
from sh_core.outcome import Published
from sh_core.partitions import WHOLE
from sh_defs.definitions import definitions
from sh_defs.running import run_table
from sh_drills.replay import Replay, land, morning_after
from sh_resources.clock import ReplayCalendar
from sh_resources.engine import Engine
from sh_resources.ledger import ArrivalAccount
from sh_resources.settings import load
from sh_resources.wiring import open_engine

Kind = dg.DagsterEventType
Said = dict[tuple[str, str], str]
"""Sentences by (table, rule)."""


@dataclass(frozen=True)
class Bed:
    """One graph, its state and its runs."""

    home: Path
    graph: Graph
    instance: dg.DagsterInstance
    defs: dg.Definitions
    engine: Engine

    @classmethod
    @contextmanager
    def at(cls, home: Path, tables: Sequence[object]) -> Iterator["Bed"]:
        """Open one with nothing in it; its Dagster keeps what it is told in SQLite, as the project's own does."""
        (home / "dagster").mkdir(parents=True)
        graph, settings = Graph.of(tables), load({"SELFHEAL_HOME": str(home)})  # type: ignore[arg-type]
        ReplayCalendar(settings.calendar).put(morning_after(date(2012, 12, 31)))  # nothing is late
        with dg.DagsterInstance.local_temp(
            str(home / "dagster"), overrides={"telemetry": {"enabled": False}}
        ) as instance:
            engine = open_engine(settings, graph)
            yield cls(home, graph, instance, definitions(graph, settings), engine)
            engine.ledger.close()

    def path(self, feed: Feed, key: str) -> Path:
        """Where a partition's file lands."""
        path = self.home / "landing" / feed.name / feed.expected_file(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def deliver(self, feed: Feed, files: Mapping[str, bytes]) -> None:
        """Land files whole, whatever is there under their names."""
        for key, content in files.items():
            path = self.path(feed, key)
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            land(path, content)

    def take_registers(self) -> None:
        """Let the flights' reference data land, and publish it."""
        for feed in REFERENCE_FEEDS:
            self.deliver(feed, {WHOLE: Replay.load().snapshots[feed.name]})
            for name in (f"raw_{feed.name}", f"stg_{feed.name}"):
                (outcome,) = self.engine.materialize(name, [WHOLE], run_id=name)
                assert isinstance(outcome, Published)

    def run(self, tables: Iterable[str], keys: Sequence[str]) -> dict[str, "Told"]:
        """Materialize the same partitions of some tables, inputs first, through Dagster.

        Returns:
            What a person reads of each partition.
        """
        told = {key: Told({}, {}) for key in keys}
        for name in tables:
            for ran in run_table(self.instance, self.defs, self.graph[name], keys):
                for entry in self.instance.all_logs(ran.run_id):
                    if entry.dagster_event is not None:
                        _note(told, name, entry.dagster_event)
        return told

    def published(self, name: str) -> set[str]:
        """Partitions of a table that readers see."""
        return set(self.engine.ledger.publications.current(name))

    def accounts(self, feed: Feed, staged: str) -> list[ArrivalAccount]:
        """Where the rows of each arrival are, in order of arrival; none of them missing."""
        found = self.engine.ledger.accounts(feed.name, f"raw_{feed.name}", staged)
        assert [a for a in found if a.account.missing] == []
        return found

    def account(self, feed: Feed, staged: str, key: str) -> RowAccount:
        """Where the rows of the current arrival of a partition are."""
        (current,) = (
            a for a in self.accounts(feed, staged) if a.arrival.partition == key and not a.arrival.superseded_by
        )
        return current.account


@dataclass(frozen=True)
class Told:
    """What Dagster shows of one partition.

    Attributes:
        failed_checks: What each failed check says.
        not_published: Per table that could not be published, what the run's failure says of it.
    """

    failed_checks: Said
    not_published: dict[str, str]


def _note(told: Mapping[str, Told], table: str, event: dg.DagsterEvent) -> None:
    if event.event_type is Kind.ASSET_CHECK_EVALUATION:
        check = event.asset_check_evaluation_data
        if not check.passed:
            assert check.partition is not None
            told[check.partition].failed_checks[table, check.check_name] = check.description or ""
    elif event.event_type is Kind.STEP_FAILURE:
        thrown = event.step_failure_data.user_failure_data
        if thrown is None:  # not told by partition: the run as a whole could not go on
            error = event.step_failure_data.error
            raised = error.cause if error is not None and error.cause is not None else error
            said = "" if raised is None else raised.message.partition(": ")[2].strip()
            for partition in told.values():
                partition.not_published[table] = said
            return
        for kind, named in thrown.metadata.items():
            assert isinstance(named, dg.JsonMetadataValue)
            for text in named.value:  # type: ignore[union-attr]
                key, _, why = str(text).partition(" ")
                told[key].not_published[table] = f"{kind} {why}"
