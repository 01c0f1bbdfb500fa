"""``selfheal arrived``: files of which somebody tells, and landing zones that the command line is given."""

import json
from pathlib import Path

from typer.testing import CliRunner, Result

from sh_defs.cli import app
from tests.little import DAYS, deliver, engine_at

ONE, TWO = DAYS.keys()[:2]
NAMES = [f"readings_{key}.csv" for key in (ONE, TWO)]


def call(home: Path, *arguments: str, **environment: str) -> Result:
    told = {"SELFHEAL_TABLES": "tests.little", "COLUMNS": "80", "NO_COLOR": "1", **environment}
    return CliRunner().invoke(app, [*arguments, "--home", str(home)], env=told)


def test_files_are_taken_in_as_soon_as_somebody_tells_of_them(tmp_path: Path) -> None:
    deliver(tmp_path, ONE, [("a", 0, 20.5)])
    deliver(tmp_path, TWO, [("a", 0, 20.5)])
    done = call(tmp_path, "arrived", "readings", NAMES[0])
    assert (done.exit_code, done.output) == (0, f"{NAMES[0]}: taken in\n")
    done = call(tmp_path, "arrived", "readings", *NAMES, "--json")
    assert (done.exit_code, json.loads(done.stdout)) == (
        0,
        {"feed": "readings", "files": {NAMES[0]: "known", NAMES[1]: "new"}},
    )
    assert list(engine_at(tmp_path).ledger.arrivals.current("readings")) == [ONE, TWO]


def test_what_is_not_taken_is_said_and_fails(tmp_path: Path) -> None:
    """Whoever sent the message must hear that it led to nothing; the others are taken in all the same."""
    deliver(tmp_path, ONE, [("a", 0, 20.5)])
    done = call(tmp_path, "arrived", "readings", *NAMES, "[bold]x")
    assert done.exit_code == 1
    assert done.output.splitlines()[:2] == [f"{NAMES[0]}: taken in", f"{NAMES[1]}: not taken: it is not there"]
    assert done.output.splitlines()[2].startswith("[bold]x: not taken: readings takes files named readings_{partition}")


def test_a_feed_that_there_is_not_is_named_with_those_that_there_are(tmp_path: Path) -> None:
    done = call(tmp_path, "arrived", "redings", NAMES[0])
    assert done.exit_code == 1
    assert "there is no feed redings; there are readings" in done.output


def test_files_land_where_the_environment_says(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    deliver(tmp_path, ONE, [("a", 0, 20.5)])  # into tmp_path/landing
    zone = str(tmp_path / "landing")
    done = call(tmp_path / "home", "arrived", "readings", NAMES[0], SELFHEAL_LANDING=zone)
    assert (done.exit_code, done.output) == (0, f"{NAMES[0]}: taken in\n")
    assert not (tmp_path / "home" / "landing").exists()


def test_a_landing_zone_that_is_not_mounted_is_not_made(tmp_path: Path) -> None:
    """An empty folder in its place would look like vendors that deliver nothing."""
    (tmp_path / "home").mkdir()
    zone = tmp_path / "disk"
    done = call(tmp_path / "home", "arrived", "readings", NAMES[0], SELFHEAL_LANDING=str(zone))
    assert done.exit_code == 1
    assert f"the landing zone {zone} is not there; create it, or mount the disk it is on" in done.output
    assert not zone.exists()


def test_the_demo_delivers_into_no_bucket(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app, ["demo", "--days", "1", "--home", str(tmp_path / "home")], env={"SELFHEAL_LANDING": "s3://vendors/in"}
    )
    assert done.exit_code == 1
    assert "files land in s3://vendors/in, and this delivers into a folder: unset SELFHEAL_LANDING" in done.output
