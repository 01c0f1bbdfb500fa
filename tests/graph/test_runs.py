"""Runs: what Dagster shows of each partition is what became of it."""

from collections import Counter

import dagster as dg
import pytest

from sh_core.outcome import Published, Reused
from sh_resources import settings
from sh_resources.wiring import open_engine
from tests.graph.domain import BROKEN, CRASHING, GOOD, GRAPH, KEYS, MART, RAW, SPLIT, STG, World

pytestmark = pytest.mark.graph

MATERIALIZED, EVALUATED = dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_CHECK_EVALUATION
RULES = len(STG.contract.rules)
SILENT = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def roots(world: World, table: str) -> dict[str, str]:
    """What the ledger says is published."""
    engine = open_engine(settings.load({"SELFHEAL_HOME": str(world.home)}), GRAPH)
    return {key: s.version.root for key, s in engine.ledger.publications.current(table).items()}


def shown(world: World, table: str) -> dict[str, str]:
    """What Dagster says is published."""
    found = world.instance.event_log_storage.get_latest_tags_by_partition(
        dg.AssetKey(table), MATERIALIZED, ["dagster/data_version"]
    )
    return {key: tags["dagster/data_version"] for key, tags in found.items()}


def test_all_good(world: World) -> None:
    world.deliver(dict.fromkeys(KEYS[:4], GOOD))
    assert world.run_all(KEYS[:4]) == [True, True, True]
    for table in GRAPH.tables:
        assert world.statuses(table) == "MMMM.........."
        assert shown(world, table.name) == roots(world, table.name)
    # Raw rows carry the day, so each day has a version of its own.
    assert len(set(shown(world, RAW.name).values())) == 4


def test_one_withheld_of_many(world: World) -> None:
    world.deliver({KEYS[0]: GOOD, KEYS[1]: BROKEN, KEYS[2]: SPLIT, KEYS[3]: CRASHING})
    assert world.run_all(KEYS[:5]) == [False, False, False]
    assert world.statuses(RAW) == "MMMMF........."
    assert world.statuses(STG) == "MFMFF........."
    assert world.statuses(MART) == "MFMFF........."
    assert shown(world, STG.name) == roots(world, STG.name)


def test_none_publishable(world: World) -> None:
    world.deliver(dict.fromkeys(KEYS[:3], BROKEN))
    assert world.run_all(KEYS[:3]) == [True, False, False]
    assert world.statuses(STG) == world.statuses(MART) == "FFF..........."
    assert shown(world, STG.name) == {}


def test_a_withheld_partition_stays_failed_and_the_others_stay_materialized_when_nothing_changed(world: World) -> None:
    world.deliver({KEYS[0]: GOOD, KEYS[1]: BROKEN, KEYS[2]: GOOD})
    world.run_all(KEYS[:3])
    world.outcomes.clear()
    assert world.run_all(KEYS[:3]) == [True, False, False]
    assert world.statuses(STG) == "MFM..........."
    assert Counter(type(o).__name__ for _, o in world.outcomes) == {"Reused": 8, "Waiting": 1}


def test_a_corrected_delivery_heals(world: World) -> None:
    world.deliver({KEYS[0]: GOOD, KEYS[1]: BROKEN})
    world.run_all(KEYS[:2])
    world.deliver({KEYS[1]: GOOD})
    assert world.run_all(KEYS[:2]) == [True, True, True]
    assert world.statuses(STG) == world.statuses(MART) == "MM............"
    assert shown(world, MART.name) == roots(world, MART.name)


def test_the_last_good_content_stays_and_the_partition_shows_as_failed(world: World) -> None:
    world.deliver({KEYS[0]: GOOD})
    world.run_all(KEYS[:1])
    before = roots(world, STG.name)
    world.deliver({KEYS[0]: BROKEN})
    assert world.run_all(KEYS[:1]) == [True, False, True]
    assert world.statuses(STG) == "F............."
    assert shown(world, STG.name) == before == roots(world, STG.name)


def test_a_single_partition(world: World) -> None:
    world.deliver({KEYS[0]: GOOD})
    (ran,) = world.run(RAW, KEYS[:1])
    assert ran.success
    run = world.instance.get_run_by_id(ran.run_id)
    assert run is not None
    assert run.tags["dagster/partition"] == KEYS[0]
    assert [(e.asset_key, e.partition) for e in world.events(ran, MATERIALIZED)] == [
        (dg.AssetKey(["landing", "visits"]), KEYS[0]),
        (dg.AssetKey(RAW.name), KEYS[0]),
    ]


def test_partitions_with_gaps_take_a_run_each_span(world: World) -> None:
    world.deliver(dict.fromkeys(KEYS[:6], GOOD))
    ran = world.run(RAW, [KEYS[5], KEYS[0], KEYS[1], KEYS[3]])
    assert [r.partitions for r in ran] == [KEYS[0:2], KEYS[3:4], KEYS[5:6]]
    assert world.statuses(RAW) == "MM.M.M........"


def test_the_materialization_tells_the_figures(world: World) -> None:
    world.deliver({KEYS[0]: SPLIT})
    world.run(RAW, KEYS[:1])
    (ran,) = world.run(STG, KEYS[:1])
    (event,) = world.events(ran, MATERIALIZED)
    told = {name: value.value for name, value in event.materialization.metadata.items()}
    assert told["dagster/partition_row_count"] == 3
    assert (told["rows_arrived"], told["rows_judged"], told["rows_quarantined"], told["rows_duplicate"]) == (4, 4, 1, 0)
    assert told["executed"] is True
    assert told["version"] == shown(world, STG.name)[KEYS[0]] == roots(world, STG.name)[KEYS[0]]


def test_the_feed_shows_each_arrival_once(world: World) -> None:
    feed = dg.AssetKey(["landing", "visits"])
    world.deliver(dict.fromkeys(KEYS[:2], GOOD))
    world.run(RAW, KEYS[:3])
    world.run(RAW, KEYS[:3])
    world.deliver({KEYS[0]: SPLIT})
    world.run(RAW, KEYS[:3])
    found = world.instance.fetch_materializations(feed, limit=10).records
    assert [r.partition_key for r in reversed(found)] == [KEYS[0], KEYS[1], KEYS[0]]


def test_reuse_computes_nothing_and_is_told_apart(world: World) -> None:
    world.deliver(dict.fromkeys(KEYS[:3], GOOD))
    world.run_all(KEYS[:3])
    before = shown(world, STG.name)
    world.outcomes.clear()
    (ran,) = world.run(STG, KEYS[:3])
    assert all(isinstance(o, Reused) for _, o in world.outcomes)
    assert [e.materialization.metadata["executed"].value for e in world.events(ran, MATERIALIZED)] == [False] * 3
    assert shown(world, STG.name) == before


def test_force_computes_again(world: World) -> None:
    world.deliver(dict.fromkeys(KEYS[:2], GOOD))
    world.run_all(KEYS[:2])
    world.outcomes.clear()
    (ran,) = world.run(STG, KEYS[:2], force=True)
    assert [(type(o), o.refreshed) for _, o in world.outcomes if isinstance(o, Published)] == [(Published, True)] * 2
    assert [e.materialization.metadata["content_unchanged"].value for e in world.events(ran, MATERIALIZED)] == [
        True
    ] * 2


def test_force_by_run_config(world: World) -> None:
    world.deliver({KEYS[0]: GOOD})
    world.run_all(KEYS[:1])
    world.outcomes.clear()
    job = world.defs.resolve_implicit_global_asset_job_def()
    run = job.execute_in_process(
        instance=world.instance,
        partition_key=KEYS[0],
        asset_selection=[dg.AssetKey(STG.name)],
        run_config={**SILENT, "ops": {STG.name: {"config": {"force": True}}}},
    )
    assert run.success
    assert [type(o) for _, o in world.outcomes] == [Published]


def execute(world: World, selection: dg.AssetSelection, first: str, last: str) -> dg.ExecuteInProcessResult:
    """A run over a selection of assets and checks."""
    job = dg.define_asset_job("some", selection=selection)
    return (
        dg.Definitions.merge(world.defs, dg.Definitions(jobs=[job]))
        .resolve_job_def("some")
        .execute_in_process(
            instance=world.instance,
            tags={"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last},
            raise_on_error=False,
            run_config=SILENT,
        )
    )


def test_all_tables_in_one_run_materialize_each_partition_once(world: World) -> None:
    world.deliver(dict.fromkeys(KEYS[:3], GOOD))
    run = execute(world, dg.AssetSelection.assets(*(t.name for t in GRAPH.tables)), KEYS[0], KEYS[2])
    assert run.success
    told = Counter((e.asset_key, e.partition) for e in run.get_asset_materialization_events())
    assets = [dg.AssetKey(["landing", "visits"]), *(dg.AssetKey(t.name) for t in GRAPH.tables)]
    assert told == {(asset, key): 1 for asset in assets for key in KEYS[:3]}
    assert shown(world, STG.name) == roots(world, STG.name)


def test_checks_that_are_not_selected_are_not_told(world: World) -> None:
    world.deliver(dict.fromkeys(KEYS[:2], GOOD))
    world.run(RAW, KEYS[:2])
    one = dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey(STG.name), "parse"))
    run = execute(world, dg.AssetSelection.assets(STG.name).without_checks() | one, KEYS[0], KEYS[1])
    assert run.success
    assert Counter(e.check_name for e in run.get_asset_check_evaluations()) == {"parse": 2}
    assert len(run.get_asset_materialization_events()) == 2


def test_checks_alone_compute_nothing_and_tell_what_is_known(world: World) -> None:
    world.deliver({KEYS[0]: GOOD, KEYS[1]: BROKEN})
    world.run_all(KEYS[:2])
    world.outcomes.clear()
    run = execute(world, dg.AssetSelection.checks_for_assets(STG.name), KEYS[0], KEYS[1])
    assert run.success
    assert world.outcomes == []
    assert run.get_asset_materialization_events() == []
    assert Counter((e.partition, e.passed) for e in run.get_asset_check_evaluations()) == {
        (KEYS[0], True): RULES,
        (KEYS[1], True): RULES - 1,
        (KEYS[1], False): 1,
    }


def test_what_a_killed_run_published_and_did_not_tell_is_told_by_the_next(world: World) -> None:
    world.deliver({KEYS[0]: GOOD, KEYS[1]: BROKEN, KEYS[2]: SPLIT})
    engine = open_engine(settings.load({"SELFHEAL_HOME": str(world.home)}), GRAPH)
    for table in GRAPH.tables:  # as a process that died before it told Dagster anything
        list(engine.materialize(table.name, KEYS[:3], run_id=f"killed:{table.name}"))
    assert shown(world, STG.name) == {}
    (ran,) = world.run(STG, KEYS[:3])
    assert world.statuses(STG) == "MFM..........."
    assert shown(world, STG.name) == roots(world, STG.name)
    assert len(world.events(ran, EVALUATED)) == 3 * RULES
