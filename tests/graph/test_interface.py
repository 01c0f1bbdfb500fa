"""The web interface: what its queries answer about partitions, checks, samples and staleness."""

import json
import re
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from sh_core.masking import MASK
from tests.graph.conftest import Ask
from tests.graph.domain import BROKEN, CRASHING, GOOD, GRAPH, KEYS, MART, RAW, SPLIT, STG, World

pytestmark = pytest.mark.graph

RULE = "nights__in_range"


def node(ask: Ask, table: str, fields: str) -> dict[str, Any]:
    (found,) = ask(f'{{assetNodes(assetKeys: [{{path: ["{table}"]}}]) {{ {fields} }}}}')["assetNodes"]
    return dict(found)


def checks(ask: Ask, table: str) -> dict[str, dict[str, str]]:
    """Per check, per partition: its status; partitions without one are left out."""
    ranges = "... on AssetCheckTimePartitionStatuses { ranges { startKey endKey status } }"
    fields = f"... on AssetChecks {{ checks {{ name partitionStatuses {{ {ranges} }}}}}}"
    found = node(ask, table, f"assetChecksOrError {{ {fields} }}")["assetChecksOrError"]["checks"]
    return {
        check["name"]: {
            key: r["status"]
            for r in check["partitionStatuses"]["ranges"]
            for key in KEYS[KEYS.index(r["startKey"]) : KEYS.index(r["endKey"]) + 1]
        }
        for check in found
    }


def evaluations(ask: Ask, table: str, rule: str) -> dict[str, dict[str, Any]]:
    """Per partition, the newest evaluation of a check."""
    table_entry = "... on TableMetadataEntry { table { records schema { columns { name } } } }"
    entries = f"label {table_entry} ... on IntMetadataEntry {{ intValue }}"
    evaluation = f"success severity description partition metadataEntries {{ {entries} }}"
    query = f'assetCheckExecutions(assetKey: {{path: ["{table}"]}}, checkName: "{rule}", limit: 50)'
    found = ask(f"{{{query} {{ partition evaluation {{ {evaluation} }}}}}}")["assetCheckExecutions"]
    return {f["partition"]: f["evaluation"] for f in reversed(found) if f["evaluation"]}


def test_checks_are_shown_per_partition_and_stay_current(world: World, ask: Ask) -> None:
    world.deliver({KEYS[0]: GOOD, KEYS[1]: BROKEN, KEYS[2]: SPLIT, KEYS[3]: CRASHING})
    world.run_all(KEYS[:4])
    shown = checks(ask, STG.name)
    assert set(shown) == {rule.name for rule in STG.contract.rules}
    passed, failed, unheard = "SUCCEEDED", "FAILED", "EXECUTION_FAILED"
    assert shown[RULE] == dict(zip(KEYS, (passed, failed, failed, unheard), strict=False))
    assert shown["no_devil"] == dict(zip(KEYS, (passed, passed, passed, failed), strict=False))
    # Nothing changed: the same is shown, not "skipped", whether or not the run fails.
    world.run(STG, KEYS[:4])
    world.run(STG, KEYS[:1])
    assert checks(ask, STG.name) == shown
    # Corrected: all of the healed partitions' checks pass.
    world.deliver(dict.fromkeys(KEYS[1:4], GOOD))
    world.run_all(KEYS[:4])
    assert checks(ask, STG.name) == {rule: dict.fromkeys(KEYS[:4], passed) for rule in shown}


def test_a_check_says_how_bad_it_is_and_shows_a_masked_sample(world: World, ask: Ask) -> None:
    world.deliver({KEYS[0]: GOOD, KEYS[1]: SPLIT})
    world.run_all(KEYS[:2])
    world.deliver({KEYS[0]: BROKEN, KEYS[2]: BROKEN})
    world.run_all(KEYS[:3])
    found = evaluations(ask, STG.name, RULE)
    split, withheld, never = found[KEYS[1]], found[KEYS[0]], found[KEYS[2]]
    assert (split["success"], split["severity"]) == (False, "WARN")
    assert split["description"] == (
        f"1 broken row: visits/visits_{KEYS[1]}.csv line 5.\n\nSet aside; all other rows are published."
    )
    assert (withheld["success"], withheld["severity"]) == (False, "ERROR")
    assert withheld["description"].startswith(
        f"2 broken rows, the first: visits/visits_{KEYS[0]}.csv line 3.\n\nIn all, 2 of 3 rows are broken, and at most "
        "50 % may be set aside.\n\nThe partition is withheld; readers keep its last good content: 3 rows, published 20"
    )
    assert never["description"] == (
        f"2 broken rows, the first: visits/visits_{KEYS[2]}.csv line 3.\n\nIn all, 2 of 3 rows are broken, and at most "
        "50 % may be set aside.\n\nThe partition is withheld; readers see nothing of it yet."
    )
    entries = {entry["label"]: entry for entry in withheld["metadataEntries"]}
    assert entries["rows_broken"]["intValue"] == 2
    records = [json.loads(record) for record in entries["sample"]["table"]["records"]]
    assert [record["guest"] for record in records] == [MASK, MASK]
    # What is broken, where it came from, whose row it is; then the rest.
    columns = [c["name"] for c in entries["sample"]["table"]["schema"]["columns"]]
    assert columns == ["nights", "_file", "_line", "guest", "room", "date"]


def test_nothing_that_dagster_keeps_holds_personal_data(world: World) -> None:
    world.deliver({KEYS[0]: GOOD, KEYS[1]: BROKEN, KEYS[2]: SPLIT, KEYS[3]: [("Zaphod", "1"), *GOOD]})
    world.run_all(KEYS[:4])
    world.run_all(KEYS[:4])
    kept = b"".join(p.read_bytes() for p in (world.home.parent / "dagster").rglob("*") if p.is_file())
    assert b"nights__in_range" in kept
    assert MASK.encode() in kept or json.dumps(MASK).strip('"').encode() in kept
    for guest in (b"Ada", b"Mallory", b"Zaphod"):
        at = kept.find(guest)
        assert at < 0, kept[max(0, at - 200) : at + 100]


def stale(ask: Ask, table: str, *keys: str) -> list[str]:
    wanted = json.dumps(list(keys))
    return list(node(ask, table, f"staleStatusByPartition(partitions: {wanted})")["staleStatusByPartition"])


def test_staleness_follows_content(world: World, ask: Ask) -> None:
    world.deliver(dict.fromkeys(KEYS[:2], GOOD))
    world.run_all(KEYS[:2])
    for table in GRAPH.tables:
        assert stale(ask, table.name, *KEYS[:3]) == ["FRESH", "FRESH", "MISSING"]
    # New content upstream.
    world.deliver({KEYS[0]: (*GOOD, ("Edsger", "3", 2))})
    world.run(RAW, KEYS[:2])
    assert stale(ask, STG.name, *KEYS[:2]) == ["STALE", "FRESH"]
    world.run(STG, KEYS[:2])
    assert stale(ask, STG.name, *KEYS[:2]) == ["FRESH", "FRESH"]
    assert stale(ask, MART.name, *KEYS[:2]) == ["STALE", "FRESH"]


def test_a_change_that_is_not_read_leaves_no_stale_mark_behind(world: World, ask: Ask) -> None:
    world.deliver({KEYS[0]: GOOD})
    world.run_all(KEYS[:1])
    longer = [(guest, room, nights + 1) for guest, room, nights in GOOD]
    world.deliver({KEYS[0]: longer})  # the mart does not read nights, but does read the key: guests stay the same
    world.run(RAW, KEYS[:1])
    world.run(STG, KEYS[:1])
    world.outcomes.clear()
    world.run(MART, KEYS[:1])
    assert [type(o).__name__ for _, o in world.outcomes] == ["Reused"]
    assert stale(ask, MART.name, KEYS[0]) == ["FRESH"]


def test_the_asset_page_tells_the_declaration(ask: Ask) -> None:
    fields = "description kinds groupName owners { ... on TeamAssetOwner { team } } dependencyKeys { path }"
    columns = "columns { name description constraints { nullable unique other } tags { key value } }"
    schema = f"metadataEntries {{ label ... on TableSchemaMetadataEntry {{ schema {{ {columns} }}}}}}"
    found = node(ask, STG.name, f"{fields} {schema}")
    assert found["groupName"] == "hotel"
    assert sorted(found["kinds"]) == ["deltalake", "polars"]
    assert found["owners"] == [{"team": "hotel"}]
    assert found["dependencyKeys"] == [{"path": [RAW.name]}]
    assert found["description"] == (
        "Visits, typed.\n\n**Key:** `guest`\n\n"
        "**Broken rows:** set aside while they are at most 50 % of a partition. With more of them, or if a rule about "
        "the whole is broken, it is withheld, and readers keep its last good content.\n\n"
        "**Reads:**\n\n- [raw_visits](/assets/raw_visits): all columns of the same day\n\n"
        "**Rules:** [11 checks](/assets/stg_visits?view=checks), 6 of them about single rows and 5 about a partition "
        "as a whole."
    )
    (shown,) = (e["schema"]["columns"] for e in found["metadataEntries"] if e["label"] == "dagster/column_schema")
    told = {c["name"]: c for c in shown}
    of = "`date`, `guest` of"  # the day, for which the transform joins the columns side by side
    assert told["guest"] == {
        "name": "guest",
        "description": f"Who stayed. Personal data, shown as {MASK}. From {of} [raw_visits](/assets/raw_visits).",
        "constraints": {"nullable": False, "unique": True, "other": []},
        "tags": [{"key": "key", "value": ""}, {"key": "pii", "value": ""}],
    }
    assert told["nights"] == {
        "name": "nights",
        "description": "From `date`, `nights` of [raw_visits](/assets/raw_visits).",
        "constraints": {"nullable": False, "unique": False, "other": ["between 1 and 30"]},
        "tags": [{"key": "unit", "value": "nights"}],
    }
    landing = ask(
        '{assetNodes(assetKeys: [{path: ["landing", "visits"]}]) '
        "{ kinds groupName isMaterializable dependedByKeys { path } tags { key value }}}"
    )
    assert landing["assetNodes"] == [
        {
            "kinds": ["csv"],
            "groupName": "landing",
            "isMaterializable": False,
            "dependedByKeys": [{"path": [RAW.name]}],
            "tags": [
                {"key": "station", "value": "landing"},
                {"key": "pii", "value": "masked"},
                {"key": "dagster/kind/csv", "value": ""},
            ],
        }
    ]


def test_columns_name_where_they_come_from_down_to_the_files(ask: Ask) -> None:
    schema = "schema { columns { name description } }"
    lineage = "lineage { columnName columnDeps { assetKey { path } columnName } }"
    entries = (
        f"metadataEntries {{ label ... on TableSchemaMetadataEntry {{ {schema} }} "
        f"... on TableColumnLineageMetadataEntry {{ {lineage} }} }} description"
    )
    found = node(ask, MART.name, entries)
    by_label = {e["label"]: e for e in found["metadataEntries"]}
    told = {c["name"]: c["description"] for c in by_label["dagster/column_schema"]["schema"]["columns"]}
    assert told["room"] == "From `room` of [stg_visits](/assets/stg_visits). In the files: `room`."
    assert told["guests"] == "From what every column depends on."
    assert "Every column depends on `date`, `room` of [stg_visits](/assets/stg_visits)" in found["description"]
    deps = {
        c["columnName"]: {(*d["assetKey"]["path"], d["columnName"]) for d in c["columnDeps"]}
        for c in by_label["dagster/column_lineage"]["lineage"]
    }
    assert deps == {c: {(STG.name, "date"), (STG.name, "room")} for c in ("date", "room", "guests")}
    raw = {e["label"]: e for e in node(ask, RAW.name, entries)["metadataEntries"]}["dagster/column_lineage"]["lineage"]
    assert {c["columnName"]: [(*d["assetKey"]["path"], d["columnName"]) for d in c["columnDeps"]] for c in raw} == {
        **{c: [("landing", "visits", c)] for c in ("guest", "room", "nights")},
        "date": [],
    }


def observations(world: World, table: str) -> list[dict[str, Any]]:
    """What was observed of a table's partitions, the newest first: metadata by name."""
    records = world.instance.fetch_observations(dg.AssetKey(table), limit=50).records
    found = [(r.partition_key, r.asset_observation) for r in records]
    return [
        {"partition": partition, **{k: v.value for k, v in o.metadata.items()}}
        for partition, o in found
        if o is not None
    ]


def test_a_withheld_partition_says_why_what_readers_see_and_where_the_evidence_is(world: World) -> None:
    """Its page showed the last good content and nothing of why that is old."""
    world.deliver({KEYS[0]: GOOD, KEYS[1]: GOOD})
    world.run_all(KEYS[:2])
    assert observations(world, STG.name) == []
    world.deliver({KEYS[0]: BROKEN})
    world.run_all(KEYS[:2])
    (told,) = observations(world, STG.name)
    assert told["partition"] == KEYS[0]
    assert told["verdict"] == (
        "**Withheld.** In all, 2 of 3 rows are broken, and at most 50 % may be set aside.\n\n"
        f"- `nights__in_range`: 2 broken rows, the first: visits/visits_{KEYS[0]}.csv line 3"
    )
    assert re.fullmatch(
        r"Readers keep its last good content: 3 rows, published 20.{14} UTC \(sh1-[0-9a-f]+\)\.", told["last_good"]
    )
    assert re.fullmatch(r"No\. 1, since 20.{14} UTC: broken:stg_visits:nights__in_range", told["incident"])
    assert told["rows_broken"] == 2
    assert [r.data["nights"] for r in told["sample"].records] == [99, -1]
    assert Path(told["quarantine"]) == world.home / "quarantine" / STG.name
    assert Path(told["quarantine"]).is_dir()
    assert told["more"] == f"selfheal show stg_visits:{KEYS[0]}, selfheal quarantine show stg_visits:{KEYS[0]}"


def test_a_withheld_partition_says_it_once_until_something_changes(world: World) -> None:
    """A run each night over all partitions would bury the page under equal observations."""
    world.deliver({KEYS[0]: BROKEN})
    world.run_all(KEYS[:1])
    assert [o["last_good"] for o in observations(world, STG.name)] == [
        "None: readers see nothing of this partition yet."
    ]
    world.run(STG, KEYS[:1])  # reused
    world.run(STG, KEYS[:1], force=True)  # judged again, the same
    assert len(observations(world, STG.name)) == 1
    world.deliver({KEYS[0]: CRASHING})
    world.run(RAW, KEYS[:1])
    world.run(STG, KEYS[:1])
    newest, _ = observations(world, STG.name)
    assert (
        newest["verdict"]
        == "**Withheld**: `no_devil` crashed, which says nothing about the rows: "
        + newest["verdict"].partition("rows: ")[2]
    )
    assert newest["incident"].startswith("No. 2, ")
    assert "quarantine" not in newest["more"]
    # Healed, and broken as before: what was told before the heal is not shown any more.
    for rows in (GOOD, CRASHING):
        world.deliver({KEYS[0]: rows})
        world.run(RAW, KEYS[:1])
        world.run(STG, KEYS[:1])
    assert [o["incident"][:6] for o in observations(world, STG.name)] == ["No. 3,", "No. 2,", "No. 1,"]
    assert observations(world, MART.name) == observations(world, RAW.name) == []
