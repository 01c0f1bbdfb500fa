"""More tables than one sensor may have: two sensors ask one watch, one after the other, each for its own share.

The incident: what one sensor has requested is due in the other one's eyes as well, or what reads a table of the other
share is forgotten. Tables and ledger are the oracle's; sensors, decider, watch and Dagster's storage are the real ones.
"""

import logging
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from uuid import uuid4

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.storage.dagster_run import DagsterRunStatus
from dagster._time import get_current_timestamp

from sh_assets.automation import MOST, due, sensors
from sh_assets.deciding import WatchDecider
from sh_assets.keys import partitions_definition
from sh_core.partitions import WHOLE
from sh_drills.oracle.drive import Case
from sh_drills.oracle.system import System

pytestmark = [
    pytest.mark.graph,
    # Dagster itself calls it when it checks a request for a backfill.
    pytest.mark.filterwarnings("ignore:Function `AssetSelection.keys` is deprecated"),
    # Dagster's own tags of a partition of two dimensions.
    pytest.mark.filterwarnings("ignore:Non-compliant tag keys"),
]

TABLES, ROUNDS = MOST + 1, 400


@dataclass
class CaseClock:
    """Time as in a case."""

    system: System

    def now_utc(self) -> datetime:
        return self.system.now_utc

    def sleep(self, seconds: float) -> None:
        raise NotImplementedError(seconds)


@dataclass
class Location:
    """A code location with its sensors, over a case, and what was asked for and not done yet."""

    case: Case
    instance: dg.DagsterInstance
    open: list[tuple[str, dict[str, set[str]]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        clock = CaseClock(self.case.system)
        tables = self.case.system.book.graph.tables
        self.decider = WatchDecider(lambda: self.case.system.watch, clock)
        specs = [
            dg.AssetSpec(t.name, partitions_def=partitions_definition(t.partitions), automation_condition=due())
            for t in tables
        ]
        assets = [dg.multi_asset(name=spec.key.path[0], specs=[spec])(nothing) for spec in specs]
        # Runs are stored under the machine's time, and the case has its own: none is ever silent for too long.
        self.sensors = sensors([t.name for t in tables], self.decider)
        self.repository = dg.Definitions(assets=assets, sensors=self.sensors).get_repository_def()

    def tick(self, sensor: dg.SensorDefinition) -> None:
        """One tick, and what the daemon makes of the answer."""
        context = dg.build_sensor_context(instance=self.instance, repository_def=self.repository)
        context.log.setLevel(logging.ERROR)
        for request in sensor.evaluate_tick(context).run_requests or ():
            self.open.append(self._run(request) if request.asset_selection else self._backfill(request))

    def _run(self, request: dg.RunRequest) -> tuple[str, dict[str, set[str]]]:
        chosen = request.asset_selection or ()
        run = dg.DagsterRun(
            "__ASSET_JOB",
            str(uuid4()),
            tags=dict(request.tags),
            asset_selection=frozenset(chosen),
            status=DagsterRunStatus.STARTED,
        )
        self.instance.add_run(run)
        return run.run_id, {asset.path[0]: {request.partition_key or WHOLE} for asset in chosen}

    def _backfill(self, request: dg.RunRequest) -> tuple[str, dict[str, set[str]]]:
        subset = request.asset_graph_subset
        assert subset is not None
        backfill = PartitionBackfill.from_asset_graph_subset(
            backfill_id=f"backfill-{uuid4()}",
            backfill_timestamp=get_current_timestamp(),
            tags=dict(request.tags),
            dynamic_partitions_store=self.instance,
            asset_graph_subset=subset,
            title=None,
            description=None,
            run_config=None,
        )
        self.instance.add_backfill(backfill)
        asked = {
            k.path[0]: set(keys.get_partition_keys()) for k, keys in subset.partitions_subsets_by_asset_key.items()
        }
        return backfill.backfill_id, asked | {k.path[0]: {WHOLE} for k in subset.non_partitioned_asset_keys}

    def work(self, which: Collection[int]) -> None:
        """Do some of what was asked for, the earliest tables first."""
        order = {table.name: n for n, table in enumerate(self.case.system.book.graph.tables)}
        for number in sorted(which, reverse=True):
            name, asked = self.open.pop(number)
            for run in self.case.system.launch(dict(sorted(asked.items(), key=lambda item: order[item[0]]))):
                run.start()
                self.case.system.finish(run)
            if name.startswith("backfill-"):
                backfill = self.instance.get_backfill(name)
                assert backfill is not None
                self.instance.update_backfill(backfill.with_status(BulkActionStatus.COMPLETED_SUCCESS))
            else:
                self.instance.report_dagster_event(
                    dg.DagsterEvent(dg.DagsterEventType.RUN_SUCCESS.value, "__ASSET_JOB"), run_id=name
                )

    def heal(self) -> None:
        """Tick both sensors in turns, and work on some of it in between, until nothing is asked for."""
        for _ in range(ROUNDS):
            for sensor in self.case.rng.sample(self.sensors, len(self.sensors)):
                self.tick(sensor)
                twice = [place for place, count in Counter(self.wanted()).items() if count > 1]
                assert not twice
            if not self.open:
                return
            self.work(self.case.rng.sample(range(len(self.open)), (len(self.open) + 1) // 2))
        pytest.fail("it does not come to rest")

    def wanted(self) -> tuple[tuple[str, str], ...]:
        """Partitions that were asked for and not done yet, once for each time."""
        return tuple((table, key) for _, asked in self.open for table, keys in asked.items() for key in sorted(keys))


def nothing() -> Iterator[object]:
    """Nobody runs it."""
    raise NotImplementedError


@pytest.mark.slow
def test_of_501_tables_nothing_is_requested_twice_and_nothing_is_lost() -> None:
    case = Case.draw(5, tables=TABLES)
    with dg.DagsterInstance.ephemeral() as instance:
        location = Location(case, instance)
        assert [s.name for s in location.sensors] == ["due", "due_2"]
        location.heal()
        case.check_content()
        case.check_traces()
        for _ in range(5):
            case.change()
            location.heal()
            case.check_content()
            case.check_traces()
        case.check_quiet()
