"""The web interface: what its queries answer about partitions, checks, samples and staleness."""

import json
from typing import Any

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
    entries = "label ... on TableMetadataEntry { table { records } } ... on IntMetadataEntry { intValue }"
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
        f"1 broken row: visits/visits_{KEYS[1]}.csv line 5. Set aside; all other rows are published."
    )
    assert (withheld["success"], withheld["severity"]) == (False, "ERROR")
    assert withheld["description"].startswith(
        f"2 broken rows, the first: visits/visits_{KEYS[0]}.csv line 3. The partition is withheld; "
        "readers keep its last good content, sh1-"
    )
    assert never["description"] == (
        f"2 broken rows, the first: visits/visits_{KEYS[2]}.csv line 3. The partition is withheld; "
        "readers see nothing of it yet."
    )
    entries = {entry["label"]: entry for entry in withheld["metadataEntries"]}
    assert entries["rows_broken"]["intValue"] == 2
    assert [json.loads(record)["guest"] for record in entries["sample"]["table"]["records"]] == [MASK, MASK]


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
    columns = "columns { name description constraints { nullable other } }"
    schema = f"metadataEntries {{ label ... on TableSchemaMetadataEntry {{ schema {{ {columns} }}}}}}"
    found = node(ask, STG.name, f"{fields} {schema}")
    assert found["groupName"] == "hotel"
    assert sorted(found["kinds"]) == ["deltalake", "polars"]
    assert found["owners"] == [{"team": "hotel"}]
    assert found["dependencyKeys"] == [{"path": [RAW.name]}]
    assert found["description"].startswith("Visits, typed.")
    for rule in STG.contract.rules:
        assert f"**{rule.name}**" in found["description"]
    (shown,) = (e["schema"]["columns"] for e in found["metadataEntries"] if e["label"] == "dagster/column_schema")
    told = {c["name"]: c for c in shown}
    assert told["guest"]["description"] == f"personal data, shown as {MASK}"
    assert told["guest"]["constraints"] == {"nullable": False, "other": ["key"]}
    assert told["nights"]["description"] == "in nights"
    landing = ask(
        '{assetNodes(assetKeys: [{path: ["landing", "visits"]}]) { kinds isMaterializable dependedByKeys { path }}}'
    )
    assert landing["assetNodes"] == [
        {"kinds": ["csv"], "isMaterializable": False, "dependedByKeys": [{"path": [RAW.name]}]}
    ]
