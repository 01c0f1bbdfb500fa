"""Automation tick by tick, as the daemon has the code location evaluate it, but without a daemon."""

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.asset_selection import AssetSelection
from dagster._core.definitions.automation_condition_sensor_definition import MAX_ENTITIES
from dagster._core.definitions.declarative_automation.serialized_objects import AutomationConditionEvaluation
from dagster._core.definitions.sensor_definition import SensorExecutionData, SensorType
from dagster._core.execution.backfill import PartitionBackfill
from dagster._core.remote_origin import InProcessCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.remote_representation.external_data import RepositorySnap
from dagster._core.storage.dagster_run import DagsterRunStatus
from dagster._core.storage.runs.schema import RunsTable
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._serdes import deserialize_value, serialize_value
from dagster._time import get_current_timestamp

from sh_assets.automation import MOST, Answer, Busy, due, sensors
from sh_assets.dagster_private import ask_here
from sh_assets.in_progress import SILENT
from sh_core.partitions import WHOLE
from sh_core.policy import Hold
from sh_defs.definitions import definitions
from sh_resources import settings
from sh_resources.clock import ManualClock
from sh_sensors.tidying import tidy
from tests.graph.domain import GRAPH, KEYS, MART, RAW, STG

DAILY = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-12-31")
ORIGIN = RemoteJobOrigin(
    RemoteRepositoryOrigin(InProcessCodeLocationOrigin(LoadableTargetOrigin(module_name="nowhere")), "__repository__"),
    "__ASSET_JOB",
)
"""Without one, Dagster queues no run."""
WEEKLY = dg.WeeklyPartitionsDefinition("2024-01-01", day_offset=1, end_date="2024-12-30")

# Dagster itself calls it when it checks a request for a backfill.
pytestmark = pytest.mark.filterwarnings("ignore:Function `AssetSelection.keys` is deprecated")


@dataclass
class Memory:
    """A decider that wants what it is told to, but for what is in progress."""

    want: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    held: dict[str, dict[str, Hold]] = field(default_factory=dict)
    asked: list[tuple[frozenset[str], int, Busy]] = field(default_factory=list)

    def decide(self, tables: frozenset[str], evaluation_id: int, busy: Busy) -> Mapping[str, Answer]:
        self.asked.append((tables, evaluation_id, busy))
        return {
            table: Answer(
                {k: why for k, why in self.want.get(table, {}).items() if k not in busy.get(table, ())},
                self.held.get(table, {}),
            )
            for table in tables & {*self.want, *self.held}
        }

    def wants(self, **tables: Sequence[str]) -> None:
        self.want = {table: dict.fromkeys(keys, ("code changed",)) for table, keys in tables.items()}


@dataclass(frozen=True)
class Location:
    """A code location whose tables a ``Memory`` decides about."""

    decider: Memory
    defs: dg.Definitions
    instance: dg.DagsterInstance
    clock: ManualClock

    def sensors(self) -> list[dg.SensorDefinition]:
        found = self.defs.get_repository_def().sensor_defs
        return sorted((s for s in found if s.name.startswith("due")), key=lambda s: s.name)

    def tick(self, which: int = 0, tick_id: int = 7) -> SensorExecutionData:
        """One tick of one of our sensors."""
        return self.tick_of(self.sensors()[which], tick_id)

    def tick_of(self, sensor: dg.SensorDefinition, tick_id: int = 7) -> SensorExecutionData:
        """One tick, through whatever Dagster serializes it with on its way to the daemon."""
        context = dg.SensorEvaluationContext(
            instance_ref=self.instance.get_ref(),
            last_tick_completion_time=None,
            last_run_key=None,
            cursor=None,
            repository_name="__repository__",
            instance=self.instance,
            repository_def=self.defs.get_repository_def(),
            log_key=["__repository__", "due", str(tick_id)],
        )
        with context:
            told = sensor.evaluate_tick(context)
        return deserialize_value(serialize_value(told), SensorExecutionData)

    def launch(self, told: SensorExecutionData, asked_s: float | None = None) -> list[dg.DagsterRun]:
        """What the daemon makes of the answer: a backfill, or runs that nobody executes."""
        runs = []
        for request in told.run_requests or []:
            if request.requires_backfill_daemon():
                assert request.asset_graph_subset is not None
                backfill = PartitionBackfill.from_asset_graph_subset(
                    backfill_id="b1",
                    backfill_timestamp=asked_s or get_current_timestamp(),
                    tags=dict(request.tags),
                    dynamic_partitions_store=self.instance,
                    asset_graph_subset=request.asset_graph_subset,
                    title=None,
                    description=None,
                    run_config=None,
                )
                self.instance.add_backfill(backfill)
                continue
            chosen = frozenset(request.asset_selection or ())
            tags = dict(request.tags)
            runs.append(self.run(chosen, tags))
        return runs

    def run(self, assets: frozenset[dg.AssetKey] | None, tags: Mapping[str, str]) -> dg.DagsterRun:
        job = self.defs.resolve_implicit_global_asset_job_def()
        subset = job.get_subset(asset_selection=assets) if assets else job
        return self.instance.create_run_for_job(subset, asset_selection=assets, tags=tags, remote_job_origin=ORIGIN)

    def backdate(self, run: dg.DagsterRun) -> None:
        """Have a run begun a day ago."""
        with self.instance.run_storage.connect() as connection:  # type: ignore[attr-defined]  # SQLite's has it
            long_ago = datetime.now(UTC) - timedelta(days=1)
            connection.execute(
                RunsTable.update().where(RunsTable.c.run_id == run.run_id).values(create_timestamp=long_ago)
            )

    def end(self, run: dg.DagsterRun, status: DagsterRunStatus = DagsterRunStatus.SUCCESS) -> None:
        kind = {DagsterRunStatus.SUCCESS: dg.DagsterEventType.RUN_SUCCESS}.get(status, dg.DagsterEventType.RUN_FAILURE)
        self.instance.report_dagster_event(dg.DagsterEvent(kind.value, run.job_name), run_id=run.run_id)


def location(instance: dg.DagsterInstance, tables: Mapping[str, Any], *others: dg.AssetsDefinition) -> Location:
    """Assets in a chain, each with its definition of partitions."""
    decider, before, assets = Memory(), list[str](), []
    for name, partitions in tables.items():

        @dg.asset(name=name, deps=before, partitions_def=partitions, automation_condition=due())
        def body() -> None: ...

        before = [name]
        assets.append(body)
    clock = ManualClock(datetime.now(UTC))  # runs and events are stored under the time of the machine
    defs = dg.Definitions(assets=[*assets, *others], sensors=sensors(list(tables), decider, clock=clock))
    return Location(decider, defs, instance, clock)


@pytest.fixture
def chain(instance: dg.DagsterInstance) -> Location:
    return location(instance, {"one": DAILY, "two": DAILY, "week": WEEKLY, "all": None})


def requested(told: SensorExecutionData) -> list[tuple[set[str], str | None]]:
    return [
        ({k.path[0] for k in r.asset_selection or ()}, r.partition_key) if r.asset_selection else (set(), None)
        for r in told.run_requests or []
    ]


def lines(told: SensorExecutionData, table: str) -> dict[str, Any]:
    (found,) = (e for e in told.automation_condition_evaluations if e.key == dg.AssetKey(table))
    return {c.condition_snapshot.name or "": partitions_of(c) for c in found.child_evaluations}


def partitions_of(evaluated: AutomationConditionEvaluation[Any]) -> Any:  # noqa: ANN401 - keys, or whether it is true
    value = evaluated.true_subset.value
    return value if isinstance(value, bool) else sorted(value.get_partition_keys())


def test_nothing_due_requests_nothing(chain: Location) -> None:
    told = chain.tick()
    assert told.run_requests == []
    assert [asked for asked, _, _ in chain.decider.asked] == [frozenset({"one", "two", "week", "all"})]


def test_single_partitions_become_runs(chain: Location) -> None:
    chain.decider.wants(one=["2024-02-29"], week=["2024-02-26"], all=[WHOLE])
    assert requested(chain.tick()) == [({"all"}, None), ({"week"}, "2024-02-26"), ({"one"}, "2024-02-29")]


def test_several_partitions_become_one_backfill_with_what_hangs_on_them(chain: Location) -> None:
    chain.decider.wants(one=["2024-02-28", "2024-03-01"], two=["2024-03-01"], all=[WHOLE])
    run, backfill = chain.tick().run_requests or []
    assert backfill.asset_graph_subset is not None
    target = {
        key.path[0]: set(subset.get_partition_keys())
        for key, subset in backfill.asset_graph_subset.partitions_subsets_by_asset_key.items()
    }
    assert target == {"one": {"2024-02-28", "2024-03-01"}, "two": {"2024-03-01"}}
    assert [k.path[0] for k in run.asset_selection or ()] == ["all"]


def test_a_ticks_log_says_what_is_requested_and_is_no_file_where_nothing_is(
    chain: Location, capfd: pytest.CaptureFixture[str]
) -> None:
    """Dagster's own two lines per tick were a new file each second, which nobody removes."""
    chain.tick()
    assert logs_of_ticks(chain.instance) == {}
    chain.decider.want = {"one": {f"2024-03-0{n}": ("code changed", "feed changed") for n in range(1, 6)}}
    chain.tick()
    said = "one: 2024-03-01, 2024-03-02, 2024-03-03 and 2 more (code changed; feed changed)"
    (log,) = logs_of_ticks(chain.instance).values()
    assert [json.loads(line)["msg"].rpartition(" - ")[2] for line in log.splitlines()] == [said]
    assert capfd.readouterr().err.count("\n") == 1


def logs_of_ticks(instance: dg.DagsterInstance) -> dict[str, str]:
    place = Path(instance.storage_directory())
    return {str(file): file.read_text() for file in place.rglob("*.err")}


def test_the_decider_is_told_the_tick_and_dagster_keeps_the_evaluation_under_the_same_number(chain: Location) -> None:
    """``selfheal`` finds what it decided by the number that the web interface shows."""
    chain.tick(tick_id=4711)
    assert [number for _, number, _ in chain.decider.asked] == [4711]


def test_what_is_in_progress_is_not_requested_twice(chain: Location) -> None:
    chain.decider.wants(one=["2024-02-29"], all=[WHOLE])
    runs = chain.launch(chain.tick())
    assert [r.status for r in runs] == [DagsterRunStatus.NOT_STARTED] * 2
    assert chain.tick().run_requests == []
    assert chain.decider.asked[-1][2] == {"one": {"2024-02-29"}, "all": {WHOLE}}
    for run in runs:
        chain.end(run, DagsterRunStatus.FAILURE)
    assert len(chain.tick().run_requests or []) == 2  # it is still due: the decider, not Dagster, says when to stop


def test_what_a_backfill_has_not_launched_yet_is_in_progress(chain: Location) -> None:
    """The backfill daemon looks every half minute; a tick in between would start a second backfill."""
    keys = ["2024-02-28", "2024-02-29", "2024-03-04"]
    chain.decider.wants(one=keys, week=["2024-02-26"], two=keys[:1])
    chain.launch(chain.tick())
    assert chain.tick().run_requests == []
    assert chain.decider.asked[-1][2] == {"one": set(keys), "two": {keys[0]}, "week": {"2024-02-26"}}


def test_what_a_range_run_covers_is_in_progress(chain: Location) -> None:
    chosen = frozenset({dg.AssetKey("one"), dg.AssetKey("two")})
    span = {
        "dagster/asset_partition_range_start": "2024-02-28",
        "dagster/asset_partition_range_end": "2024-03-01",
        "dagster/backfill": "someone's",
    }
    run = chain.run(chosen, span)
    chain.tick()
    days = {"2024-02-28", "2024-02-29", "2024-03-01"}
    assert chain.decider.asked[-1][2] == {"one": days, "two": days}
    chain.end(run)
    chain.tick()
    assert chain.decider.asked[-1][2] == {}


def test_a_run_of_everything_is_of_every_table(chain: Location) -> None:
    """A job that a person launches names no assets."""
    chain.run(None, {"dagster/partition": "2024-02-26"})
    chain.tick()
    day = {"2024-02-26"}
    assert chain.decider.asked[-1][2] == {"one": day, "two": day, "week": day, "all": {WHOLE}}


def test_a_run_that_tidies_is_of_no_table(chain: Location) -> None:
    """The incident: while files are removed, every register counts as worked on, and what reads it waits."""
    run = chain.instance.create_run_for_job(tidy, remote_job_origin=ORIGIN)
    assert run.asset_selection is None
    chain.tick()
    assert chain.decider.asked[-1][2] == {}


def test_a_run_of_which_nothing_is_heard_is_not_waited_for_for_ever(chain: Location) -> None:
    """Its machine is gone, say, and nobody ever marks it as failed: its partitions would stay as they are for ever."""
    chain.run(frozenset({dg.AssetKey("one")}), {"dagster/partition": "2024-02-26"})
    queued = chain.run(frozenset({dg.AssetKey("two")}), {"dagster/partition": "2024-02-26"})
    chain.instance.report_dagster_event(
        dg.DagsterEvent(dg.DagsterEventType.RUN_ENQUEUED.value, queued.job_name), run_id=queued.run_id
    )
    day = frozenset({"2024-02-26"})
    chain.clock.advance(SILENT - timedelta(minutes=1))
    chain.tick()
    assert chain.decider.asked[-1][2] == {"one": day, "two": day}
    chain.clock.advance(timedelta(minutes=2))
    chain.tick()
    assert chain.decider.asked[-1][2] == {"two": day}  # stands in Dagster's queue


def test_what_is_in_the_queue_holds_up_only_those_who_have_a_daemon(chain: Location) -> None:
    """The incident: `selfheal dev` is ended while runs wait in the queue, and `selfheal run` waits for them."""
    run = chain.run(frozenset({dg.AssetKey("one")}), {"dagster/partition": "2024-02-26"})
    chain.instance.report_dagster_event(
        dg.DagsterEvent(dg.DagsterEventType.RUN_ENQUEUED.value, run.job_name), run_id=run.run_id
    )
    chain.tick()
    assert chain.decider.asked[-1][2] == {"one": {"2024-02-26"}}
    ask_here(chain.defs, chain.instance)
    assert chain.decider.asked[-1][2] == {}
    chain.instance.report_run_canceling(run)
    chain.instance.report_run_canceled(run)
    chain.tick()
    assert chain.decider.asked[-1][2] == {}


def test_a_long_run_that_says_something_now_and_then_is_waited_for(chain: Location) -> None:
    run = chain.run(frozenset({dg.AssetKey("one")}), {"dagster/partition": "2024-02-26"})
    chain.backdate(run)
    chain.instance.report_engine_event("it works", run)
    chain.tick()
    assert chain.decider.asked[-1][2] == {"one": {"2024-02-26"}}


def test_a_backfill_of_which_nothing_is_heard_is_not_waited_for_for_ever(chain: Location) -> None:
    """One of its runs died with its machine, and it waits for that one before it launches those downstream."""
    keys = ["2024-02-28", "2024-02-29", "2024-03-04"]
    chain.decider.wants(one=keys)
    chain.launch(chain.tick(), asked_s=get_current_timestamp() - 86400)
    chain.tick()
    assert chain.decider.asked[-1][2] == {}
    run = chain.run(frozenset({dg.AssetKey("two")}), {"dagster/partition": keys[0], "dagster/backfill": "b1"})
    chain.tick()
    assert chain.decider.asked[-1][2] == {"one": set(keys), "two": {keys[0]}}  # one of its runs goes on
    chain.end(run)
    chain.tick()
    assert chain.decider.asked[-1][2] == {"one": set(keys)}  # or has ended a moment ago
    chain.clock.advance(2 * SILENT)
    chain.tick()
    assert chain.decider.asked[-1][2] == {}


def test_runs_of_other_assets_in_the_location_disturb_nobody(instance: dg.DagsterInstance) -> None:
    """Keys of tables have one part; a run of an asset with two broke every tick."""

    @dg.asset(key=["somebody", "else"], partitions_def=DAILY)
    def other() -> None: ...

    mixed = location(instance, {"one": DAILY}, other)
    mixed.run(frozenset({dg.AssetKey(["somebody", "else"])}), {"dagster/partition": "2024-02-26"})
    mixed.run(None, {"dagster/partition": "2024-02-26"})
    mixed.decider.wants(one=["2024-02-28"])
    assert requested(mixed.tick()) == [({"one"}, "2024-02-28")]
    assert mixed.decider.asked[-1][2] == {"one": {"2024-02-26"}}


def test_a_copy_of_the_sensor_asks_too(chain: Location) -> None:
    """Dagster copies sensors to add metadata; its copies are ordinary ones."""
    (sensor,) = chain.sensors()
    copy = sensor.with_attributes(metadata={"by": "somebody"})
    assert isinstance(copy, dg.AutomationConditionSensorDefinition)
    again = replace(chain, defs=dg.Definitions(assets=chain.defs.assets, sensors=[copy]))
    chain.decider.wants(one=["2024-02-28"])
    assert requested(again.tick()) == [({"one"}, "2024-02-28")]
    assert copy.metadata["by"].value == "somebody"
    assert (copy.description, copy.minimum_interval_seconds, copy.default_status) == (
        sensor.description,
        sensor.minimum_interval_seconds,
        sensor.default_status,
    )


def test_a_sensor_without_a_decider_says_so(chain: Location) -> None:
    """A bare LookupError from the depths of Dagster would send nobody to the right place."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        plain = dg.AutomationConditionSensorDefinition("plain", target="*", use_user_code_server=True)
    lost = replace(chain, defs=dg.Definitions(assets=chain.defs.assets, sensors=[plain]))
    with pytest.raises(Exception, match="conditions for one") as raised:
        lost.tick_of(plain)
    assert "sh_assets.automation.sensors" in str(raised.value.__cause__)


def test_what_was_lost_is_requested_again(chain: Location) -> None:
    """Daemon killed between the evaluation and the launch: the next tick finds no run, and asks again."""
    chain.decider.wants(one=["2024-02-28", "2024-02-29"], all=[WHOLE])
    first, second = chain.tick(), chain.tick()
    assert len(first.run_requests or []) == len(second.run_requests or []) == 2


def test_a_page_says_per_reason_which_partitions(chain: Location) -> None:
    chain.decider.want = {
        "one": {"2024-02-28": ("code changed", "feed changed"), "2024-02-29": ("feed changed",)},
        "all": {WHOLE: ("first time",)},
    }
    chain.decider.held = {"one": {"2024-03-01": Hold.PAUSED, "2024-03-03": Hold.BACKING_OFF, "2024-03-02": Hold.PAUSED}}
    told = chain.tick()
    assert lines(told, "one") == {
        "code changed": ["2024-02-28"],
        "feed changed": ["2024-02-28", "2024-02-29"],
        "not now: paused": ["2024-03-01", "2024-03-02"],
        "not now: failed, is tried again later": ["2024-03-03"],
    }
    assert lines(told, "all") == {"first time": True}
    (one,) = (e for e in told.automation_condition_evaluations if e.key == dg.AssetKey("one"))
    assert partitions_of(one) == ["2024-02-28", "2024-02-29"]


def test_partitions_that_dagster_does_not_know_are_left_out(chain: Location) -> None:
    """A clock that is ahead: one partition that does not exist fails a whole backfill."""
    chain.decider.wants(one=["2024-12-30", "2031-01-01"])
    assert requested(chain.tick()) == [({"one"}, "2024-12-30")]


def test_more_tables_than_a_sensor_may_have_get_several(instance: dg.DagsterInstance) -> None:
    """Dagster refuses to evaluate more than 500 assets in the code location."""
    assert MOST == MAX_ENTITIES
    names = [f"t{number:04}" for number in range(MOST + 2)]
    many = location(instance, dict.fromkeys(names, DAILY))
    assert [s.name for s in many.sensors()] == ["due", "due_2"]
    many.decider.wants(**{names[0]: ["2024-02-28"], names[-1]: ["2024-02-29"]})
    assert requested(many.tick(0)) == [({names[0]}, "2024-02-28")]
    assert requested(many.tick(1)) == [({names[-1]}, "2024-02-29")]
    asked = [tables for tables, _, _ in many.decider.asked]
    assert [len(tables) for tables in asked] == [MOST, 2]
    assert frozenset.union(*asked) == set(names)


def snapshot(of: dg.Definitions) -> RepositorySnap:
    """What the daemon and the web interface get to know of a code location."""
    return deserialize_value(serialize_value(RepositorySnap.from_def(of.get_repository_def())), RepositorySnap)


def test_the_condition_reaches_the_web_interface(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    """A condition of our own in Dagster's default sensor is lost without a word, and nothing ever runs."""
    found = settings.load({"SELFHEAL_HOME": str(tmp_path)})
    told = snapshot(definitions(GRAPH, found, decider=Memory()))
    shown = {n.asset_key.path[-1]: n.automation_condition_snapshot for n in told.asset_nodes if n.is_materializable}
    assert {name: s and s.node_snapshot.name for name, s in shown.items()} == {t.name: "due" for t in GRAPH.tables}
    ours = [
        s for s in told.sensors if s.name not in {"arrivals", "lateness", "recovery", "tidying"}
    ]  # and no default sensor besides
    assert [(s.name, s.sensor_type) for s in ours] == [("due", SensorType.AUTOMATION)]
    selected = ours[0].asset_selection
    assert isinstance(selected, AssetSelection)
    assert all(t.name in str(selected) for t in GRAPH.tables)


def test_the_tables_of_a_graph_run_together_on_one_partition(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    """One run for a day's raw, staged and mart partition, with their checks, and not one each."""
    decider = Memory()
    decider.wants(**{t.name: KEYS[:1] for t in GRAPH.tables})
    defs = definitions(GRAPH, settings.load({"SELFHEAL_HOME": str(tmp_path)}), decider=decider)
    hotel = Location(decider, defs, instance, ManualClock(datetime.now(UTC)))
    assert requested(hotel.tick()) == [({RAW.name, STG.name, MART.name}, KEYS[0])]
