"""Looking at a state folder: report, tables, show, quarantine, on real flights with faults in them.

The incidents: a page that asks the internet or runs what a vendor delivered; personal data on a screen; figures that
differ from what is stored; a command whose JSON a program cannot use. What commands say is compared with the delivered
files and with what plain Delta and Parquet readers see.
"""

import hashlib
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from datetime import date
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from sh_assets.flights import TABLES
from sh_core.graph import Graph
from sh_defs.cli import app
from sh_drills.replay import Replay, morning_after
from sh_resources.clock import ReplayCalendar
from sh_resources.engine import Engine
from sh_resources.settings import load
from sh_resources.wiring import open_engine

pytestmark = pytest.mark.slow

DAYS = [date(2013, 1, 1), date(2013, 1, 2), date(2013, 1, 3)]
FIRST, SECOND, THIRD = KEYS = [day.isoformat() for day in DAYS]
SCRIPT, ENDING = "<script>alert(1)</script>", "</script><img src=https://example.org/x>"
TAIL = "N9SECRET"
CONTROL = "\x9b31m"

GRAPH = Graph.of(TABLES)

Lines = list[list[str]]


def edit(home: Path, feed: str, key: str, change: Callable[[Lines], Lines]) -> None:
    """Replace a delivered file by a changed one: header and rows as lists of cells."""
    path = home / "landing" / feed / f"{feed}_{key}.csv"
    lines = change([line.split(",") for line in path.read_text().splitlines()])
    path.write_text("".join(",".join(cells) + "\n" for cells in lines))


def put(column: str, values: dict[int, str]) -> Callable[[Lines], Lines]:
    """Put values into a column, by number of the line."""

    def change(lines: Lines) -> Lines:
        for number, value in values.items():
            lines[number - 1][lines[0].index(column)] = value
        return lines

    return change


def spoil(home: Path) -> None:
    """Faults of every kind that leave something to be seen."""
    edit(home, "flights_ewr", FIRST, put("dep_time", {4: SCRIPT, 8: SCRIPT}))
    edit(home, "flights_ewr", FIRST, put("carrier", {13: ENDING + CONTROL}))
    edit(home, "flights_ewr", FIRST, lambda lines: [*lines, ["EWR", TAIL, "three cells only"]])
    edit(home, "flights_jfk", SECOND, lambda lines: [*lines, *lines[5:25]])
    edit(
        home, "weather_jfk", SECOND, lambda lines: [["temperature" if c == "temp" else c for c in lines[0]], *lines[1:]]
    )


def materialize(engine: Engine) -> None:
    for table in engine.graph.tables:
        due = list(engine.look(table.name, table.partitions.between(DAYS[0], DAYS[-1])).stale)
        list(engine.materialize(table.name, due, run_id="test"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three days; the third day's weather was good once and was then replaced by one with impossible winds."""
    folder = tmp_path_factory.mktemp("looking") / "home"
    Replay.load().deliver(folder / "landing", DAYS)
    ReplayCalendar(load({"SELFHEAL_HOME": str(folder)}).calendar).put(morning_after(DAYS[-1]))
    spoil(folder)
    with_engine = open_engine(load({"SELFHEAL_HOME": str(folder)}), GRAPH)
    materialize(with_engine)
    edit(folder, "weather_lga", THIRD, put("wind_speed", dict.fromkeys(range(2, 12), "999")))
    materialize(with_engine)
    with_engine.ledger.close()
    return folder


def run(home: Path, *arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, [*arguments, "--home", str(home)], env={"COLUMNS": "80", "NO_COLOR": "1"})
    assert done.exit_code == code, done.output
    return done.stdout


def ask(home: Path, *arguments: str) -> Any:  # noqa: ANN401 - JSON
    return json.loads(run(home, *arguments, "--json"))


def complains(home: Path, *arguments: str) -> str:
    done = CliRunner().invoke(app, [*arguments, "--home", str(home)])
    assert done.exit_code == 1, done.output
    assert isinstance(done.exception, SystemExit)
    return " ".join(done.stderr.split())


def delta(home: Path, kind: str, table: str) -> pl.DataFrame:
    return pl.read_delta(str(home / kind / table))


def delivered(home: Path, file: str) -> list[str]:
    return (home / "landing" / file).read_text().splitlines()


# -------------------------------------------------------------------------------------------------------------- tables


def test_tables_are_as_delta_and_the_faults_have_them(home: Path) -> None:
    found = {t["table"]: t for t in ask(home, "tables")["tables"]}
    assert list(found) == [t.name for t in GRAPH.tables]
    for name, t in found.items():
        rows = delta(home, "tables", name) if (home / "tables" / name).exists() else pl.DataFrame()
        (declared,) = (table for table in TABLES if table.name == name)
        column = declared.partitions.column
        partitions = rows[column].n_unique() if column is not None and rows.height else min(1, rows.height)
        assert (t["rows"], t["published"]) == (rows.height, partitions)
        assert t["never"] == t["declared"] - t["published"] == len(declared.partitions.keys()) - partitions
        assert t["owner"] == declared.contract.owner
        assert (t["last_published_utc"] is None) == (partitions == 0)
        aside = delta(home, "quarantine", name).height if (home / "quarantine" / name).exists() else 0
        assert t["quarantined"] == aside
    assert {name: t["withheld"] for name, t in found.items() if t["withheld"]} == {
        "raw_weather_jfk": [SECOND],
        "stg_weather": [THIRD],
    }
    assert found["stg_weather"]["published"] == 2  # the second day waits for its input
    # Withholding came later, and renewed nothing.
    first = ask(home, "show", f"stg_weather:{FIRST}")["content"]
    assert found["stg_weather"]["last_published_utc"] == first["published_utc"]
    text = run(home, "tables")
    for name, t in found.items():
        (line,) = (line for line in text.splitlines() if line.split() and line.split()[0] == name)
        figures = [f"{n:,}" for n in (t["published"], len(t["withheld"]), t["never"], t["rows"], t["quarantined"])]
        assert line.split()[1:7] == [t["station"], *figures]
    assert "team:flights: " in text


# ---------------------------------------------------------------------------------------------------------------- show


def test_a_table_is_shown_as_it_is_declared(home: Path) -> None:
    (declared,) = (t for t in TABLES if t.name == "stg_flights")
    found = ask(home, "show", "stg_flights")
    contract = found["contract"]
    assert [c["name"] for c in contract["columns"]] == list(declared.contract.columns)
    assert {c["name"]: c["unit"] for c in contract["columns"]}["distance_mi"] == "mi"
    assert [c["name"] for c in contract["columns"] if c["pii"]] == ["tailnum"]
    assert [(r["rule"], r["level"]) for r in contract["rules"]] == [
        (r.name, r.level.value) for r in declared.contract.rules
    ]
    assert contract["policy"] == "broken rows are set aside while they are at most 5 % of a partition"
    assert [i["table"] for i in found["inputs"] if not i["consulted"]] == [i.table for i in declared.inputs]
    assert {i["table"] for i in found["inputs"] if i["consulted"]} == {r.table for r in declared.contract.references}
    assert "mart_daily_delays" in found["downstream"]
    assert found["partitions"]["published"] == 3
    assert [(p["action"], p["partitions"]) for p in found["publications"]] == [("publish", 3)]
    text = " ".join(run(home, "show", "stg_flights").split())
    assert "Mean speed in the air is 50 to 660 mph" in text
    assert "tailnum String personal data" in text


def test_what_a_mart_reads_of_its_input_is_named_with_the_key(home: Path) -> None:
    (given,) = (i for i in ask(home, "show", "mart_daily_delays")["inputs"] if not i["consulted"])
    assert set(given["columns"]) == {
        "date", "origin", "carrier", "flight", "cancelled", "dep_delay_min", "arr_delay_min",
    }  # fmt: skip
    assert given["whole"] is False
    assert given["partitions"] == "its own period"


def test_windows_and_lookups_of_inputs_are_told(home: Path) -> None:
    found = {i["table"]: i for i in ask(home, "show", "mart_route_rolling_7d")["inputs"]}
    assert found["stg_flights"]["partitions"].startswith("periods -6 to +0 from its own")
    text = " ".join(run(home, "show", "mart_aircraft_utilisation").split())
    assert "whole; only rows that occur in tailnum of stg_flights" in text
    (plane,) = (r for r in ask(home, "show", f"mart_aircraft_utilisation:{FIRST}")["trace"]["reads"] if r["rows"])
    assert (plane["source"], plane["partition"]) == ("stg_planes", "all")


def test_a_table_that_is_one_partition_is_shown_like_any_other(home: Path) -> None:
    found = ask(home, "show", "stg_planes:all")
    assert found["content"]["rows"] == delta(home, "tables", "stg_planes").height > 0
    assert "not partitioned" in run(home, "show", "stg_planes")
    assert "It has one partition, all" in complains(home, "show", f"stg_planes:{FIRST}")


def test_a_raw_partition_is_traced_to_the_bytes_of_its_file(home: Path) -> None:
    found = ask(home, "show", f"raw_flights_jfk:{SECOND}")
    path = home / "landing" / "flights_jfk" / f"flights_jfk_{SECOND}.csv"
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert found["trace"]["reads"] == [
        {"source": "flights_jfk", "partition": SECOND, "columns": [], "rows": "", "digest": sha256}
    ]
    assert found["trace"]["contract_is_current"] is True
    (arrival,) = found["arrivals"]
    assert (arrival["file"], arrival["sha256"]) == (f"flights_jfk/flights_jfk_{SECOND}.csv", sha256)
    assert arrival["rows"]["arrived"] == len(delivered(home, arrival["file"])) - 1


def test_a_staged_partition_says_where_its_content_is_and_whence(home: Path) -> None:
    found = ask(home, "show", f"stg_flights:{FIRST}")
    content = found["content"]
    published = delta(home, "tables", "stg_flights").filter(pl.col("date") == DAYS[0])
    assert content["rows"] == published.height == pl.read_parquet(content["file"]).height
    assert content["root"] in content["file"]
    assert (content["run"], found["readers_see"], found["agrees_with_ledger"]) == ("test", "newest", True)
    whole = [read for read in found["trace"]["reads"] if read["source"].startswith("raw_")]
    assert {read["source"] for read in whole} == {"raw_flights_ewr", "raw_flights_jfk", "raw_flights_lga"}
    for read in whole:
        upstream = ask(home, "show", f"{read['source']}:{FIRST}")["content"]
        assert read["partition"] == FIRST
        assert read["digest"] == upstream["root"]  # all columns are read
        assert set(read["columns"]) == set(upstream["columns"])
    assert {b["rule"]: b["rows"] for b in found["judgement"]["breaches"]} == {"parse": 2, "carrier__str_matches": 1}
    ewr = next(a for a in found["arrivals"] if a["file"].startswith("flights_ewr/"))
    lines = len(delivered(home, ewr["file"])) - 1
    assert ewr["rows"] == {
        "arrived": lines - 1, "published": lines - 4, "quarantined": 3, "duplicates": 0, "pending": 0,
    }  # fmt: skip
    assert len(found["first_rows"]) == 5
    assert found["first_rows"][0]["tailnum"] == "•••"


def test_dropped_copies_are_in_the_account_of_their_file(home: Path) -> None:
    found = ask(home, "show", f"stg_flights:{SECOND}")
    assert {a["file"].split("/")[0]: a["rows"]["duplicates"] for a in found["arrivals"]} == {
        "flights_ewr": 0,
        "flights_jfk": 20,
        "flights_lga": 0,
    }


def test_last_good_content_and_what_is_withheld_are_told_apart(home: Path) -> None:
    found = ask(home, "show", f"stg_weather:{THIRD}")
    assert found["readers_see"] == "last good"
    assert delta(home, "tables", "stg_weather").filter(pl.col("wind_speed_mph") > 250).is_empty()
    judged = found["judgement"]
    assert (judged["action"], judged["verdict"]) == ("withhold", "broken")
    assert {b["rule"] for b in judged["breaches"]} >= {"wind_speed_mph__in_range"}
    (incident,) = found["incidents"]
    assert incident["is_open"]
    assert [e["kind"] for e in incident["events"]] == ["opened"]
    assert [(h["action"], h["state"]) for h in found["history"]] == [
        ("withhold", "confirmed"),
        ("publish", "confirmed"),
    ]
    now = {(r["source"], r["digest"]) for r in judged["trace"]["reads"]}
    shown = {(r["source"], r["digest"]) for r in found["trace"]["reads"]}
    assert {source for source, _ in now - shown} == {"raw_weather_lga"}
    assert all(a["rows"]["pending"] == a["rows"]["arrived"] for a in found["arrivals"])
    text = run(home, "show", f"stg_weather:{THIRD}")
    assert "its last good content; newer content is withheld" in text


def test_a_partition_of_which_readers_see_nothing_says_why(home: Path) -> None:
    withheld = ask(home, "show", f"raw_weather_jfk:{SECOND}")
    assert (withheld["readers_see"], withheld["content"], withheld["first_rows"]) == ("nothing", None, [])
    (header,) = (b for b in withheld["judgement"]["breaches"] if b["rule"] == "header")
    assert "temperature" in header["found"]
    assert "its only content is withheld" in run(home, "show", f"raw_weather_jfk:{SECOND}")
    waiting = ask(home, "show", f"stg_weather:{SECOND}")
    assert (waiting["judgement"], waiting["history"]) == (None, [])
    assert "never computed" in run(home, "show", f"stg_weather:{SECOND}")


# ---------------------------------------------------------------------------------------------------------- quarantine


def test_quarantine_is_counted_as_delta_has_it(home: Path) -> None:
    expected: Counter[tuple[str, str, str]] = Counter()
    for table in TABLES:
        if (home / "quarantine" / table.name).exists():
            for row in delta(home, "quarantine", table.name).rows(named=True):
                expected.update((table.name, str(row["date"]), rule) for rule in row["rules"])
    counted = ask(home, "quarantine", "list")
    assert {(c["table"], c["partition"], c["rule"]): c["rows"] for c in counted} == expected
    assert len(expected) > 4
    only = ask(home, "quarantine", "list", "stg_flights", "--rule", "parse")
    assert [(c["rule"], c["rows"]) for c in only] == [("parse:dep_clock_min", 2)]
    assert only[0]["files"] == [f"flights_ewr/flights_ewr_{FIRST}.csv"]
    assert f"flights_ewr_{FIRST}.csv" in run(home, "quarantine", "list")


def test_a_quarantined_row_leads_to_its_line(home: Path) -> None:
    found = ask(home, "quarantine", "show", f"stg_flights:{FIRST}", "--rule", "carrier__str_matches")
    (row,) = found["rows"]
    assert row["line"] == 13
    assert ENDING in delivered(home, row["file"])[row["line"] - 1]
    assert row["row"]["carrier"] == ENDING + CONTROL
    assert row["rules"]["carrier__str_matches"].startswith("carrier must match")
    text = run(home, "quarantine", "show", f"stg_flights:{FIRST}", "--rule", "carrier__str_matches")
    assert f"flights_ewr/flights_ewr_{FIRST}.csv, line 13" in text
    assert CONTROL not in text


def test_the_limit_says_that_there_is_more(home: Path) -> None:
    found = ask(home, "quarantine", "show", "stg_weather", "--limit", "2")
    assert (len(found["rows"]), found["total"]) == (2, 10)
    assert "10 rows" in run(home, "quarantine", "show", "stg_weather", "--limit", "2")
    assert "No rows" in run(home, "quarantine", "show", "mart_daily_delays")


def test_names_that_do_not_exist_are_answered_by_those_that_look_like_them(home: Path) -> None:
    assert "did you mean stg_flights" in complains(home, "show", "stg_flight")
    assert "did you mean 2013-02-28 or 2013-03-01" in complains(home, "show", "stg_flights:2013-02-30")
    assert "did you mean wind_speed_mph__in_range" in complains(home, "quarantine", "list", "--rule", "wind_speed")
    assert "did you mean stg_weather" in complains(home, "quarantine", "show", "stg_wether")
    assert CliRunner().invoke(app, ["quarantine", "show", "stg_weather", "--limit", "0"]).exit_code == 2


# ------------------------------------------------------------------------------------------------------------- report


class Elements(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_report_is_renewed_from_what_is_stored(home: Path) -> None:
    places = ask(home, "report")
    assert places == {"html": str(home / "report.html"), "json": str(home / "report.json")}
    found = json.loads((home / "report.json").read_text())
    assert (found["runs"], found["span"], found["seconds"]) == ([], None, {})
    assert found["accounts"]["total"]["missing"] == 0
    by_day = found["accounts"]["partitions"]
    assert [d["partition"] for d in by_day if d["partition"] != "all"] == KEYS
    terms = ("arrived", "published", "quarantined", "duplicates", "pending", "superseded", "missing")
    assert {t: sum(d[t] for d in by_day) for t in terms} == {t: found["accounts"]["total"][t] for t in terms}
    assert by_day[1]["duplicates"] == 20
    broken = {
        (b["table"], b["rule"]): (b["level"], b["rows"], b["partitions"], b["withheld"]) for b in found["breaches"]
    }
    assert broken["raw_weather_jfk", "header"] == ("table", 0, 1, 1)
    assert broken["stg_weather", "wind_speed_mph__in_range"] == ("row", 10, 1, 1)
    assert broken["stg_flights", "parse"] == ("row", 2, 1, 0)
    says = {i["table"]: (i["has_last_good"], i["says"][0]) for i in found["incidents"]}
    assert says["stg_weather"] == (True, "wind_speed_mph__in_range: 10 rows")
    assert says["raw_weather_jfk"][0] is False
    assert str(home / "report.html") in run(home, "report")


def test_the_page_says_at_a_glance_what_is_wrong(home: Path) -> None:
    run(home, "report")
    page = Elements((home / "report.html").read_text())
    text = " ".join(page.text.split())
    total = ask(home, "accounts")["total"]
    assert "2 partitions of 2 tables withheld" in text
    assert f"All {total['arrived']:,} delivered rows are accounted for" in text
    assert "readers see nothing of 1" in text
    assert "wind_speed_mph__in_range: 10 rows" in text
    marks = [a["aria-label"] for _, a in page.found if a.get("aria-label")]
    assert f"stg_weather {SECOND}: missing" in marks
    assert f"stg_weather {THIRD}: last good" in marks
    assert f"raw_weather_jfk {SECOND}: withheld" in marks


def test_the_page_asks_nobody_and_obeys_no_delivered_markup(home: Path) -> None:
    run(home, "report")
    page = Elements((home / "report.html").read_text())
    assert [a for _, a in page.found if {"src", "href", "xlink:href"} & set(a)] == []
    assert Counter(tag for tag, _ in page.found)["script"] == 1
    assert not {"img", "link", "iframe", "object", "embed"} & {tag for tag, _ in page.found}
    assert ENDING in page.text


def test_personal_data_is_in_no_output_at_all(home: Path) -> None:
    """The incident this prevents: a registration number, which names its owner in public, on a shared page."""
    flights = [path.read_text() for path in (home / "landing").glob("flights_*/*.csv")]
    tails = {TAIL, *(cell for text in flights for cell in re.findall(r"\bN\d{2,4}[A-Z0-9]{1,3}\b", text))}
    assert len(tails) > 500
    run(home, "report")
    told = [(home / "report.html").read_text(), (home / "report.json").read_text()]
    for as_json in ([], ["--json"]):
        told += [run(home, "tables", *as_json), run(home, "quarantine", "list", *as_json)]
        for table in TABLES:
            told.append(run(home, "show", table.name, *as_json))
            told.append(run(home, "quarantine", "show", table.name, "--limit", "999", *as_json))
            known = [key for key in ("all", *KEYS) if key in set(table.partitions.keys())]
            assert known
            told += [run(home, "show", f"{table.name}:{key}", *as_json) for key in known]
    everything = "\n".join(told)
    assert "•••" in everything
    assert sorted(tail for tail in tails if tail in everything) == []


def test_what_is_said_fits_80_columns(home: Path) -> None:
    commands = [["tables"], ["quarantine", "list"], ["quarantine", "show", "stg_flights"]]
    commands += [["show", name] for name in ("stg_flights", f"stg_weather:{THIRD}", f"raw_weather_jfk:{SECOND}")]
    for command in commands:
        long = [line for line in run(home, *command).splitlines() if len(line) > 80]
        assert [line for line in long if not line.startswith(("file ", "folder "))] == []


def test_help_imports_nothing_that_takes_seconds() -> None:
    heavy = ("dagster", "polars", "pandera", "altair", "vl_convert", "jinja2", "sqlalchemy")
    code = f"import sh_defs.cli, sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
