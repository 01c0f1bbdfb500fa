"""The commands about what is due, as somebody at a terminal uses them: plan, repair, why, pause, resume.

The incidents: a repair that runs what was not agreed to, or stops at the first failure; one that starts from the
beginning when it is started again; a text that cannot be read in a terminal of 80 columns.
"""

import json
import re
import sqlite3
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from rich.console import Console
from typer.testing import CliRunner

from sh_core.errand import Insistence
from sh_defs.cli import app
from sh_defs.facts.planning import make_plan
from sh_defs.home import dagster_instance, prepare_dagster_home
from sh_defs.progress import watching
from sh_defs.repairing import Repair
from sh_resources.clock import SystemClock
from sh_resources.settings import load
from sh_resources.wiring import open_engine
from tests.little import GRAPH, deliver

pytestmark = pytest.mark.slow

D1, D2, D3, D4 = "2030-01-01", "2030-01-02", "2030-01-03", "2030-01-04"
GOOD = [("a", 0, 10), ("a", 1, 20), ("b", 0, 30)]
ENVIRONMENT = {"SELFHEAL_TABLES": "tests.little", "NO_COLOR": "1", "SELFHEAL_LEASE_S": "1"}


def say(home: Path, *arguments: str, code: int = 0, width: int = 80) -> str:
    done = CliRunner().invoke(app, [*arguments, "--home", str(home)], env={**ENVIRONMENT, "COLUMNS": str(width)})
    assert done.exit_code == code, done.output
    return done.stdout


def ask(home: Path, *arguments: str, code: int = 0) -> Any:  # noqa: ANN401 - JSON
    return json.loads(say(home, *arguments, "--json", code=code))


def complains(home: Path, *arguments: str, code: int = 1) -> str:
    done = CliRunner().invoke(app, [*arguments, "--home", str(home)], env=ENVIRONMENT)
    assert done.exit_code == code, done.output
    return " ".join(done.stderr.split())


def plain(text: str) -> str:
    """Text without what differs from run to run."""
    for pattern, instead in (
        (r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "TIME"),
        (r"\b\d+\.\d s\b", "SECONDS"),
        (r"\b[0-9a-f]{12}\b", "REPAIR"),
        (r"\b(sh1-)?[0-9a-f]{8}\b", "VERSION"),
        (r"by \w+ since", "by SOMEBODY since"),
        (r" +$", ""),
    ):
        text = re.sub(pattern, instead, text, flags=re.MULTILINE)
    return text


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Three days, up to date by a repair."""
    folder = tmp_path / "home"
    for day in (D1, D2, D3):
        deliver(folder, day, GOOD)
    say(folder, "repair", "--yes")
    return folder


def requested(home: Path) -> list[tuple[str, str, str]]:
    with sqlite3.connect(home / "ledger.sqlite") as connection:
        query = "SELECT asked_by, table_name, partition_key FROM ledger_requests ORDER BY id"
        return [(by.partition(":")[0], table, key) for by, table, key in connection.execute(query)]


# ---- texts


def test_a_plan_reads_like_this(home: Path) -> None:
    deliver(home, D2, [("a", 0, 12), *GOOD[1:]])
    said = say(home, "plan")
    assert (
        plain(said)
        == """\
3 partitions may change. About SECONDS of computing, 8 rows.

Hop 1  about SECONDS of computing, 3 rows
  raw_readings
    2030-01-02               readings_2030-01-02.csv has landed and was not
                             taken in yet

Hop 2  about SECONDS of computing, 3 rows
  stg_readings
    2030-01-02               may change: reads raw_readings

Hop 3  about SECONDS of computing, 2 rows
  mart_sensor_means
    2030-01-02               may change: reads stg_readings

Waiting  84 partitions
  raw_readings
    2030-01-04..2030-01-31   for file readings_….csv of feed readings
  and 56 more of 2 tables, which wait for these

6 partitions of 3 tables are up to date.

Not all is shown: --full or --json shows the rest; a table can be named.
"""
    )


def test_reasons_read_like_this(home: Path) -> None:
    for day in (D1, D2):
        deliver(home, day, [("a", 0, 12), *GOOD[1:]])
    say(home, "repair", "raw_readings", "stg_readings", "--yes")
    by = last_repair(home)
    assert (
        plain(say(home, "why", "--repair", by))
        == """\

TIME  by repair:REPAIR
  raw_readings
    2030-01-01..2030-01-02   another file came for readings
                               e.g. 2030-01-01: readings_2030-01-01.csv, 41
                             bytes; VERSION → VERSION

TIME  by repair:REPAIR
  stg_readings
    2030-01-01..2030-01-02   raw_readings: all columns that are read changed
                               e.g. 2030-01-01: VERSION → VERSION

TIME  by repair:REPAIR
  mart_sensor_means
    2030-01-01..2030-01-02   stg_readings: value changed
                               e.g. 2030-01-01: VERSION → VERSION
"""
    )


def last_repair(home: Path) -> str:
    with sqlite3.connect(home / "ledger.sqlite") as connection:
        (by,) = connection.execute("SELECT asked_by FROM ledger_requests ORDER BY id DESC LIMIT 1").fetchone()
    return str(by).partition(":")[2]


def test_a_repair_reads_like_this(home: Path) -> None:
    deliver(home, D2, [("a", 0, 12), *GOOD[1:], ("c", 0, 101)])
    deliver(home, D4, [("c", 0, 101)])
    said = plain(say(home, "repair", f"raw_readings:{D2}..{D4}", "--yes"))
    assert (
        said[said.index("Settled") :]
        == """\
Settled  1 partition
  raw_readings
    2030-01-03               published TIME
                               run VERSION, trace VERSION

raw_readings                   2/2      2 published (SECONDS)
stg_readings                   2/2      1 published, 1 withheld, 2 rows quarantined (SECONDS)
mart_sensor_means              1/2      1 published (SECONDS)

Repair REPAIR  SECONDS
4 published, 1 withheld, 1 waiting
  stg_readings
    2030-01-04               withheld: value__le: 1 row
  mart_sensor_means
    2030-01-04               waiting: for stg_readings[2030-01-04]

Why each was run: selfheal why --repair REPAIR
"""
    )


def test_settled_partitions_say_under_what(home: Path) -> None:
    assert (
        plain(say(home, "plan", f"stg_readings:{D1}"))
        == """\
Nothing is due.

Settled  1 partition
  stg_readings
    2030-01-01               published TIME
                               run VERSION, trace VERSION
"""
    )
    (told,) = ask(home, "plan", f"stg_readings:{D1}")["settled"]
    (decision,) = told["decisions"]
    settlement = open_engine(load({"SELFHEAL_HOME": str(home)}), GRAPH).ledger.publications.settlements("stg_readings")
    assert decision["trace"] == settlement[D1].trace_digest
    assert (decision["partition"], decision["action"]) == (D1, "publish")


@pytest.mark.parametrize("width", [50, 80, 132])
def test_no_line_is_wider_than_the_terminal(home: Path, width: int) -> None:
    for day in (D1, D2, D3, D4):
        deliver(home, day, [("a", 0, 12), *GOOD[1:]])
    say(home, "pause", "mart_sensor_means", "--reason", "a long reason that goes on and on " * 4)
    for arguments in (("plan",), ("plan", "--full"), ("plan", "--if", f"stg_readings:{D1}"), ("why", "stg_readings")):
        for line in say(home, *arguments, width=width).splitlines():
            assert len(line) <= max(width, 80) if line.startswith("Not all") else len(line) <= width, line


def test_a_years_days_are_a_few_lines(home: Path) -> None:
    """The incident: 365 lines that say the same."""
    assert len(say(home, "plan", "--full").splitlines()) < 20


# ---- what it does


def test_a_repair_is_noted_before_it_runs_and_shown_by_dagster(home: Path) -> None:
    before = requested(home)
    assert {by for by, _, _ in before} == {"repair"}
    assert len(before) == 9
    deliver(home, D2, GOOD[:2])
    facts = ask(home, "repair", "--yes")
    assert facts["counts"] == {"published": 3}
    assert requested(home)[9:] == [("repair", t, D2) for t in ("raw_readings", "stg_readings", "mart_sensor_means")]
    told = ask(home, "why", "--repair", facts["repair"])
    assert [p["partition"] for r in told["requests"] for p in r["partitions"]] == [D2] * 3
    with dagster_instance(home / "dagster") as instance:
        assert len(instance.get_run_records()) == 6


def test_given_again_it_has_nothing_to_do(home: Path) -> None:
    assert say(home, "repair", "--yes").startswith("Nothing is due.\n")
    assert len(requested(home)) == 9


def test_only_what_was_named_and_follows_from_it(home: Path) -> None:
    deliver(home, D1, GOOD[:2])
    deliver(home, D2, GOOD[:2])
    facts = ask(home, "repair", f"raw_readings:{D2}", "--yes")
    assert {p["partition"] for p in facts["partitions"]} == {D2}
    left = ask(home, "plan")
    landed = [(p["table"], p["partition"]) for p in left["partitions"] if p["status"] == "landed"]
    assert landed == [("raw_readings", D1)]


def test_a_failure_holds_nothing_else_up_and_is_tried_again_by_name(home: Path) -> None:
    """A file stands where a partition's folder should be: nothing can be staged there."""
    folder = home / "tables" / "mart_sensor_means" / f"date={D2}"
    folder.rename(home / "aside")
    folder.write_text("in the way")
    deliver(home, D2, GOOD[:2])
    done = ask(home, "repair", "--yes", code=1)
    assert done["counts"] == {"published": 2, "failed": 1}
    (failed,) = [p for p in done["partitions"] if p["became"] == "failed"]
    assert (failed["table"], failed["partition"]) == ("mart_sensor_means", D2)
    assert failed["says"].startswith("failed: ")
    folder.unlink()
    (home / "aside").rename(folder)
    (held,) = [p for p in ask(home, "plan")["partitions"] if p["status"] == "held_back"]
    assert held["held"]["hold"] == "requested"
    assert [r["says"] for r in held["reasons"]] == ["stg_readings: all columns that are read changed"]
    assert "Nothing is due." in say(home, "repair", "--yes")
    said = " ".join(say(home, "repair", f"mart_sensor_means:{D2}", "--yes").split())
    assert "although automation holds it back: requested a moment ago" in said
    assert ask(home, "plan")["due"] == 0


def test_what_another_process_works_on_is_left_to_it(home: Path) -> None:
    engine = open_engine(load({"SELFHEAL_HOME": str(home), "SELFHEAL_LEASE_S": "1"}), GRAPH)
    deliver(home, D2, GOOD[:2])
    deliver(home, D3, GOOD[:2])
    engine.ledger.leases.acquire("stg_readings", [D2], "another", datetime.now(UTC), 600)
    done = ask(home, "repair", "--yes", code=1)
    assert done["counts"] == {"published": 4, "left": 2}
    assert {p["says"] for p in done["partitions"] if p["became"] == "left"} == {
        "left: somebody works on it",
        "left: something that it reads was left, or failed",
    }
    engine.ledger.close()


def test_interrupted_it_goes_on(home: Path) -> None:
    for day in (D1, D2, D3):
        deliver(home, day, GOOD[:2])
    settings = load({"SELFHEAL_HOME": str(home), **ENVIRONMENT})
    engine, clock = open_engine(settings, GRAPH), SystemClock()
    left = iter(range(4))

    def stop() -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt

    with dagster_instance(prepare_dagster_home(settings)) as instance, watching(Console(quiet=True)) as watcher:
        repair = Repair(settings, engine, instance, clock, watcher, stop, 0.0)
        with pytest.raises(KeyboardInterrupt):
            repair.carry_out(make_plan(engine, clock, None), Insistence())
    begun = {pair for pair, said in repair.became.items() if said == "published"}
    assert begun
    done = ask(home, "repair", "--yes")
    ran = {(p["table"], p["partition"]) for p in done["partitions"] if p["became"] != "cut off"}
    assert len(begun) + len(ran) == 9
    assert not begun & ran
    engine.ledger.close()


# ---- pause, resume


def test_what_is_paused_is_not_repaired_unless_that_is_said(home: Path) -> None:
    say(home, "pause", "stg_readings", "--reason", "the vendor migrates")
    deliver(home, D2, GOOD[:2])
    assert ask(home, "repair", "--yes")["counts"] == {"published": 1}
    assert "stg_readings is paused" in complains(home, "repair", "stg_readings", "--yes")
    held = [p for p in ask(home, "plan")["partitions"] if p["status"] == "held_back"]
    assert [(p["table"], p["partition"], p["held"]["hold"]) for p in held] == [("stg_readings", D2, "paused")]
    for told in (("plan",), ("tables",)):
        assert "the vendor migrates" in " ".join(say(home, *told).split())
    report = Path(ask(home, "report")["html"]).read_text()
    assert "the vendor migrates" in report
    assert ask(home, "repair", "stg_readings", "--yes", "--include-paused")["counts"] == {"published": 2}
    assert say(home, "resume", "stg_readings") == "stg_readings is resumed.\n"
    assert ask(home, "plan")["pauses"] == []


def test_a_subtree_is_paused_with_one_word(home: Path) -> None:
    say(home, "pause", "stg_readings", "--downstream")
    assert "paused are stg_readings" in complains(home, "resume", "mart_sensor_means")
    assert "mart_sensor_means is paused" in complains(home, "repair", "mart_sensor_means", "--yes")
    assert say(home, "resume", "--all") == "stg_readings is resumed.\n"
    assert say(home, "resume", "--all") == "Nothing was paused.\n"


# ---- why


def test_why_a_backfill_of_automation_was_made(home: Path) -> None:
    engine = open_engine(load({"SELFHEAL_HOME": str(home)}), GRAPH)
    with sqlite3.connect(home / "ledger.sqlite") as connection:
        connection.execute("UPDATE ledger_requests SET asked_by = 'evaluation:17' WHERE table_name = 'stg_readings'")
    with dagster_instance(home / "dagster") as instance:
        for name, tags in (("auto", {"dagster/asset_evaluation_id": "17"}), ("hand", {})):
            instance.add_backfill(
                PartitionBackfill(
                    backfill_id=name,
                    status=BulkActionStatus.COMPLETED_SUCCESS,
                    from_failure=False,
                    tags=tags,
                    backfill_timestamp=time.time(),
                    asset_selection=[],
                )
            )
    for asked in (("--backfill", "auto"), ("--evaluation", "17")):
        (told,) = ask(home, "why", *asked)["requests"]
        assert {(p["table"], p["partition"]) for p in told["partitions"]} == {("stg_readings", d) for d in (D1, D2, D3)}
    assert "a person launched it" in complains(home, "why", "--backfill", "hand")
    assert "Dagster knows no backfill 'gone'" in complains(home, "why", "--backfill", "gone")
    assert say(home, "why", "--evaluation", "18").startswith("No request of evaluation 18 is noted")
    engine.ledger.close()


def test_why_a_partition_was_requested(home: Path) -> None:
    deliver(home, D2, GOOD[:2])
    say(home, "repair", "--yes")
    told = ask(home, "why", f"mart_sensor_means:{D2}")["requests"]
    assert [[r["says"] for p in t["partitions"] for r in p["reasons"]] for t in told] == [
        ["stg_readings: all columns that are read changed"],
        ["it was never computed"],
    ]
    assert ask(home, "why", "mart_sensor_means", "--limit", "1")["more"]
    assert say(home, "why", f"mart_sensor_means:{D4}").startswith("Nothing was ever requested of mart_sensor_means")


# ---- what if


def test_the_reach_of_a_change_that_was_not_made(home: Path) -> None:
    assert (
        plain(say(home, "plan", "--if", f"stg_readings:{D1}..{D2}", "--columns", "value"))
        == """\
If value of stg_readings 2030-01-01..2030-01-02 changed:

mart_sensor_means  2 partitions would be computed
    2030-01-01..2030-01-02   in value_mean

A change that breaks a rule takes its row away, and so reaches every column.
"""
    )
    facts = ask(home, "plan", "--if", f"raw_readings:{D1}")
    assert [(r["table"], r["partitions"], r["says"]) for r in facts["reached"]] == [
        ("stg_readings", [D1], "in any column"),
        ("mart_sensor_means", [D1], "in any column"),
    ]


# ---- for programs


def test_exit_codes_for_programs(home: Path) -> None:
    say(home, "plan", "--exit-code")
    deliver(home, D2, GOOD[:2])
    say(home, "plan", "--exit-code", code=3)
    say(home, "plan")


def test_the_shape_of_the_json_form(home: Path) -> None:
    """The incident: a program that reads a key which a later version calls otherwise; docs/repair.md lists them."""
    deliver(home, D2, GOOD[:2])
    engine = open_engine(load({"SELFHEAL_HOME": str(home)}), GRAPH)
    engine.take_in(datetime.now(UTC))
    facts = ask(home, "plan")
    page = (Path(__file__).parents[2] / "docs" / "repair.md").read_text()
    for key in _keys(facts):
        assert f"`{key}`" in page or f"`{key}[]`" in page, key
    engine.ledger.close()


def _keys(value: object) -> Iterable[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from _keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _keys(inner)


# ---- written wrongly


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("plan", "stg_reading"), "there is no table 'stg_reading' (did you mean stg_readings"),
        (("plan", "stg_readings:2030-02-01"), "has no partition '2030-02-01' (did you mean 2030-01-31"),
        (("plan", f"stg_readings:{D1}..2030-02-01"), "has no partition '2030-02-01'"),
        (("plan", f"stg_readings:{D3}..{D1}"), f"{D3}..{D1} is no range: {D3} comes after {D1}"),
        (("plan", "--if", "stg_readings", "--columns", "valu"), "no column 'valu' (did you mean value?)"),
        (("repair", "mart", "--yes"), "did you mean mart_sensor_means?"),
        (("pause", "marts"), "there is no table 'marts'"),
        (("why", "raw_reading"), "did you mean raw_readings or stg_readings?"),
    ],
)
def test_names_that_do_not_exist_are_suggested(home: Path, arguments: tuple[str, ...], said: str) -> None:
    assert said in complains(home, *arguments)


@pytest.mark.parametrize(
    "arguments",
    [("plan", "--downstream"), ("plan", "--columns", "value"), ("plan", "x", "--if", "y"), ("why",), ("resume",)],
)
def test_options_that_do_not_fit_together(home: Path, arguments: tuple[str, ...]) -> None:
    assert "Usage" in complains(home, *arguments, code=2)
