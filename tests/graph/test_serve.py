"""`selfheal dev` as a person runs it: a terminal, a browser (here GraphQL), an editor, and things that die.

The incidents: edited code that "Reload definitions" does not load; a code server that died, and a daemon that waits for
it for ever; processes that go on after the terminal was closed.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sh_defs.cli import app

pytestmark = [pytest.mark.graph, pytest.mark.slow]

SOON_S = 120.0

TABLES = '''
"""Visits, and how many there were."""

import os, time
from datetime import date

import pandera.polars as pa
import polars as pl

from sh_core.contract import Contract, field
from sh_core.feed import Feed
from sh_core.parsing import integer, parse, text
from sh_core.partitions import Daily
from sh_core.table import Station, raw_table, table

DAYS = Daily(date(2024, 2, 26), date(2024, 3, 10))
VISITS = Feed("visits", "visits_{partition}.csv", ("guest", "nights"), DAYS, owner="team:hotel")


class Visit(pa.DataFrameModel):
    """One row per guest."""

    date: pl.Date
    guest: str
    nights: int = field(ge=1, le=30)


def patient(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Takes its time, in runs only: transforms are also called when definitions are loaded, for their columns."""
    while os.path.exists("HOLD"):
        time.sleep(0.05)
    return rows.select(pl.lit(value=True))


STAYS = Contract(Visit, key=("guest",), owner="team:hotel", table_rules=(patient,))


@table(contract=STAYS, partitions=DAYS, station=Station.STAGED)
def stg_visits(raw_visits: pl.LazyFrame) -> pl.LazyFrame:
    """Visits, typed: first edition."""
    typed = parse(raw_visits, guest=text("guest"), nights=integer("nights"))
    return pl.concat([typed, raw_visits.select("date")], how="horizontal")


TABLES = (raw_table(VISITS), stg_visits)
'''


class Dev:
    """A `selfheal dev` in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home, self.hold = folder, folder / "home", folder / "HOLD"
        self.said: list[str] = []
        self.module = folder / "hotel.py"
        self.module.write_text(TABLES.replace('"HOLD"', repr(str(self.hold))))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("SELFHEAL_", "DAGSTER_"))}
        self.process = subprocess.Popen(
            [
                str(Path(sys.executable).with_name("selfheal")),
                "dev",
                "--port",
                str(self.port),
                "--home",
                str(self.home),
            ],
            cwd=folder,
            env={**clean, "SELFHEAL_TABLES": "hotel", "COLUMNS": "200"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            self.said.extend(lines)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(60)
        self._listener.join(60)

    def until(self, condition: Callable[[], object], what: str) -> None:
        end = time.monotonic() + SOON_S
        while not condition():
            assert time.monotonic() < end, f"{what}: never.\n{''.join(self.said)}"
            time.sleep(0.1)

    def heard(self, words: str) -> bool:
        return any(words in line for line in self.said)

    def land(self, day: str, nights: int = 2) -> None:
        folder = self.home / "landing" / "visits"
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f".{day}"
        part.write_text(f"guest,nights\nAda,{nights}\n")
        part.replace(folder / f"visits_{day}.csv")

    def ask(self, query: str) -> dict[str, Any]:
        request = urllib.request.Request(  # this machine
            f"http://127.0.0.1:{self.port}/graphql",
            json.dumps({"query": query}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            found: dict[str, Any] = json.load(answer)
        assert "errors" not in found, found
        return dict(found["data"])

    def description(self) -> str:
        nodes = self.ask('{assetNodes(assetKeys: [{path: ["stg_visits"]}]) { description }}')["assetNodes"]
        return str(nodes[0]["description"]) if nodes else ""

    def reload(self) -> None:
        said = self.ask('mutation { reloadRepositoryLocation(repositoryLocationName: "selfheal") { __typename } }')
        assert said == {"reloadRepositoryLocation": {"__typename": "WorkspaceLocationEntry"}}

    def runs(self, day: str) -> dict[str, str]:
        """Runs of one day of the staged table, each with its status."""
        of = "id status assetSelection { path } tags { key value }"
        found = self.ask(f"{{runsOrError {{ ... on Runs {{ results {{ {of} }} }} }} }}")["runsOrError"]["results"]
        return {
            run["id"]: run["status"]
            for run in found
            if {"path": ["stg_visits"]} in (run["assetSelection"] or ())
            and {"key": "dagster/partition", "value": day} in run["tags"]
        }

    def hold_up(self, day: str) -> str:
        """Land a file, and let its run be under way as long as ``hold`` is there; returns the run's id."""
        self.hold.touch()
        self.land(day)
        self.until(lambda: "STARTED" in self.runs(day).values(), "a run is under way")
        (run,) = self.runs(day)
        return run

    def published(self, *days: str) -> bool:
        return all(list((self.home / "tables" / "stg_visits").glob(f"date={day}/*.parquet")) for day in days)

    def processes(self) -> dict[int, str]:
        """Command lines of every process that was started with this home, this one's included."""
        mark, found = f"SELFHEAL_HOME={self.home}".encode(), {}
        for place in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (place / "environ").read_bytes().split(b"\0"):
                    found[int(place.name)] = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue  # it has ended, or is not ours
        return found

    def one(self, words: str) -> int:
        """The process whose command line holds some words."""
        (pid,) = (pid for pid, line in self.processes().items() if words in line)
        return pid


FRONT, BEHIND, WEB, DAEMON = "dagster code-server start", "dagster api grpc", "dagster_webserver", "sh_defs.daemon"


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    started = Dev(tmp_path_factory.mktemp("dev"))
    try:
        started.until(lambda: started.heard("Dagster answers on"), "it answers")
        yield started
    finally:
        started.hold.unlink(missing_ok=True)
        started.end()


def test_what_lands_is_published_without_anybody_asking(dev: Dev) -> None:
    dev.land("2024-02-26")
    dev.until(lambda: dev.published("2024-02-26"), "the file's rows")
    dev.until(lambda: dev.heard("raw_visits: 2024-02-26 (first time"), "why it was requested")
    assert not dev.heard("Prefetching")  # twice a second, of a sensor that has nothing to do


def test_reload_loads_edited_code_and_a_run_under_way_goes_on(dev: Dev) -> None:
    """The new code server does not know the run, and would have it given up for dead."""
    day = "2024-02-27"
    run = dev.hold_up(day)
    assert "first edition" in dev.description()
    dev.module.write_text(dev.module.read_text().replace("first edition", "second edition"))
    behind = dev.one(BEHIND)
    dev.reload()
    dev.until(lambda: "second edition" in dev.description(), "the edited code")
    assert any(pid != behind for pid, line in dev.processes().items() if BEHIND in line)
    time.sleep(15)  # run monitoring looks every 10 s
    assert dev.runs(day) == {run: "STARTED"}
    dev.hold.unlink()
    dev.until(lambda: dev.runs(day) == {run: "SUCCESS"}, "its success")
    assert dev.published(day)


@pytest.mark.parametrize(("killed", "day"), [(BEHIND, "2024-02-28"), (FRONT, "2024-02-29")])
def test_a_code_server_that_was_killed_is_started_anew_and_its_runs_are_done_again(
    dev: Dev, killed: str, day: str
) -> None:
    run = dev.hold_up(day)
    dev.until(lambda: len([line for line in dev.processes().values() if BEHIND in line]) == 1, "no other one is left")
    daemon, before = dev.one(DAEMON), len(dev.said)
    os.kill(dev.one(killed), signal.SIGKILL)
    dev.until(lambda: any("It is started anew" in line for line in dev.said[before:]), "it is said")
    dev.hold.unlink()
    dev.until(lambda: dev.published(day), "another run has done it")
    assert dev.runs(day)[run] == "FAILURE"
    assert len(dev.runs(day)) == 2
    assert dev.one(DAEMON) == daemon


def test_a_daemon_that_was_killed_is_started_anew(dev: Dev) -> None:
    os.kill(dev.one(DAEMON), signal.SIGKILL)
    dev.until(lambda: dev.heard("The daemon was killed (SIGKILL)"), "it is said")
    dev.land("2024-03-01")
    dev.until(lambda: dev.published("2024-03-01"), "the new one works")


def test_a_second_one_on_the_same_port_is_refused(dev: Dev, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["dev", "--port", str(dev.port), "--home", str(tmp_path / "other")])
    assert done.exit_code == 1
    assert f"port {dev.port} cannot be used" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGHUP, marks=pytest.mark.soak), signal.SIGKILL])
def test_nothing_is_left_of_it(tmp_path: Path, number: signal.Signals) -> None:
    """Not the run that is under way either."""
    short = Dev(tmp_path)
    try:
        short.until(lambda: short.heard("Dagster answers on"), "it answers")
        short.hold_up("2024-02-26")
        assert len(short.processes()) >= 5
        short.process.send_signal(number)
        code = short.process.wait(60)
        assert code == (-signal.SIGKILL if number is signal.SIGKILL else 0)
        if number is signal.SIGKILL:
            short.until(lambda: not short.processes(), "nothing is left")
        assert short.processes() == {}
    finally:
        short.hold.unlink(missing_ok=True)
        for pid in short.processes():
            os.kill(pid, signal.SIGKILL)
        short.end()
