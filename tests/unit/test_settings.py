"""Settings that cannot work are refused where they are read, with the variable's name."""

import os

import pytest

from sh_core.errors import SettingsError
from sh_resources.settings import FEWEST_RUNS, load


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
