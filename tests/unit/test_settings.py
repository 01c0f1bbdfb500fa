"""Settings that cannot work are refused where they are read, with the variable's name."""

import os
from pathlib import Path

import pytest

from sh_core.errors import SettingsError
from sh_resources.settings import FEWEST_RUNS, Bucket, load


def test_as_many_runs_at_a_time_as_there_are_cores_unless_somebody_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for cores, runs in ((1, FEWEST_RUNS), (None, FEWEST_RUNS), (2, 2), (16, 16)):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        assert load({}).runs_at_once == runs
    assert load({"SELFHEAL_RUNS": "1"}).runs_at_once == 1


@pytest.mark.parametrize("said", ["0", "-1", "two", "1.5", " "])
def test_a_number_of_runs_that_cannot_work_is_refused(said: str) -> None:
    """Dagster takes 0 for "launch nothing" and -1 for "without bound"."""
    with pytest.raises(SettingsError, match="SELFHEAL_RUNS"):
        load({"SELFHEAL_RUNS": said})


def test_files_land_in_the_state_folder_unless_somebody_says_otherwise() -> None:
    assert load({"SELFHEAL_HOME": "/state"}).zone == load({"SELFHEAL_HOME": "/state"}).landing == Path("/state/landing")
    assert load({"SELFHEAL_LANDING": "/mnt/vendors"}).landing == Path("/mnt/vendors")
    assert load({"SELFHEAL_LANDING": "vendors"}).landing == Path("vendors").absolute()


@pytest.mark.parametrize(
    ("said", "zone"),
    [
        ("s3://vendors", Bucket("vendors")),
        ("s3://vendors/", Bucket("vendors")),
        ("s3://vendors/in/2026/", Bucket("vendors", "in/2026")),
    ],
)
def test_files_land_in_a_bucket_if_it_is_named(said: str, zone: Bucket) -> None:
    found = load({"SELFHEAL_LANDING": said})
    assert (found.zone, str(found.zone)) == (zone, said.rstrip("/"))
    with pytest.raises(SettingsError, match=r"files land in s3://vendors.*unset SELFHEAL_LANDING"):
        _ = found.landing


@pytest.mark.parametrize(
    "said", ["s3://", "s3:///x", "gs://vendors/x", "https://vendors/x", "s3://ven dors/x", "s3://v/a//b"]
)
def test_a_landing_zone_that_cannot_be_is_refused(said: str) -> None:
    """The incident: a slash too many, and files are looked for under a prefix that no vendor writes to."""
    with pytest.raises(SettingsError, match=r"SELFHEAL_LANDING.*like s3://vendors/incoming"):
        load({"SELFHEAL_LANDING": said})


def test_a_landing_zone_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "zone").touch()
    with pytest.raises(SettingsError, match=r"SELFHEAL_LANDING is .*zone, which is a file"):
        load({"SELFHEAL_LANDING": str(tmp_path / "zone")})
