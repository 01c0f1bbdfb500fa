"""The oracle's cases with the real engine: its ledger, its tables on disk, files that land, code versions of real code.

The incident: the decisions are right in memory, and the facts that the ledger gives them are not.
"""

from pathlib import Path

import pytest

from sh_drills.oracle.drive import quiescent
from sh_drills.oracle.real_system import RealSystem


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_what_the_engine_executes_is_what_had_to_be(seed: int, tmp_path: Path) -> None:
    with RealSystem.at(tmp_path) as opened:
        assert quiescent(seed, changes=4, opened=opened).ticks
