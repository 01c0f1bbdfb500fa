"""A process of its own that takes in one ordinary file and then one without bounds, and says what that cost.

    python -m tests.scenarios.huge <state folder> [<gzip bomb>]

Without a bomb it is a file of 2 GB without a line end. Prints a line of JSON: megabytes by which the process's peak
grew, seconds, what the breaches say, rows arrived, pending and missing.
"""

import json
import resource
import sys
import time
from dataclasses import replace
from pathlib import Path

from sh_core.formats import Csv
from sh_core.graph import Graph
from sh_core.outcome import Withheld
from sh_core.table import raw_table
from sh_core.verdict import Broken
from sh_drills.replay import land
from sh_resources.settings import load
from sh_resources.wiring import open_engine
from tests.scenarios.meters import CSV, DAYS, as_csv, good, readings

ORDINARY, HUGE = DAYS.keys()[:2]
RAW = f"raw_{CSV.name}"


def peak_mb() -> float:
    """Most memory that this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def main(home: Path, bomb: Path | None) -> None:
    """Take both in."""
    feed = CSV if bomb else replace(CSV, file_name="meters_{partition}.csv", format=Csv())
    engine = open_engine(load({"SELFHEAL_HOME": str(home)}), Graph.of([raw_table(feed)]))
    folder = home / "landing" / feed.name
    folder.mkdir(parents=True)
    land(folder / feed.expected_file(ORDINARY), good(CSV) if bomb else as_csv(readings(CSV)))
    list(engine.materialize(RAW, [ORDINARY], run_id="ordinary"))
    path = folder / feed.expected_file(HUGE)
    if bomb:
        bomb.replace(path)
    else:
        with path.open("wb") as file:
            file.truncate(2**31)
    before, started = peak_mb(), time.perf_counter()
    (outcome,) = engine.materialize(RAW, [HUGE], run_id="huge")
    seconds, grown = time.perf_counter() - started, peak_mb() - before
    assert isinstance(outcome, Withheld)
    assert isinstance(outcome.verdict, Broken)
    says = [breach.detail for breach in outcome.verdict.breaches]
    rows = next(a.account for a in engine.ledger.accounts(feed.name, RAW, None) if a.arrival.partition == HUGE)
    print(json.dumps([grown, seconds, says, rows.arrived, rows.pending, rows.missing]))  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
